"""Shared weights stay one copy in every file: what converters and quantizers would write twice, or leave wide.

- ONNX: a matrix that one layer reads is exported transposed, one that several layers read is exported as it is, with a
  Transpose before its readers. Quantizers know initializers alone, so such a matrix stayed float32 in the int8 file.
  `fold_transposes` transposes it once, in place. A small one is written for each of its readers: `write_once`.
- LiteRT: the converter multiplies the scale of a layer norm into the matrix behind it. Where a matrix stands behind
  several norms, each pair became a matrix of its own. `keep_norms_apart` puts a minimum with the largest number between
  them, which changes nothing and which the converter does not look through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..teachers import layout, sharing

LARGEST = float(torch.finfo(torch.float32).max)


def fold_transposes(model: Any) -> None:
    """In an ONNX model, let initializers that are read only through one way of transposing be stored that way."""
    from onnx import numpy_helper

    graph = model.graph
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    renamed: dict[str, str] = {}  # what a Transpose gave -> the initializer
    folded: list[Any] = []
    for weight in graph.initializer:
        found = readers.get(weight.name, [])
        orders = {tuple(node.attribute[0].ints) if node.op_type == "Transpose" else None for node in found}
        if len(orders) != 1 or None in orders:
            continue
        order, name = orders.pop(), found[0].output[0]  # the name, because the graph states its shape
        weight.CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(weight).transpose(order)), name)
        )
        renamed |= {node.output[0]: name for node in found}
        folded += found
    for node in folded:
        graph.node.remove(node)
    _rename(graph, renamed)


def write_once(model: Any) -> None:
    """In an ONNX model, let float32 matrices that are the same be one initializer."""
    from onnx import TensorProto, numpy_helper

    graph = model.graph
    first: dict[tuple[Any, ...], str] = {}
    renamed: dict[str, str] = {}
    for tensor in [one for one in graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) == 2]:
        kept = first.setdefault((tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()), tensor.name)
        if kept != tensor.name:
            renamed[tensor.name] = kept
            graph.initializer.remove(tensor)
    _rename(graph, renamed)


def _rename(graph: Any, renamed: dict[str, str]) -> None:
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)


def keep_norms_apart(model: PreTrainedModel) -> None:
    """Keep a converter from multiplying layer norms into matrices, where layers share those."""
    if layout.kind(model.config) == "albert" or getattr(model.config, sharing.FIELD, None):
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.register_forward_hook(_limited)


def _limited(module: nn.Module, args: Any, output: Tensor) -> Tensor:  # noqa: ARG001 - torch's interface
    """What a norm gives, unchanged."""
    return torch.minimum(output, torch.full((1,), LARGEST))

"""ONNX in float32: one file for any batch and any length.

- PyTorch's `torch.export`-based exporter; tied and shared weights stay shared. Opset 20 is the first with Gelu, one
  node for five.
- The same model gives the same bytes: metadata (stack traces, source paths) is dropped from every node and value, and
  the protobuf is written in its deterministic form.
- The graph has the names that every Hugging Face user knows: `input_ids`, `attention_mask`, `token_type_ids` (only
  where the model takes them), int64; the output is `logits`, float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import AttarError
from ..files import write_bytes
from ..tasks.task import Head
from . import single_copies, wrapper
from .manifest import Input

OPSET = 20


def export_fp32(model_folder: Path, out: Path, head: Head = "sequence") -> list[Input]:
    """Write the model of a saved folder, which has that head, as ONNX; gives its inputs in order."""
    module = wrapper.load(model_folder, head)
    example = module.example(batch=2, length=8, dtype=torch.int64)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    shapes = {name: {0: batch, 1: length} for name in example}
    write(module, example, shapes, (list(example), ["logits"]), out, str(model_folder))
    return module.inputs("int64")


def write(
    module: nn.Module,
    example: dict[str, Any],
    shapes: dict[str, Any],
    names: tuple[list[str], list[str]],
    out: Path,
    where: str,
) -> None:
    """Write a module as ONNX: example inputs by argument, which of their sizes may vary, names of inputs and outputs.

    Raises `AttarError` at `where` for a module that does not convert.
    """
    try:
        with wrapper.quiet():
            program = torch.onnx.export(
                module,
                kwargs=example,
                dynamo=True,
                opset_version=OPSET,
                input_names=names[0],
                output_names=names[1],
                dynamic_shapes=shapes,
                verbose=False,
            )
            assert program is not None  # only the old exporter gives None
            _strip(program.model)
            proto = program.model_proto
            single_copies.fold_transposes(proto)
            single_copies.write_once(proto)
            _keep_residuals(proto.graph)
            data = _serialize(proto)
    except Exception as error:
        raise AttarError(f"the ONNX export failed: {wrapper.first_line(error)}", where=where) from error
    write_bytes(out, data)


def _keep_residuals(graph: Any) -> None:
    """Write a residual sum before a layer norm as Sum, which ONNX Runtime leaves alone.

    It would make one SkipLayerNormalization of Add and LayerNormalization, whose processor kernel is slower than both.
    """
    weights = {weight.name for weight in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for norm in graph.node:
        added = makers.get(norm.input[0]) if norm.op_type == "LayerNormalization" else None
        if added is not None and added.op_type == "Add" and weights.isdisjoint(added.input):
            added.op_type = "Sum"


def _strip(model: Any) -> None:
    """Drop what is about the exporting machine and not about the model."""
    model.metadata_props.clear()
    model.doc_string = None
    for graph in [model.graph, *(function.graph for function in model.functions.values())]:
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in [*graph.inputs, *graph.initializers.values()]:
            value.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


def _serialize(proto: Any) -> bytes:
    """Protobuf bytes that do not depend on the order of a hash table."""
    return bytes(proto.SerializeToString(deterministic=True))

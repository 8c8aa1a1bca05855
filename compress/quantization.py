"""int8 by dynamic quantization (ONNX): weights stored in 8 bits, activations quantized while the model runs.

- A scale per channel, in 7 bits (`any-cpu`, see `REDUCE_RANGE`); a scale per tensor loses accuracy, and uint8 weights
  lose the fast kernels on x86. The embedding table has one scale.
- A table that is both embedding and output matrix (a language model's) is written once, with a scale for each piece.
- Nothing here is trusted because it converted; `export/parity.py` runs every file in its own runtime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..export.wrapper import explained, quiet
from ..files import write_bytes
from ..recipe import Preset
from . import graphs

OPERATORS = ("MatMul", "Gather")

# Activations are uint8. On x86 without VNNI the products of uint8 and int8 are added in pairs into 16 bits, which
# saturate: 2 * 255 * 127 > 32767, and per-channel scales use the whole range, so they suffer most (on such a machine
# an error of 0.26 where 0.06 is usual). With weights in 7 bits, 2 * 255 * 64 < 32767: right on every processor, hence
# the default; the fast int8 kernels stay in use, which uint8 weights lose on x86. `dot-product` keeps 8 bits, for ARM
# phones and x86 with VNNI.
REDUCE_RANGE: dict[Preset, bool] = {"any-cpu": True, "dot-product": False}


def onnx_dynamic_int8(fp32: Path, out: Path, preset: Preset = "any-cpu") -> None:
    """Write the int8 form of a float32 ONNX file: matrix products and embeddings."""
    model = graphs.load(fp32)
    with explained("the int8 quantization", str(fp32)):
        data = graphs.save(dynamic(model, preset))
    write_bytes(out, data)


def dynamic(model: Any, preset: Preset, left_out: Collection[str] = (), operators: Sequence[str] = OPERATORS) -> Any:
    """The model with its matrices in int8, but for those of the nodes `left_out`."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # The quantizer leaves files beside its input, so it is given a model and a folder of its own.
    with quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=list(operators),
            per_channel=True,
            reduce_range=REDUCE_RANGE[preset],
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(left_out),
            extra_options={"MatMulConstBOnly": True},  # products of two activations (attention) stay float
        )
        made: Any = onnx.load(file)
    _tie(made.graph)
    return made


def _tie(graph: Any) -> None:
    """Let embeddings be looked up in the output matrix where the quantizer has written one table as both.

    The output matrix, (hidden, pieces), has a scale for each piece, the embeddings have one in all: what stays is the
    more exact. Pieces are of shape (batch, length).
    """
    from onnx import helper, numpy_helper

    tables = {one.name: one for one in graph.initializer}
    for name in [one.removesuffix("_Transposed_quantized") for one in tables if one.endswith("_Transposed_quantized")]:
        gather = next((n for n in graph.node if n.op_type == "Gather" and n.input[0] == f"{name}_quantized"), None)
        if gather is None or numpy_helper.to_array(tables[f"{name}_Transposed_zero_point"]).any():
            continue
        widen = next(n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == gather.output[0])
        (pieces, found), made = (gather.input[1], widen.output[0]), f"{name}_looked_up"
        last = numpy_helper.from_array(np.array([-1], np.int64), f"{made}_axes")
        nodes = [
            helper.make_node("Gather", [f"{name}_Transposed_quantized", pieces], [f"{made}_columns"], axis=1),
            helper.make_node("Transpose", [f"{made}_columns"], [f"{made}_rows"], perm=[1, 2, 0]),
            helper.make_node("Cast", [f"{made}_rows"], [f"{made}_cast"], to=1),  # float32
            helper.make_node("Gather", [f"{name}_Transposed_scale", pieces], [f"{made}_scales"], axis=0),
            helper.make_node("Unsqueeze", [f"{made}_scales", last.name], [f"{made}_wide_scales"]),
            helper.make_node("Mul", [f"{made}_cast", f"{made}_wide_scales"], [found]),
        ]
        place = list(graph.node).index(gather)
        kept = [node for node in graph.node if node not in (gather, widen)]
        kept[place:place] = nodes
        read = {one for node in kept for one in node.input}
        weights = [one for one in graph.initializer if one.name in read or one.name == last.name] + [last]
        del graph.node[:], graph.initializer[:]
        graph.node.extend(kept)
        graph.initializer.extend(weights)

"""4 bits: weights in blocks of a column (of an embedding: of a row), each with a scale and a zero point of its own.

- Round to nearest, asymmetric: 16 steps from the least to the largest value of a block (or 0), as ONNX Runtime's
  `MatMulNBits` reads them. A block costs 4 bits a weight, a float32 scale and 4 bits of zero point.
- Products take the activations in 8 bits (`accuracy_level` 4): the error hardly grows, and processors with dot products
  are fast at it.
- Embeddings are looked up by `GatherBlockQuantized`, packed in bytes: the format `.ort` has no 4-bit type.
- Which matrices stay in 8 bits is said by name; those are quantized dynamically, see `quantization`.
- A block is 16, 32, 64, 128 or 256 long. The last one of a column may be shorter: the runtime pads it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..export.wrapper import explained, quiet
from ..files import write_bytes
from ..recipe import Preset
from . import graphs, quantization

Packed = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]]
ACCURACY_LEVEL = 4  # of MatMulNBits: activations in int8
BLOCKS = (16, 32, 64, 128, 256)


def bits(block: int) -> float:
    """What a weight of a block costs: its own bits, and its part of the scale and of the zero point."""
    return 4 + (32 + 4) / block


def pack(columns: npt.NDArray[np.float32], block: int) -> Packed:
    """A matrix (inputs, outputs) as bytes (outputs, blocks, block / 2), scales and zero points.

    Scales are (outputs, blocks); zero points lie two in a byte, (outputs, blocks / 2). The low half of a byte comes
    first.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=False, bits=4)
    packed, scales, zeros = DefaultWeightOnlyQuantizer(config).qbits_block_quant(np.ascontiguousarray(columns))
    return packed, scales, zeros


def unpack(packed: Packed, inputs: int) -> npt.NDArray[np.float32]:
    """The matrix (inputs, outputs) that the runtime computes with: scale x (step - zero point)."""
    data, scales, zeros = packed
    outputs, count, _ = data.shape
    steps = _halves(data).reshape(outputs, count, -1).astype(np.float32)
    points = _halves(zeros)[:, :count, None].astype(np.float32)
    values = ((steps - points) * scales.reshape(outputs, count, 1)).reshape(outputs, -1)
    return np.ascontiguousarray(values[:, :inputs].T, np.float32)


def _halves(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The two halves of each byte, one after the other along the last axis."""
    both: npt.NDArray[np.uint8] = np.stack([data & 15, data >> 4], axis=-1)
    return both.reshape(*data.shape[:-1], -1)


def rounded(matrix: npt.NDArray[np.float32], block: int, *, table: bool) -> npt.NDArray[np.float32]:
    """A matrix with what 4 bits leave of it."""
    columns = matrix.T if table else matrix
    found = unpack(pack(columns, block), len(columns))
    return np.ascontiguousarray(found.T) if table else found


def onnx_int4(fp32: Path, out: Path, block: int, wide: Collection[str], preset: Preset = "any-cpu") -> float:
    """Write the 4-bit form of a float32 ONNX file; the matrices named in `wide` have 8 bits.

    Gives the bits of a weight, scales included, over all matrices.
    """
    if block not in BLOCKS:
        raise AttarError(f"no block of {block} weights is known", fix=f"known: {', '.join(map(str, BLOCKS))}")
    model = graphs.parted(graphs.load(fp32))
    found = graphs.matrices(model)
    narrow = [one for one in found if one.name not in wide]
    with explained("the 4-bit quantization", str(fp32)):
        if len(narrow) < len(found):
            kept = [node for one in narrow for node in one.nodes]
            model = quantization.dynamic(model, preset, left_out=kept)
        with quiet():
            model = _products(model, [node for one in narrow if not one.table for node in one.nodes], block)
        for one in narrow:
            if one.table:
                _lookups(model.graph, one, block)
        data = graphs.save(model)
    write_bytes(out, data)
    elements = sum(one.elements for one in found) or 1
    return sum(one.elements * (8 if one.name in wide else bits(block)) for one in found) / elements


def _products(model: Any, nodes: list[str], block: int) -> Any:
    """The model with those MatMul nodes in 4 bits; a matrix of several nodes is written once."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    if not nodes:
        return model
    config = DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=False, accuracy_level=ACCURACY_LEVEL)
    tool = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_include=nodes)
    tool.process()
    made: Any = tool.model.model
    once = {tensor.name: tensor for tensor in made.graph.initializer}
    del made.graph.initializer[:]
    made.graph.initializer.extend(once.values())
    return made


def _lookups(graph: Any, matrix: graphs.Matrix, block: int) -> None:
    """Look pieces up in a table of 4 bits, (pieces, hidden / 2) bytes."""
    from onnx import helper, numpy_helper

    table = next(one for one in graph.initializer if one.name == matrix.name)
    values = numpy_helper.to_array(table)
    pieces, hidden = values.shape
    if hidden % 2:
        what = f"{matrix.title} is {hidden} wide, and two weights of 4 bits share a byte"
        raise AttarError(what, fix="keep embeddings in 8 bits: export.int4.embeddings: 8")
    data, scales, zeros = pack(values.T, block)
    parts = {
        "bytes": data.reshape(pieces, -1)[:, : hidden // 2],
        "scales": scales.reshape(pieces, -1),
        "zeros": zeros.reshape(pieces, -1),
    }
    names = {part: f"{matrix.name}_{part}" for part in parts}
    for number, node in enumerate(graph.node):
        if node.name in matrix.nodes:
            inputs = [names["bytes"], node.input[1], names["scales"], names["zeros"]]
            attributes = {"gather_axis": 0, "quantize_axis": 1, "block_size": block, "bits": 4}
            made = helper.make_node(
                "GatherBlockQuantized", inputs, list(node.output), node.name, domain="com.microsoft", **attributes
            )
            graph.node[number].CopyFrom(made)
    graph.initializer.remove(table)
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(parts[p]), names[p]) for p in parts)

"""4 bits: weights in blocks of a column (of an embedding: of a row), each with a scale and a zero point of its own.

- Round to nearest, asymmetric: 16 steps from the least to the largest value of a block (or 0), as ONNX Runtime's
  `MatMulNBits` reads them. A block costs 4 bits a weight, a float32 scale and 4 bits of zero point.
- Products take the activations in 8 bits (`accuracy_level` 4): the error hardly grows, and processors with dot products
  are fast at it.
- Embeddings are looked up by `GatherBlockQuantized`, packed in bytes: the format `.ort` has no 4-bit type.
- Which matrices stay in 8 bits is said by name; those are quantized dynamically, see `quantization`.
- A block is 16, 32, 64, 128 or 256 long. The last one of a column may be shorter, and is stored whole; that of an
  embedding's row is not, but for the half byte that an odd width leaves over, which is cut off behind the look-up.
"""

from __future__ import annotations

import math
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


def stored(vectors: int, width: int, block: int, *, table: bool) -> int:
    """The bytes of as many columns of a matrix (of an embedding: rows) of that width, scales and zero points too."""
    count = math.ceil(width / block)
    weights = math.ceil(width / 2) if table else count * block // 2
    return vectors * (weights + 4 * count + math.ceil(count / 2))


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

    Gives the bits of a weight as it is stored, scales and padding of blocks included, over all matrices.
    """
    if block not in BLOCKS:
        raise AttarError(f"no block of {block} weights is known", fix=f"known: {', '.join(map(str, BLOCKS))}")
    model = graphs.parted(graphs.load(fp32))
    found = graphs.matrices(model)
    narrow = [one for one in found if one.name not in wide]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
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
    held = sum(one.elements for one in found if one.name in wide)  # a byte each
    for one in narrow:
        rows, columns = shapes[one.name]
        held += stored(rows, columns, block, table=True) if one.table else stored(columns, rows, block, table=False)
    return 8 * held / (sum(one.elements for one in found) or 1)


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
    from onnx import numpy_helper

    table = next(one for one in graph.initializer if one.name == matrix.name)
    values = numpy_helper.to_array(table)
    pieces, hidden = values.shape
    data, scales, zeros = pack(values.T, block)
    parts = {
        "bytes": data.reshape(pieces, -1)[:, : math.ceil(hidden / 2)],
        "scales": scales.reshape(pieces, -1),
        "zeros": zeros.reshape(pieces, -1),
    }
    if hidden % 2:
        parts |= {"start": np.array([0]), "end": np.array([hidden]), "axis": np.array([-1])}
    names = {part: f"{matrix.name}_{part}" for part in parts}
    nodes = []
    for node in graph.node:
        nodes += _lookup(node, names, block) if node.name in matrix.nodes else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.remove(table)
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(parts[p]), names[p]) for p in parts)


def _lookup(gather: Any, names: dict[str, str], block: int) -> list[Any]:
    """What looks up in the table of these names; where that has a `start`, the half byte left over is cut off."""
    from onnx import helper

    (out,), cut = gather.output, "start" in names
    found = f"{out}_whole" if cut else out
    inputs = [names["bytes"], gather.input[1], names["scales"], names["zeros"]]
    how = {"gather_axis": 0, "quantize_axis": 1, "block_size": block, "bits": 4}
    made = helper.make_node("GatherBlockQuantized", inputs, [found], gather.name, domain="com.microsoft", **how)
    if not cut:
        return [made]
    bounds = [names[bound] for bound in ("start", "end", "axis")]
    return [made, helper.make_node("Slice", [found, *bounds], [out], f"{gather.name}_cut")]

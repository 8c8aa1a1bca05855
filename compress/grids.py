"""The values that quantized weights and activations can take: the grids on which the exporters write a student.

- int8: a weight has a scale for each output and 127 steps on each side of 0, in `any-cpu` files 64 (7 bits, see
  `quantization.REDUCE_RANGE`). Where files of both presets are made, the coarser grid is learnt: its values lie within
  a quarter of a step of the finer one's, while weights learnt in 8 bits would lose up to half a step in 7.
- 4 bits: 16 steps for each block of a weight's inputs, or of a table's row, with a zero point (`blocks`, MatMulNBits).
- Tables in 8 bits: one scale for all; ONNX Runtime writes 256 steps with a zero point, LiteRT 127 on each side of 0.
- Activations, found anew in each call: beside int8 weights 256 steps for the tensor (DynamicQuantizeLinear); beside
  blocks 127 steps on each side of 0 for each block of a piece's state (MatMulNBits with `blocks.ACCURACY_LEVEL` 4). A
  device runs one sequence at a time, so a tensor's range is that of a sequence here.
- LiteRT's converter multiplies the scale of a layer norm into the matrices behind it, which are then rounded once more;
  its other matrices and its table keep what was learnt.
- Round to nearest, and no range is clipped: each one is of the very values that it rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import recipe

BYTE, HALF_BYTE, SIGNED, REDUCED = 255, 15, 127, 64  # steps: of a whole range, and on each side of 0


@dataclass(frozen=True)
class Grid:
    """The grids of a student's matrices, tables and activations."""

    bits: int  # of the matrices: 4 or 8
    embeddings: int  # of the tables: 4 or 8
    block: int  # weights of 4 bits with one scale
    steps: int  # of matrices in 8 bits, on each side of 0
    signed: bool  # tables in 8 bits have no zero point
    activations: bool  # whether they are quantized

    def matrix(self, weight: Tensor) -> Tensor:
        """A weight (outputs, inputs) on its grid."""
        if self.bits == 4:
            return in_blocks(weight, self.block, _sixteen)
        return symmetric(weight, weight.abs().amax(-1, keepdim=True), self.steps)

    def rows(self, rows: Tensor, table: Tensor) -> Tensor:
        """Rows (..., width) of a table (pieces, width) on its grid."""
        if self.embeddings == 4:
            return in_blocks(rows, self.block, _sixteen)
        low, high = table.aminmax()
        return symmetric(rows, torch.maximum(-low, high), SIGNED) if self.signed else asymmetric(rows, low, high, BYTE)

    def flowing(self, states: Tensor) -> Tensor:
        """The states (sequences, ..., inputs) that flow into a matrix, on their grid."""
        if self.bits == 4:
            return in_blocks(states, self.block, lambda one: symmetric(one, one.abs().amax(-1, keepdim=True), SIGNED))
        inner = tuple(range(1, states.ndim))
        return asymmetric(states, states.amin(inner, keepdim=True), states.amax(inner, keepdim=True), BYTE)


def of(plan: recipe.Quantize, export: recipe.Export) -> Grid:
    """The grid of the files that the plan is for."""
    integers = {"int8", "int8-static"} & {*export.onnx, *export.ort}
    return Grid(
        bits=plan.bits,
        embeddings=export.int4.embeddings if plan.bits == 4 else 8,
        block=export.int4.block,
        steps=REDUCED if integers and "any-cpu" in export.processors else SIGNED,
        signed=plan.bits == 8 and not integers,
        activations=plan.activations is not None,
    )


def asymmetric(values: Tensor, low: Tensor, high: Tensor, steps: int) -> Tensor:
    """Values on `steps` steps from the bound `low` to `high`, one of which is 0: scale × (step - zero point)."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = _scale(high - low, steps)
    zero = torch.round(-low / scale)
    return torch.clamp(torch.round(values / scale), -zero, steps - zero) * scale


def symmetric(values: Tensor, largest: Tensor, steps: int) -> Tensor:
    """Values on as many steps on each side of 0, up to the magnitude `largest`."""
    scale = _scale(largest, steps)
    return torch.round(values / scale) * scale


def in_blocks(values: Tensor, block: int, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """Values (..., width), rounded in blocks along the last axis; the last block may be shorter.

    `rounded` gets (..., blocks, block), filled up with 0, which is within every range.
    """
    width = values.shape[-1]
    filled = F.pad(values, (0, -width % block))
    found = rounded(filled.reshape(*values.shape[:-1], -1, block))
    return found.flatten(-2)[..., :width]


def _sixteen(blocks: Tensor) -> Tensor:
    return asymmetric(blocks, blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True), HALF_BYTE)


def _scale(span: Tensor, steps: int) -> Tensor:
    """The size of a step; 1 where all values are 0, as ONNX Runtime has it."""
    scale = span / steps
    return torch.where(scale < torch.finfo(scale.dtype).tiny, 1.0, scale)

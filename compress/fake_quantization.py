"""Fake quantization: a student that learns with the weights and activations that a quantized file computes with.

- Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877, section 3): the forward pass rounds, and the
  gradient goes straight through the rounding (Bengio et al. 2013, arXiv 1308.3432) to the float weights that learn.
- The grids are the exporters' own (`grids`), so that a file made of the rounded student has the same weights.
- Matrices of Linear and GPT-2's Conv1D, heads too, and all embedding tables: what `graphs.matrices` finds in the
  export. Biases and norms stay float. Of a table only the rows that are looked up are rounded while it learns.
- Layers that share a weight share what learns and what is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .grids import Grid

Rounding = Callable[[Tensor], Tensor]
ROUNDS = 3  # after which rounding again changes nothing


class StraightThrough(torch.autograd.Function):
    """Rounded values, with the gradient of the values themselves."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rounded: Rounding) -> Tensor:  # noqa: ARG004 - torch's interface
        """What `rounded` makes of the values."""
        return rounded(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        """The gradient as it is: no range clips, so it is 1 for every value."""
        return gradient, None


def through(values: Tensor, rounded: Rounding) -> Tensor:
    """The rounded values, with a straight-through gradient."""
    found: Tensor = StraightThrough.apply(values, rounded)  # type: ignore[no-untyped-call]
    return found


class _Rounded(nn.Module):
    """The parametrization of a weight that is rounded in each forward pass."""

    def __init__(self, rounded: Rounding) -> None:
        super().__init__()
        self.rounded = rounded

    def forward(self, weight: Tensor) -> Tensor:
        return through(weight, self.rounded)


@contextlib.contextmanager
def fake_quantized(model: PreTrainedModel, grid: Grid) -> Iterator[None]:
    """Let a model compute as its quantized file does; afterwards its weights are the rounded ones.

    What learns inside are the float weights, `parametrizations.weight.original` of each matrix and the tables as they
    are.
    """
    found, hooks = _matrices(model), []
    for module in found:
        parametrize.register_parametrization(module, "weight", _Rounded(_rounding(module, grid)))
        if grid.activations:
            hooks.append(module.register_forward_pre_hook(lambda _, args: _flowing(args, grid)))
    for table in _tables(model):
        hooks.append(table.register_forward_hook(lambda one, _, rows: _looked_up(one, rows, grid)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in found:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        leave_rounded(model, grid)


@torch.no_grad()
def leave_rounded(model: PreTrainedModel, grid: Grid) -> None:
    """Round a model's weights in place, to what a quantizer reproduces.

    A range whose bounds lie halfway between two steps may lose its last step, and would have another scale when it is
    read again. So weights are rounded until each range has all its steps.
    """
    weights = {module.weight: _rounding(module, grid) for module in [*_matrices(model), *_tables(model)]}
    for weight, rounded in weights.items():  # a weight that several modules share is there once
        for _ in range(ROUNDS):
            weight.copy_(rounded(weight))


def _matrices(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, (nn.Linear, Conv1D))]


def _tables(model: nn.Module) -> list[nn.Embedding]:
    return [module for module in model.modules() if isinstance(module, nn.Embedding)]


def _rounding(module: nn.Module, grid: Grid) -> Rounding:
    """What rounds the weight of a module."""
    if isinstance(module, nn.Embedding):
        return lambda table: grid.rows(table, table)
    if isinstance(module, Conv1D):  # (inputs, outputs)
        return lambda weight: grid.matrix(weight.T).T
    return grid.matrix


def _flowing(args: tuple[Any, ...], grid: Grid) -> tuple[Any, ...]:
    return through(args[0], grid.flowing), *args[1:]


def _looked_up(table: nn.Embedding, rows: Tensor, grid: Grid) -> Tensor:
    return through(rows, lambda one: grid.rows(one, table.weight))

"""A model in the plain form that can be measured and cut: every matrix a `Linear`, every shared weight one module.

- GPT-2's `Conv1D` holds its matrix transposed, and query, key and value in one, which torch-pruning does not cut.
- Layers that hold the same Parameters (`teachers.sharing`) are given the same modules, so that a cut is of all of them.
- The plain form computes the same. `joined` gives the weights back under the names and in the shapes of the stock one.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..teachers import sharing
from ..teachers.blocks import blocks

MATRICES = ("output", "up", "down")


class Split(nn.Module):
    """Query, key and value as three layers: (..., hidden) to their outputs beside each other."""

    def __init__(self, fused: Conv1D) -> None:
        super().__init__()
        weights, biases = fused.weight.chunk(3, 1), fused.bias.chunk(3)
        self.query, self.key, self.value = map(_linear, weights, biases)

    def forward(self, states: Tensor) -> Tensor:
        """(..., hidden) to (..., 3 × width of all heads)."""
        return torch.cat([self.query(states), self.key(states), self.value(states)], -1)


def plain(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model in plain form, eager attention, not training."""
    work: PreTrainedModel = copy.deepcopy(model).eval().requires_grad_(True)
    work.set_attn_implementation("eager")
    for name, source in sharing.pairs(work):
        place, _, last = name.rpartition(".")[0].rpartition(".")
        setattr(work.get_submodule(place), last, work.get_submodule(source.rpartition(".")[0]))
    for block in blocks(work):
        if block.family == "gpt2":
            block.put("fused", Split(block.get("fused")))
            for name in MATRICES:
                matrix = block.get(name)
                block.put(name, _linear(matrix.weight, matrix.bias))  # type: ignore[arg-type]
    return work


def joined(work: PreTrainedModel) -> dict[str, Tensor]:
    """The weights of a plain model as its family names them; the model is of no use afterwards."""
    for block in blocks(work):
        if block.family == "gpt2":
            split = block.get("fused")
            three = [getattr(split, name) for name in ("query", "key", "value")]
            weight, bias = (torch.cat([getattr(one, part) for one in three]) for part in ("weight", "bias"))
            block.put("fused", _conv1d(weight, bias))
            for name in MATRICES:
                matrix = block.get(name)
                block.put(name, _conv1d(matrix.weight, matrix.bias))  # type: ignore[arg-type]
    return dict(work.state_dict())


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A `Linear` from a matrix (in, out)."""
    made = nn.Linear(weight.shape[0], weight.shape[1])
    made.weight, made.bias = nn.Parameter(weight.detach().T.contiguous()), nn.Parameter(bias.detach().clone())
    return made


def _conv1d(weight: Tensor, bias: Tensor) -> Conv1D:
    """A `Conv1D` from a matrix (out, in)."""
    made = Conv1D(*weight.shape)
    made.weight, made.bias = nn.Parameter(weight.detach().T.contiguous()), nn.Parameter(bias.detach().clone())
    return made

"""Narrowing by what the teacher computes on training rows, and not by what its weights alone suggest.

- Hidden units: those that vary most over the pieces, each state taken in its own spread, over all that its layers read
  (Minitron, arXiv 2407.14679, section 2.2, with variances in place of mean sizes: a unit that is always large says
  nothing). Feed-forward neurons: those that write most, the energy of the activation times that of their column.
- What the dropped units told the layers, the kept ones tell as far as they can: every matrix that reads the hidden
  states is refitted by least squares, so that from the student's own states it gets what the teacher's gets from all of
  its units (ThiNet, arXiv 1707.06342, section 3.2.3, does so for channels). From the lowest layer up, so that a layer
  makes good what those below it lost, skipped layers included.
- Nothing is learnt by gradients: a few forward passes over `PIECES` pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..tasks.encoding import Arrays, Features, collate
from ..teachers import checkpoint, layout
from ..teachers.layout import Weights
from . import narrow

PIECES = 4096  # real ones that are looked at: many times the width, for a least-squares fit
BATCH = 64
RIDGE = 1e-3  # of the mean energy: keeps the fit calm where units move together
READERS = {"query": ("query", "key", "value"), "up": ("up",)}  # where a layer reads, and the matrices that read there
Place = tuple[int, str]  # layer, counted from 0, and name
FINAL: Place = (-1, "output")  # the last hidden states


def start(teacher: PreTrainedModel, student: PreTrainedModel, chosen: Sequence[int], rows: Sequence[Arrays]) -> None:
    """Start the student from the teacher's layers `chosen` (counted from 1), by what `rows` do inside them."""
    large, small = layout.shape(teacher), layout.shape(student)
    every = [(layer, name) for layer in range(large.layers) for name in READERS]
    known = inputs(teacher, [*every, *((layer - 1, "down") for layer in chosen)], rows)
    units = hidden_units([known[place] for place in (*every, FINAL)], small.hidden)
    weights = {name: weight.cpu() for name, weight in layout.read(teacher).items()}
    layout.write(student, narrow.outside(weights, small, units))

    def refit(place: int, number: int, name: str) -> None:
        """Let what reads at `name` in a student layer read, by the kept units, what all units were."""
        if len(units) < large.hidden:  # with all units there is nothing to make good
            fit = least_squares(inputs(student, [(place, name)], rows)[place, name], known[number - 1, name])
            for reader in READERS[name]:
                _refit(weights, f"{number - 1}.{reader}", fit, units)

    for place, number in enumerate(chosen):
        refit(place, number, "query")
        found = narrow.attention(weights, number, units, large, small)
        layout.write(student, {f"{place}.{name}": weight for name, weight in found.items()})
        refit(place, number, "up")
        stay = strongest(known[number - 1, "down"], weights[f"{number - 1}.down.weight"], small.intermediate)
        found = narrow.feed_forward(weights, number, units, stay)
        layout.write(student, {f"{place}.{name}": weight for name, weight in found.items()})
    narrow.narrow_head(teacher, student, units)


def sample(features: Sequence[Features], pad_id: int, seed: int) -> list[Arrays]:
    """Batches of rows drawn by the seed, of `PIECES` pieces together, or of all rows where they have fewer.

    No more rows are read than are drawn. Sequences of the same lengths give the same rows in the same order.
    """
    drawn: list[Features] = []
    pieces = 0
    for number in np.random.default_rng(seed).permutation(len(features)).tolist():
        if pieces >= PIECES:
            break
        drawn.append(features[number])
        pieces += len(drawn[-1].input_ids)
    drawn.sort(key=lambda row: len(row.input_ids))
    return [collate(drawn[i : i + BATCH], pad_id) for i in range(0, len(drawn), BATCH)]


def hidden_units(states: Sequence[Tensor], keep: int) -> Tensor:
    """Indices, rising, of the `keep` units that vary most; states (pieces, hidden), each in its own spread."""
    energy = torch.stack([state.var(0) / state.var(0).mean() for state in states]).sum(0)
    return energy.topk(keep).indices.sort().values


def strongest(activations: Tensor, down: Tensor, keep: int) -> Tensor:
    """Indices, rising, of the `keep` neurons that write most: (pieces, neurons), `down` (hidden, neurons)."""
    return (activations.pow(2).mean(0) * down.pow(2).sum(0)).topk(keep).indices.sort().values


def least_squares(source: Tensor, target: Tensor, *, constant: bool = True) -> Tensor:
    """The matrix (1 + n, m) that gives `target` (pieces, m) from 1 and `source` (pieces, n) best, with a ridge.

    Without a `constant` it is (n, m), and of `source` alone.
    """
    known = (torch.cat([torch.ones(len(source), 1), source], 1) if constant else source).double()
    gram, first = known.T @ known, int(constant)
    ridge = torch.full((len(gram),), float(RIDGE * gram.diagonal()[first:].mean()), dtype=torch.double)
    ridge[:first] = 0
    found: Tensor = torch.linalg.solve(gram + ridge.diag(), known.T @ target.double())
    return found.float()


def _refit(weights: Weights, name: str, fit: Tensor, units: Tensor) -> None:
    """Let a matrix read, by the kept units, what all units were."""
    weight = weights[f"{name}.weight"]
    weights[f"{name}.bias"] = weights[f"{name}.bias"] + weight @ fit[0]
    weights[f"{name}.weight"] = weight.clone().index_copy_(1, units, weight @ fit[1:].T)


def inputs(model: PreTrainedModel, places: Sequence[Place], rows: Sequence[Arrays]) -> dict[Place, Tensor]:
    """What the linear layers at `places` read at real pieces, (pieces, width), and the last hidden states."""
    found: dict[Place, list[Tensor]] = {place: [] for place in (*places, FINAL)}
    passing: dict[Place, Tensor] = {}

    def keeper(place: Place) -> Callable[[nn.Module, Any], None]:
        return lambda module, given: passing.__setitem__(place, given[0])

    hooks = [layout.linear(model, *place).register_forward_pre_hook(keeper(place)) for place in places]
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with torch.no_grad():
            for arrays in rows:
                taken = checkpoint.tensors(arrays, checkpoint.takes(model), device)
                passing[FINAL] = layout.encoder(model)(**taken).last_hidden_state
                for place, states in passing.items():
                    found[place].append(states[taken["attention_mask"].bool()].float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
    return {place: torch.cat(states) for place, states in found.items()}

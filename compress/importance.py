"""How much heads, neurons, hidden units and layers matter to a student. A new measure is a function and its line here.

- `magnitude`: the norm of all weights that would go together (`dependencies`). It looks at no row.
- `taylor`: by how much the loss would change, to first order, if a unit wrote nothing: |sum of gradient × weight| over
  the matrix through which it writes, the mean over batches (Molchanov et al., arXiv 1906.10771, section 3, with
  absolute values in place of squares). For heads that is the derivative by a gate on the head (Michel et al., arXiv
  1905.10650, section 4). Hidden units: over the norms that they leave; layers: over all that the layer adds.
- `activation`: what is written at real pieces (`energies`).
- Layers that share modules have one score for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import AttarError
from ..teachers.blocks import blocks
from . import energies
from .dependencies import Dependencies
from .evidence import Evidence
from .units import READERS, Scores, norms, of_heads, owners

TAYLOR = "prune.importance: taylor"


def measure(work: PreTrainedModel, measured: str, evidence: Evidence) -> Scores:
    """Score a model in plain form by one of `MEASURES`.

    Raises `AttarError` where the measure needs rows or a loss that `evidence` lacks.
    """
    return MEASURES[measured](work, evidence)


def magnitude(work: PreTrainedModel, evidence: Evidence) -> Scores:  # noqa: ARG001 - one interface
    """By the norms of the weights."""
    graph, own = Dependencies(work), blocks(work)
    written = [[block.get(name).weight for name in READERS.values()] for block in own]
    return Scores(
        heads=[of_heads(graph.importance(block.get("query")), block) for block in owners(own, "output")],
        neurons=[graph.importance(block.get("up")) for block in owners(own, "down")],
        hidden=graph.importance(graph.hidden[0]),
        layers=torch.stack([torch.cat([one.detach().flatten() for one in both]).norm() for both in written]),  # type: ignore[operator]
    )


def taylor(work: PreTrainedModel, evidence: Evidence) -> Scores:
    """By gradient × weight. Raises `AttarError` where there is no loss, or where it is no number."""
    sums: Scores | None = None
    for number, loss in enumerate(evidence.needed_losses(TAYLOR)(work), 1):
        if not loss.isfinite():
            raise AttarError(f"the loss of batch {number} is {loss.item()}", where=TAYLOR)
        work.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        found = gates(work)
        sums = found if sums is None else sums + found
    work.zero_grad(set_to_none=True)
    if sums is None:
        raise AttarError("there is no batch to take gradients of", where=TAYLOR)
    return sums  # a mean would choose the same


def gates(work: PreTrainedModel) -> Scores:
    """|d loss / d gate| of every unit, from the gradients that a batch left, for gates of 1 on what units write."""
    own = blocks(work)
    writers = [[_products(block.get(name)) for name in READERS.values()] for block in own]
    units = torch.stack([_products(norm)[0] for norm in norms(work)]).sum(0)
    return Scores(
        heads=[of_heads(_columns(block.get("output")), block).abs() for block in owners(own, "output")],
        neurons=[_columns(block.get("down")).abs() for block in owners(own, "down")],
        hidden=units.abs(),
        layers=torch.stack([torch.stack([part.sum() for both in one for part in both]).sum() for one in writers]).abs(),
    )


def _columns(matrix: Any) -> Tensor:
    """Gradient × weight summed over what a matrix (out, in) writes: (in,)."""
    found: Tensor = _products(matrix)[0].sum(0)
    return found


def _products(module: Any) -> tuple[Tensor, Tensor]:
    """Gradient × weight of the weights, and of the biases; a norm's weights and biases belong to the same units."""
    weight, bias = (one.detach() * (0.0 if one.grad is None else one.grad) for one in (module.weight, module.bias))
    return (weight + bias, bias * 0) if weight.shape == bias.shape else (weight, bias)


MEASURES: dict[str, Callable[[PreTrainedModel, Evidence], Scores]] = {
    "magnitude": magnitude,
    "taylor": taylor,
    "activation": energies.activation,
}

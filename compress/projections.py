"""The maps that carry a student's states into its teacher's width: W_e (TinyBERT, arXiv 1909.10351, eq. 9) and W_h (8).

- They belong to the training: no student is saved with one. TinyBERT's code has `fit_dense` in the saved model and so
  goes on with it from general to task distillation; here every phase starts its maps anew, from the least-squares fit
  of the teacher's states to the student's on a few training rows. That is the best map of the student as it stands,
  whichever phase or cut came before, and no file has to follow the student.
- A random map has the student learn to suit it, and takes an aligned one away from its teacher at first.
- A student with random weights gets the same fit: what it computes depends on its pieces from the start.
- The fit draws nothing by chance and leaves no trace but the maps. A killed phase fits again and then reads the maps of
  its checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..students import activations
from ..tasks.encoding import Arrays
from ..teachers import checkpoint
from . import states
from .states import Wanted

Fits = tuple[nn.Module, Sequence[tuple[int, int]]]  # a map, and the layers of student and teacher that it is between


def carrier(narrow: int, wide: int) -> nn.Module:
    """A map of states (..., narrow) to (..., wide), random yet; nothing where the widths agree."""
    return nn.Linear(narrow, wide, bias=False) if narrow != wide else nn.Identity()


def fit(
    carriers: Iterable[Fits],
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    ours: Sequence[Arrays],
    theirs: Sequence[Arrays],
) -> None:
    """Start each map from the least-squares fit over all layers it stands between, 0 for the embeddings.

    `ours` and `theirs` are the same rows as student and teacher read them, in as many pieces.
    """
    found = [(one, pairs) for one, pairs in carriers if isinstance(one, nn.Linear) and pairs]
    if not found or not ours:
        return
    layers = [pair for _, pairs in found for pair in pairs]
    small = _states(student, ours, {layer for layer, _ in layers})
    large = _states(teacher, theirs, {layer for _, layer in layers})
    for one, pairs in found:
        source, target = torch.cat([small[s] for s, _ in pairs]), torch.cat([large[t] for _, t in pairs])
        with torch.no_grad():
            one.weight.copy_(activations.least_squares(source, target, constant=False).T)


def _states(model: PreTrainedModel, rows: Sequence[Arrays], layers: set[int]) -> dict[int, Tensor]:
    """The hidden states of these layers at real pieces, (pieces, hidden)."""
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        for arrays in rows:
            taken = checkpoint.tensors(arrays, checkpoint.takes(model), device)
            seen = states.run(model, taken, Wanted(hidden=frozenset(layers)))
            for layer in layers:
                found[layer].append(seen.hidden[layer][taken["attention_mask"].bool()].float().cpu())
    model.train(was_training)
    return {layer: torch.cat(parts) for layer, parts in found.items()}

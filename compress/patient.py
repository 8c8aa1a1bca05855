"""Patient knowledge distillation (PKD, arXiv 1908.09355): the normalised [CLS] states of the mapped layers.

A decoder has no [CLS], and its first piece sees nothing but itself. There it is the last real piece, which sees the
whole text and which the head of a task reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def patient_error(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Sum over layers of the squared distance of states scaled to length 1, each (batch, hidden); mean over the batch.

    PKD eq. 7. The paper leaves out the last layer, whose [CLS] the prediction loss already reads: so does who calls.
    The states are those of `summary`, which is no padding, so no mask is needed.
    """
    pairs = zip(student, teacher, strict=True)
    errors = [(F.normalize(s.float(), dim=-1) - F.normalize(t.float(), dim=-1)).pow(2).sum(-1).mean() for s, t in pairs]
    total = errors[0]
    for error in errors[1:]:
        total = total + error
    return total


def summary(states: Tensor, mask: Tensor, *, last: bool) -> Tensor:
    """The state that stands for each text, (batch, hidden): that of its first piece or of its `last` real one.

    States (batch, length, hidden); mask (batch, length), padding at the end.
    """
    places = mask.sum(1).long() - 1 if last else torch.zeros(len(mask), dtype=torch.long, device=mask.device)
    return states[torch.arange(len(states), device=states.device), places]

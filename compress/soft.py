"""What the student takes from its teacher's answers, by the head of the task (TinyBERT, arXiv 1909.10351, eq. 10).

Each head's softmax is taken where the task takes it: over the classes, over the candidates of a question, over the
pieces of a window for start and for end, over the slots at each piece and over the intents at [CLS].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..tasks.task import Batch
from ..teachers.heads.choice import table
from ..teachers.heads.sequence import joined
from .losses import answer_error, soft_cross_entropy

ABSENT = -1e4  # a logit whose probability is exactly 0 in float32, and whose product with 0 is 0


def soft_loss(
    task: Any, student: Tensor, teacher: Tensor, mask: Tensor, batch: Batch, temperature: float = 1.0
) -> Tensor:
    """Soft cross-entropy with the teacher's logits, or the squared error for a regression; padding never contributes.

    Logits of shape (sequences, outputs) or (sequences, pieces, outputs), mask of shape (sequences, pieces).
    """
    if task.head == "choice":
        return soft_cross_entropy(_candidates(student, batch), _candidates(teacher, batch), temperature)
    if task.head == "span":
        return soft_cross_entropy(_pieces(student, mask), _pieces(teacher, mask), temperature)
    if task.head == "tokens":
        return _tokens(student, teacher, mask, len(task.known.slots), temperature)
    student, teacher = joined(student, batch), joined(teacher, batch)
    return soft_cross_entropy(student, teacher, temperature) if task.labels else answer_error(student, teacher)


def _candidates(logits: Tensor, batch: Batch) -> Tensor:
    """(questions, most candidates)."""
    owner = torch.from_numpy(batch.owner).to(logits.device)
    return table(logits[:, 0], owner, len(batch.targets)).clamp(min=ABSENT)


def _pieces(logits: Tensor, mask: Tensor) -> Tensor:
    """Scores of all pieces as start and as end, (2 x windows, pieces)."""
    return logits.masked_fill(mask[..., None] == 0, ABSENT).transpose(1, 2).flatten(0, 1)


def _tokens(student: Tensor, teacher: Tensor, mask: Tensor, slots: int, temperature: float) -> Tensor:
    """Slots at every real piece, and where there are intents theirs at [CLS]: the sum of both means."""
    intents = student.shape[-1] > slots
    real = mask.bool().clone()
    if intents:
        real[:, 0] = False
    loss = soft_cross_entropy(student[..., :slots][real], teacher[..., :slots][real], temperature)
    if intents:
        loss = loss + soft_cross_entropy(student[:, 0, slots:], teacher[:, 0, slots:], temperature)
    return loss

"""Losses of distillation: pure functions of student and teacher outputs and the mask.

Padding never contributes: a row padded further has the same loss. Every loss is a mean over what is real, so its size
does not depend on the batch or the length. Means are taken in float32 whatever the precision of the states: bfloat16
counts real pieces to 256 exactly, and then in steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..students.head_map import shares


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy with the teacher's probabilities, logits of shape (batch, classes).

    TinyBERT, arXiv 1909.10351, eq. 10; times the squared temperature, so that its gradient keeps its size
    (Hinton et al., arXiv 1503.02531, section 2).
    """
    target = F.softmax(teacher / temperature, -1)
    return -(target * F.log_softmax(student / temperature, -1)).sum(-1).mean() * temperature**2


def answer_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of a regression's answers, shape (batch, 1)."""
    return F.mse_loss(student, teacher)


def hidden_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states of real pieces: (batch, length, hidden), mask (batch, length).

    TinyBERT eq. 8 (hidden states, after the learnt projection) and eq. 9 (embeddings).
    """
    real = mask.float()
    error = (student.float() - teacher.float()).pow(2).mean(-1)
    return (error * real).sum() / real.sum()


def attention_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of attention scores before the softmax: (batch, heads, length, length), mask (batch, length).

    TinyBERT eq. 7. Scores from or to padding are left out: their values mean nothing, and after the mask is added
    they would be all that the loss sees.
    """
    real = mask.float()
    pairs = real[:, None, :, None] * real[:, None, None, :]
    error = (student.float() - teacher.float()).pow(2) * pairs
    return error.sum() / (pairs.sum() * student.shape[1])


def pool_heads(scores: Tensor, heads: int) -> Tensor:
    """Scores (batch, H, length, length) for `heads` heads: each learns the mean of its share (`students.head_map`)."""
    count = scores.shape[1]
    if count == heads:
        return scores
    return torch.stack([scores[:, share.start : share.stop].mean(1) for share in shares(count, heads)], 1)


def cosine_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine of hidden states of real pieces, their mean: (batch, length, hidden), mask (batch, length).

    DistilBERT, arXiv 1910.01108, section 2: L_cos aligns the directions of the last hidden states.
    """
    real = mask.float()
    error = 1 - (F.normalize(student.float(), dim=-1) * F.normalize(teacher.float(), dim=-1)).sum(-1)
    return (error * real).sum() / real.sum()

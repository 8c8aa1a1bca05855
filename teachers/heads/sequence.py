"""Logits for a whole text or pair: classes, or a value (BERT, arXiv 1810.04805, section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ...tasks.task import Batch

STOCK = AutoModelForSequenceClassification


def logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """(texts, outputs)."""
    result: Tensor = model(**inputs).logits
    return result


def hard_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with class indices (batch,), or squared error with values (batch,)."""
    if targets.dtype.is_floating_point:
        return F.mse_loss(logits[:, 0], targets)
    return F.cross_entropy(logits, targets)


def loss(logits: Tensor, mask: Tensor, batch: Batch, task: Any) -> dict[str, Tensor]:  # noqa: ARG001 - one interface
    """Cross-entropy over the classes, or the squared error of a regression."""
    return {"task": hard_loss(joined(logits, batch), torch.from_numpy(batch.targets).to(logits.device))}


def joined(logits: Tensor, batch: Batch) -> Tensor:
    """The logits of each row, (rows, outputs): where a pair was read in both orders, the sum of both answers.

    GPT-1 (Radford et al. 2018, section 3.3) adds the states of both orders before a linear layer, which is the same.
    """
    if len(logits) == len(batch.targets):
        return logits
    owner = torch.from_numpy(batch.owner).to(logits.device)
    return logits.new_zeros(len(batch.targets), logits.shape[1]).index_add(0, owner, logits)

"""Logits for each piece: slots at the words, and at [CLS] the intent.

- The model is a stock `AutoModelForTokenClassification` whose labels are the slots' and then the intents'
  (`tasks.tagging`), so it reloads with no attar installed, and its answer stays one tensor.
- JointBERT (arXiv 1902.10909): the state of [CLS] gives the intent (eq. 1), the state of each word's first piece its
  slot (eq. 2), and both are learnt at once by the sum of their cross-entropies (eq. 3). Each cross-entropy is a mean,
  over sentences and over words: with eq. 3's sum over words a long sentence would drown its intent.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification, PreTrainedModel

from ...tasks.tagging import IGNORED, Labels
from ...tasks.task import Batch

STOCK = AutoModelForTokenClassification


def logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """(sentences, pieces, outputs)."""
    result: Tensor = model(**inputs).logits
    return result


def joint_loss(logits: Tensor, targets: Tensor, labels: Labels) -> dict[str, Tensor]:
    """Cross-entropies of slots and, where there are intents, of the intent (arXiv 1902.10909, eq. 1-3).

    `logits` of shape (batch, pieces, outputs); `targets` of shape (batch, pieces), indices of outputs, as
    `Labels.targets` gives them. Positions without a target never contribute.
    """
    slots, losses = len(labels.slots), {}
    words = targets.clone()
    if labels.intents:
        words[:, 0] = IGNORED
        losses["intent"] = F.cross_entropy(logits[:, 0, slots:], targets[:, 0] - slots)
    total = F.cross_entropy(logits[..., :slots].flatten(0, 1), words.flatten(), ignore_index=IGNORED, reduction="sum")
    losses["slots"] = total / (words != IGNORED).sum().clamp(min=1)  # a batch may hold no word that was not cut off
    return losses


def loss(logits: Tensor, mask: Tensor, batch: Batch, task: Any) -> dict[str, Tensor]:  # noqa: ARG001 - one interface
    """The joint loss, with the labels of the task."""
    return joint_loss(logits, torch.from_numpy(batch.targets).to(logits.device), task.known)

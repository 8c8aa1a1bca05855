"""A start and an end logit for each piece: extractive question answering.

- The score of piece i as start is S·T_i, and as end E·T_i (BERT, arXiv 1810.04805, section 4.2): the stock
  question-answering head with two outputs. The loss is the mean of both cross-entropies over the pieces of a window.
- Padding is no piece of the window: it takes no part in the softmax (the published code lets it, and learns to lower
  it), so that a row's loss does not depend on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from ...tasks.task import Batch

STOCK = AutoModelForQuestionAnswering


def logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """(windows, pieces, 2)."""
    output = model(**inputs)
    return torch.stack([output.start_logits, output.end_logits], -1)


def span_loss(logits: Tensor, mask: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Mean of the start's and the end's cross-entropy (BERT, section 4.2).

    `logits` is (batch, pieces, 2), `mask` (batch, pieces) with 1 on pieces, `starts` and `ends` (batch,). A position
    outside the pieces is ignored; where all are, the loss is 0.
    """
    scores = logits.masked_fill(mask[..., None] == 0, torch.finfo(logits.dtype).min)
    places = torch.stack([starts, ends], -1)
    lengths = mask.sum(-1, keepdim=True)
    inside = (places >= 0) & (places < lengths)
    targets = places.masked_fill(~inside, -100)
    total = F.cross_entropy(scores.transpose(1, 2).flatten(0, 1), targets.flatten(), reduction="none")
    means = total.view_as(targets).sum(0) / inside.sum(0).clamp(min=1)
    return means.mean()


def loss(logits: Tensor, mask: Tensor, batch: Batch, task: Any) -> dict[str, Tensor]:  # noqa: ARG001 - one interface
    """The loss of start and end."""
    starts, ends = torch.from_numpy(batch.targets).to(logits.device).unbind(-1)
    return {"span": span_loss(logits, mask, starts, ends)}

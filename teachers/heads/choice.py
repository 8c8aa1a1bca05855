"""One score for each pair of question and candidate, softmax over a question's candidates.

- The model is a stock `AutoModelForMultipleChoice` (BERT, arXiv 1810.04805, section 4.4): [CLS] of each pair to one
  number. It is given every pair as a question of one candidate, which is the same number, so that questions with
  fewer candidates cost nothing for those they lack.
- What a device runs is that one pair and one number, whatever the number of candidates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMultipleChoice, PreTrainedModel

from ...tasks.task import Batch
from .. import checkpoint, layout
from . import sequence

STOCK = AutoModelForMultipleChoice


def logits(model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
    """The score of each pair, shape (pairs, 1)."""
    if layout.kind(model.config) in checkpoint.DECODERS:  # GPT-1's form of it: a classifier of one output
        return sequence.logits(model, inputs)
    result: Tensor = model(**{name: tensor.unsqueeze(1) for name, tensor in inputs.items()}).logits
    return result


def table(scores: Tensor, owner: Tensor, questions: int) -> Tensor:
    """Scores of pairs, shape (pairs,), as (questions, most candidates), -inf where a question has fewer.

    A question's pairs stand one after another; `owner`, shape (pairs,), counts the questions from 0.
    """
    counts = torch.bincount(owner, minlength=questions)
    places = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    empty = scores.new_full((questions, int(counts.max())), float("-inf"))
    return empty.index_put((owner, places), scores)


def loss(logits: Tensor, mask: Tensor, batch: Batch, task: Any) -> dict[str, Tensor]:  # noqa: ARG001 - one interface
    """Cross-entropy of the right candidate under the softmax over each question's candidates; mean over questions."""
    owner, gold = (torch.from_numpy(array).to(logits.device) for array in (batch.owner, batch.targets))
    return {"task": F.cross_entropy(table(logits[:, 0], owner, len(gold)), gold)}

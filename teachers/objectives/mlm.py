"""Masked language modelling: guess the pieces that were hidden.

- BERT, arXiv 1810.04805, section 3.1, task 1, and A.1: 15 % of the pieces are chosen; of these 80 % become [MASK], 10 %
  a random piece, 10 % stay; the loss is the cross-entropy at the chosen positions alone.
- Masks are drawn anew for every batch (RoBERTa, arXiv 1907.11692, section 4.1), each piece by itself with the stated
  rate. A batch in which nothing is chosen has the loss 0.
- Special pieces and padding are never chosen, and never the random piece.
- Whole words (the note of May 2019 in BERT's own repository): a word's pieces are chosen together, each then masked,
  replaced or kept by itself; the rate stays the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, PreTrainedModel

from ...errors import UsageError
from .. import vocabulary_files
from . import heads
from .base import IGNORED, Batch, Losses, Objective, Settings, require, uniform
from .pieces import Pieces


@dataclass(frozen=True)
class Masking:
    """Which pieces are chosen, and what becomes of them; what is neither masked nor random is kept."""

    pieces: Pieces
    rate: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UsageError(f"the mask rate is {self.rate}, it must be above 0 and below 1")
        if min(self.mask, self.random) < 0 or self.mask + self.random > 1 + 1e-9:
            raise UsageError(
                f"the shares of masked ({self.mask}) and random ({self.random}) pieces must be within 0 and 1"
            )


def mask_pieces(
    input_ids: Tensor, attention_mask: Tensor, masking: Masking, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Hide some pieces of (batch, length) ids; gives the inputs and the labels, -100 where nothing is to be guessed."""
    pieces, device = masking.pieces, input_ids.device
    chance = uniform(input_ids.shape, generator, device)
    if masking.whole_words:  # the chance of a word is the one drawn at its number in the row
        word = (~pieces.is_continuing.to(device)[input_ids]).long().cumsum(1) - 1
        chance = chance.gather(1, word.clamp(min=0))
    chosen = attention_mask.bool() & ~pieces.is_special.to(device)[input_ids] & (chance < masking.rate)
    fate = uniform(input_ids.shape, generator, device)
    ordinary = pieces.ordinary.to(device)
    place = (uniform(input_ids.shape, generator, device) * len(ordinary)).long().clamp(max=len(ordinary) - 1)
    hidden = torch.where(fate < masking.mask, pieces.mask, ordinary[place])
    inputs = torch.where(chosen & (fate < masking.mask + masking.random), hidden, input_ids)
    return inputs, input_ids.masked_fill(~chosen, IGNORED)


def piece_errors(model: PreTrainedModel, hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy (n,) and logits (n, vocabulary) at the n chosen positions; the mean of the first is the loss.

    `hidden` has the shape (batch, length, hidden), `labels`, which say what is chosen, (batch, length).
    """
    chosen = labels != IGNORED
    logits = heads.piece_logits(model, hidden[chosen]).float()
    return F.cross_entropy(logits, labels[chosen], reduction="none"), logits


class MaskedLanguageModelling(Objective):
    """A model with a masked-language-modelling head that learns to fill gaps."""

    def __init__(self, model: PreTrainedModel, masking: Masking) -> None:
        super().__init__(model)
        vocabulary_files.require(masking.pieces.vocabulary, model.config)
        self.masking = masking

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with masked `input_ids` and with `labels`."""
        inputs, labels = mask_pieces(batch["input_ids"], batch["attention_mask"], self.masking, generator)
        return batch | {"input_ids": inputs, "labels": labels}

    def forward(self, batch: Batch) -> Losses:
        """The loss `mlm`."""
        hidden = heads.encode(self.model, batch).last_hidden_state
        errors, _ = piece_errors(self.model, hidden, batch["labels"])
        return {"mlm": self.mean(errors)}


def build(config: Any, pieces: Pieces, settings: Settings) -> MaskedLanguageModelling:
    """A model with random weights that learns by masked language modelling."""
    require(config, ("bert", "albert", "electra"), "mlm")
    masking = Masking(pieces, settings.mask_rate, whole_words=settings.whole_words)
    return MaskedLanguageModelling(AutoModelForMaskedLM.from_config(config), masking)

"""Causal language modelling: guess the next piece.

GPT-1 (Radford et al. 2018), eq. 1, and GPT-2 (2019), section 2: the cross-entropy of each piece given all before it. A
position counts where it and the next are real, so padding is neither asked nor guessed, and the first piece is given.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from .. import vocabulary_files
from . import heads
from .base import Batch, Losses, Objective, Settings, require
from .pieces import Pieces


def next_piece_errors(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of each next piece in nats, padding left out: (batch, length, hidden) -> (pieces,)."""
    mask = batch["attention_mask"].bool()
    counted = mask[:, :-1] & mask[:, 1:]
    logits = heads.piece_logits(model, hidden[:, :-1][counted]).float()
    return F.cross_entropy(logits, batch["input_ids"][:, 1:][counted], reduction="none")


class CausalLanguageModelling(Objective):
    """A decoder that learns to go on with a text; the exponential of its loss is the perplexity."""

    def forward(self, batch: Batch) -> Losses:
        """The loss `lm`."""
        hidden = heads.encode(self.model, batch).last_hidden_state
        return {"lm": self.mean(next_piece_errors(self.model, hidden, batch))}


def build(config: Any, pieces: Pieces | None, settings: Settings) -> CausalLanguageModelling:  # noqa: ARG001
    """A decoder with random weights; GPT-2's as its paper scales them (`shapes`)."""
    require(config, ("gpt2", "openai-gpt"), "causal")
    if pieces is not None:
        vocabulary_files.require(pieces.vocabulary, config)
    return CausalLanguageModelling(AutoModelForCausalLM.from_config(config))

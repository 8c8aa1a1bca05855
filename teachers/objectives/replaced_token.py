"""Replaced-token detection: a small generator fills gaps, the discriminator says which pieces are not the original.

- ELECTRA, arXiv 2003.10555, section 2: 15 % of the pieces become [MASK] (all of them, unlike BERT's 80/10/10); the
  generator learns by masked language modelling and its samples take the gaps; a sample that is the original piece
  counts as original; the discriminator judges every real piece. Loss: L_MLM + λ·L_Disc with λ = 50, no adversary:
  sampling has no gradient, so of the generator only the embeddings it shares see the discriminator's loss.
- Section 3.2: token and position embeddings are one for both, in the discriminator's embedding size, from which the
  narrower generator projects; the generator's output embeddings are its input embeddings. The section's other way is
  one encoder for both, which needs a generator of the discriminator's size (`tied: all`): what the generator learns is
  then at the discriminator's hand from the first step.
- A sample is drawn by inverting the generator's distribution function at one uniform number a position: the same
  multinomial draw as with Gumbel noise, with one random number instead of one for each piece of the vocabulary.
- `model` is the discriminator, a stock ElectraForPreTraining: the teacher that remains.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, PreTrainedModel

from ...errors import UsageError
from .. import vocabulary_files
from . import heads
from .base import IGNORED, Batch, Losses, Objective, Settings, require, uniform
from .mlm import Masking, mask_pieces, piece_errors
from .pieces import Pieces


def generator_config(discriminator: Any, size: float) -> ElectraConfig:
    """The generator's configuration: as deep; width, feed-forward width and heads times `size` (ELECTRA, table 6)."""
    if not 0 < size <= 1:
        raise UsageError(f"the generator's size is {size}, it must be above 0 and at most 1")
    sizes = discriminator.to_dict()
    for name in ("hidden_size", "intermediate_size", "num_attention_heads"):
        sizes[name] = max(1, round(sizes[name] * size))
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise UsageError(
            f"a generator of {size} times the width has {sizes['hidden_size']} units, which "
            f"{sizes['num_attention_heads']} heads do not divide",
            fix="choose a generator size that keeps the heads' width",
        )
    return ElectraConfig.from_dict(sizes)


def sample(logits: Tensor, chance: Tensor) -> Tensor:
    """Pieces drawn from softmax(logits), (n, vocabulary), at uniform numbers in [0, 1), (n,); gives (n,)."""
    # Summed in float64: near 1, float32 would swallow the rare pieces of a large vocabulary.
    cumulative = F.softmax(logits.float(), -1).cumsum(-1, dtype=torch.float64)
    at = chance.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def detection_errors(logits: Tensor, replaced: Tensor, attention_mask: Tensor) -> Tensor:
    """Binary cross-entropy at every real piece, all (batch, length); gives (real pieces,)."""
    real = attention_mask.bool()
    return F.binary_cross_entropy_with_logits(logits[real].float(), replaced[real].float(), reduction="none")


class ReplacedTokenDetection(Objective):
    """A generator and a discriminator that learn together and share their embeddings."""

    def __init__(
        self, discriminator: PreTrainedModel, generator: PreTrainedModel, pieces: Pieces, settings: Settings
    ) -> None:
        super().__init__(discriminator)
        vocabulary_files.require(pieces.vocabulary, discriminator.config)
        self.generator = generator
        self.masking = Masking(pieces, settings.mask_rate, mask=1.0, random=0.0, whole_words=settings.whole_words)
        self.weight = settings.discriminator_weight
        share_embeddings(discriminator, generator)
        if settings.tied == "all":
            if settings.generator_size != 1:
                fix = "set pretrain.generator_size to 1"
                raise UsageError("one encoder for both is a generator of the model's size", fix=fix)
            generator.electra = discriminator.electra

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with masked `input_ids`, with `labels`, and with the `chance` (batch, length) of each sample."""
        inputs, labels = mask_pieces(batch["input_ids"], batch["attention_mask"], self.masking, generator)
        chance = uniform(inputs.shape, generator, inputs.device)
        return batch | {"input_ids": inputs, "labels": labels, "chance": chance}

    def forward(self, batch: Batch) -> Losses:
        """The generator's loss `mlm` and the discriminator's, weighted, `replaced_token`."""
        hidden = heads.encode(self.generator, batch).last_hidden_state
        errors, logits = piece_errors(self.generator, hidden, batch["labels"])
        corrupted, replaced = self.corrupt(batch, logits)
        judged = self.model(
            corrupted, attention_mask=batch["attention_mask"], token_type_ids=batch.get("token_type_ids")
        ).logits
        detection = self.mean(detection_errors(judged, replaced, batch["attention_mask"]))
        return {"mlm": self.mean(errors), "replaced_token": self.weight * detection}

    @torch.no_grad()
    def corrupt(self, batch: Batch, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The text with samples in its gaps, and where they differ from the original; logits (gaps, vocabulary)."""
        gaps = batch["labels"] != IGNORED
        logits = logits[:, : self.masking.pieces.vocabulary]  # a padded vocabulary has embeddings that are no piece
        corrupted = batch["input_ids"].masked_scatter(gaps, sample(logits, batch["chance"][gaps]))
        original = torch.where(gaps, batch["labels"], batch["input_ids"])
        return corrupted, corrupted != original


def share_embeddings(discriminator: PreTrainedModel, generator: PreTrainedModel) -> None:
    """Let the generator have the discriminator's token and position embeddings, its output embeddings too."""
    theirs, ours = discriminator.electra.embeddings, generator.electra.embeddings
    if theirs.word_embeddings.weight.shape != ours.word_embeddings.weight.shape:
        raise UsageError("generator and discriminator must have one vocabulary and one embedding size")
    ours.word_embeddings.weight = theirs.word_embeddings.weight
    ours.position_embeddings.weight = theirs.position_embeddings.weight
    generator.generator_lm_head.weight = theirs.word_embeddings.weight


def build(config: Any, pieces: Pieces, settings: Settings) -> ReplacedTokenDetection:
    """A discriminator of the stated shape and its generator, with random weights."""
    require(config, ("electra",), "replaced_token")
    generator = ElectraForMaskedLM(generator_config(config, settings.generator_size))
    return ReplacedTokenDetection(ElectraForPreTraining(config), generator, pieces, settings)

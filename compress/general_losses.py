"""The losses of general distillation: what a student learns of its teacher on a batch of plain text.

- DistilBERT (arXiv 1910.01108, section 3): soft cross-entropy with a temperature over the vocabulary, the masked-LM
  loss, and the cosine of the last hidden states. As in its authors' code the teacher reads the masked text too, and
  the soft loss is asked at every real piece; `soft_pieces: masked` asks it where pieces are to be guessed alone.
- TinyBERT (arXiv 1909.10351, section 3.2): embeddings, hidden states and attention scores (eq. 7-9), no prediction.
- MiniLM (arXiv 2002.10957): self-attention relations of one layer of the teacher and the student's last (`relations`).
- DistilGPT: as DistilBERT, with the causal loss in the place of the masked one.
- It is a pre-training objective (`teachers.objectives`) whose `model` is the student, so corpus, checkpoints and
  several processes are those of pre-training. The teacher is no part of the module: no checkpoint holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..tasks.encoding import Arrays
from ..teachers import checkpoint, layout, vocabulary_files
from ..teachers.objectives.base import IGNORED, Batch, Losses, Objective
from ..teachers.objectives.heads import piece_logits
from ..teachers.objectives.mlm import Masking, mask_pieces
from . import losses, projections, relations, states
from .divergence import forward_kl, reverse_kl
from .states import NONE, Seen, Wanted


class GeneralDistillation(Objective):
    """A student, and the maps that carry its states into the teacher's width, which stay out of what is saved.

    They are random until `fit` (`projections`); the task's phases fit theirs to the student that this one leaves.
    """

    def __init__(
        self,
        teacher: PreTrainedModel,
        student: PreTrainedModel,
        layers: list[int],
        plan: recipe.General,
        masking: Masking | None,
    ) -> None:
        """`layers` are the teacher's (from 1) of each student layer; `masking` is None for a decoder.

        Raises `UsageError` for a loss that these two cannot have.
        """
        super().__init__(student)
        check(teacher, student, plan)
        if masking is not None:
            vocabulary_files.require(masking.pieces.vocabulary, student.config)
        self._teacher = (teacher,)  # in a tuple: else it would be a part of this module
        self.layers, self.plan, self.masking = layers, plan, masking
        widths = student.config.hidden_size, teacher.config.hidden_size
        self.embedding_map = projections.carrier(*widths)
        self.hidden_map = projections.carrier(*widths)

    @property
    def teacher(self) -> PreTrainedModel:
        """Who knows."""
        return self._teacher[0]

    def fit(self, rows: Sequence[Arrays]) -> None:
        """Start the maps from a least-squares fit, on rows that student and teacher both read."""
        hidden = list(enumerate(self.layers, 1)) if self.plan.hidden else []
        fits = [(self.embedding_map, [(0, 0)] if self.plan.embedding else []), (self.hidden_map, hidden)]
        projections.fit(fits, self.model, self.teacher, rows, rows)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with `labels`, -100 where nothing is to be guessed, and for an encoder with masked `input_ids`."""
        ids, real = batch["input_ids"], batch["attention_mask"]
        if self.masking is not None:
            inputs, labels = mask_pieces(ids, real, self.masking, generator)
            return batch | {"input_ids": inputs, "labels": labels}
        following = F.pad(ids[:, 1:].masked_fill(~(real[:, :-1] & real[:, 1:]).bool(), IGNORED), (0, 1), value=IGNORED)
        return batch | {"labels": following}

    def forward(self, batch: Batch) -> Losses:
        """Every loss whose weight is not zero, by its name in the recipe."""
        mapped = dict(enumerate(self.layers, 1))
        with torch.no_grad():
            their_last, theirs = self._see(self.teacher, batch, mapped.values(), self.related[1])
        our_last, ours = self._see(self.model, batch, mapped, self.related[0])
        found = self._predictions(batch, our_last, their_last) if self.plan.predicts else {}
        mask = batch["attention_mask"]
        if self.plan.cosine:
            error = losses.cosine_error(our_last, their_last, mask)
            found["cosine"] = self.plan.cosine * self._of_all(error, mask.sum())
        return found | self._layers(mask, ours, theirs)

    @property
    def related(self) -> tuple[int, int]:
        """The layers whose relations are compared: the student's last, and the teacher's last or another."""
        return len(self.layers), self.plan.relation_layer or layout.shape(self.teacher).layers

    def _see(self, model: PreTrainedModel, batch: Batch, layers: Iterable[int], related: int) -> tuple[Tensor, Seen]:
        """The last hidden states (batch, length, hidden), and what the losses read of these layers."""
        plan, chosen = self.plan, frozenset(layers)
        vectors = frozenset({related}) if plan.relations else NONE
        hidden = (frozenset({0}) if plan.embedding else NONE) | (chosen if plan.hidden else NONE)
        inputs = {name: batch[name] for name in checkpoint.takes(model) if name in batch}
        wanted = Wanted(hidden=hidden, scores=chosen if plan.attention else NONE, vectors=vectors)
        with states.watching(model, wanted) as seen:
            outputs: Any = layout.encoder(model)(**inputs)
        return outputs.last_hidden_state, seen

    def _predictions(self, batch: Batch, ours: Tensor, theirs: Tensor) -> Losses:
        """The losses over the vocabulary; only the positions that one of them asks meet the output matrix."""
        plan, labels = self.plan, batch["labels"]
        everywhere = plan.soft and plan.soft_pieces == "all"
        asked = batch["attention_mask"].bool() if everywhere else labels != IGNORED
        logits = piece_logits(self.model, ours[asked]).float()  # (asked, vocabulary)
        found: Losses = {}
        if plan.soft:
            with torch.no_grad():
                target = piece_logits(self.teacher, theirs[asked]).float()
            measure = forward_kl if plan.divergence == "forward" else reverse_kl
            error = (
                measure(logits, target, torch.ones(len(logits), device=logits.device), plan.temperature)
                if len(logits)
                else logits.sum()
            )
            found["soft"] = plan.soft * self._of_all(error, asked.sum())
        if plan.hard:
            guessed = labels[asked] != IGNORED
            errors = F.cross_entropy(logits[guessed], labels[asked][guessed], reduction="none")
            found["hard"] = plan.hard * self.mean(errors)
        return found

    def _layers(self, mask: Tensor, ours: Seen, theirs: Seen) -> Losses:
        """The losses over the states and scores of the mapped layers."""
        plan, found = self.plan, Losses()
        mapped = list(enumerate(self.layers, 1))  # (student layer, teacher layer)
        if plan.embedding:
            error = losses.hidden_error(self.embedding_map(ours.hidden[0]), theirs.hidden[0], mask)
            found["embedding"] = plan.embedding * self._of_all(error, mask.sum())
        if plan.hidden:
            errors = [losses.hidden_error(self.hidden_map(ours.hidden[s]), theirs.hidden[t], mask) for s, t in mapped]
            found["hidden"] = plan.hidden * self._of_all(torch.stack(errors).sum(), mask.sum())
        if plan.attention:
            heads = self.model.config.num_attention_heads
            errors = [
                losses.attention_error(ours.scores[s], losses.pool_heads(theirs.scores[t], heads), mask)
                for s, t in mapped
            ]
            pairs = mask.sum(1).pow(2).sum()
            found["attention"] = plan.attention * self._of_all(torch.stack(errors).sum(), pairs)
        if plan.relations:
            vectors = ours.vectors[self.related[0]], theirs.vectors[self.related[1]]
            narrow, wide = (one.shape[2] * one.shape[4] for one in vectors)
            heads = relations.relation_heads(plan.relation_heads, layout.shape(self.teacher).heads, wide, narrow)
            error = relations.relation_error(*vectors, mask, plan.relation_kinds, heads)
            found["relations"] = plan.relations * self._of_all(error, mask.sum())
        return found

    def _of_all(self, mean: Tensor, count: Tensor) -> Tensor:
        """A mean over `count` positions as this process's part of the mean over those of all processes."""
        return mean * (count / self.across(count.float()).clamp(min=1e-9))


def check(teacher: PreTrainedModel, student: PreTrainedModel, plan: recipe.General) -> None:
    """Refuse a loss that these two, of which only the shapes are read, cannot have."""
    narrow, wide = student.config.hidden_size, teacher.config.hidden_size
    if plan.cosine and narrow != wide:
        raise UsageError(
            f"the cosine needs states of one width, and the student has {narrow}, its teacher {wide}",
            where="distil.general.cosine",
            fix="set it to 0; `hidden` learns through a projection",
        )
    if plan.attention and layout.kind(student.config) in checkpoint.DECODERS:
        raise UsageError(
            "attention scores teach encoders alone: a GPT's are of no use where it must not look",
            where="distil.general.attention",
            fix="set it to 0",
        )
    if plan.relations:
        relations.check(teacher, student, plan, "distil.general")

"""Token classification as a task: a label for every word of a sentence, and its intent where the rows have intents.

- Which labels there are, where they stand among a sentence's pieces and what an answer means is `tagging`'s.
- A label that no training row has is no error in the rows that are scored: it counts as wrong, and `unseen` names it.
  (A rare type of slot stands in one split alone soon; a class of a classification does not.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import recipe
from ..errors import AttarError
from . import bio, slot_metrics, tagging
from .bio import Sentence
from .encoding import Encoder, Features, collate
from .tagging import Aligned, Labels
from .task import Answers, Batch, Encoded, Head, Indices, Scores


@dataclass
class EncodedSentences(Encoded):
    """Sentences, the pieces of each, and the labels of the head."""

    rows: list[Sentence]
    aligned: list[Aligned]
    labels: Labels
    features: list[Features] = field(init=False)

    def __post_init__(self) -> None:
        self.features = [row.features for row in self.aligned]

    @property
    def lengths(self) -> list[int]:
        """Pieces of each sentence."""
        return [len(row.input_ids) for row in self.features]

    def where(self, row: int) -> str:
        """Where a sentence was read."""
        return self.rows[row].where

    def batch(self, rows: Indices, pad_id: int) -> Batch:
        """These sentences, padded to the longest of them; the targets, (rows, pieces), are those of `Labels.targets`.

        Raises `AttarError` for a label that the head does not have, which no training row has.
        """
        aligned = [self.aligned[row] for row in rows]
        inputs = collate([row.features for row in aligned], pad_id)
        targets = self.labels.targets([self.rows[row] for row in rows], aligned, inputs["input_ids"].shape[1])
        return Batch(inputs, targets, np.arange(len(rows)))

    def counterparts(self, other: EncodedSentences) -> list[Indices]:
        """For each sentence the pieces of `other`, whose vocabulary holds this one's, that stand for its own."""
        return [tagging.counterparts(*pair) for pair in zip(self.aligned, other.aligned, strict=True)]

    @property
    def owners(self) -> Indices:
        """Each sentence is a sequence."""
        return np.arange(len(self.rows))

    def of(self, numbers: Sequence[int]) -> tuple[EncodedSentences, Indices]:
        """These sentences, and their numbers."""
        rows, aligned = [self.rows[number] for number in numbers], [self.aligned[number] for number in numbers]
        return EncodedSentences(rows, aligned, self.labels), np.array(numbers, np.int64)


class TokenTask:
    """What is learnt: the slots of a sentence, and its intent where the training rows have intents.

    `labels` are names of further outputs: of training rows that were set aside or left out.
    """

    head: Head = "tokens"
    kind = "token_classification"
    pair = False

    def __init__(self, spec: recipe.Task, train: Sequence[Sentence], labels: Sequence[str] = ()) -> None:
        self.known = Labels.of(train, labels)
        self.labels = self.known.names
        self.cut = bio.cut_of(train)
        self.metric: str = spec.metric or self.known.metric
        if self.metric != "slot_f1" and not self.known.intents:
            what = f"{self.metric} needs intents, and the training rows have none"
            raise AttarError(what, where="task.metric", fix="set it to slot_f1")

    @property
    def outputs(self) -> int:
        """Width of the model's output."""
        return len(self.labels)

    def follow(self, names: Sequence[str]) -> None:
        """Number the labels as `names` does, where those are the same names."""
        if set(names) == set(self.labels):
            self.known = Labels.parse(names, where="teacher.model")
            self.labels = self.known.names

    def check(self, rows: Sequence[Sentence]) -> None:
        """Raise `AttarError` for a row without an intent where the training rows have intents."""
        without = next((row for row in rows if row.intent is None), None)
        if self.known.intents and without is not None:
            raise AttarError("this row has no intent, and the training rows have intents", where=without.where)

    def unseen(self, rows: Sequence[Sentence]) -> str:
        """A remark on the labels of these rows that no training row has; empty where there is none."""
        names = self.known.unseen(rows)
        if not names:
            return ""
        more = f" and {len(names) - 3} more" if names[3:] else ""
        return f"no training row has {', '.join(names[:3])}{more}, so they count as wrong"

    def encode(self, rows: Sequence[Sentence], encoder: Encoder) -> EncodedSentences:
        """The words as pieces."""
        return EncodedSentences(list(rows), tagging.align(rows, encoder), self.known)

    def score(self, answers: Answers, encoded: EncodedSentences) -> Scores:
        """All metrics from answers of shape (pieces, outputs) for each sentence; those of intents where it has them."""
        decoded = [
            encoded.labels.decode(logits, row.firsts) for logits, row in zip(answers, encoded.aligned, strict=True)
        ]
        # A model without intents is not scored for intents, whatever the file holds.
        rows = encoded.rows if self.known.intents else [row._replace(intent=None) for row in encoded.rows]
        return slot_metrics.score(decoded, rows)

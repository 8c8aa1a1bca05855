"""Multiple choice: questions with candidates, the pairs a model sees, and how its scores are scored.

- Each candidate becomes one pair (question, candidate); the model gives each pair one score and the best of a
  question's scores is its answer (BERT, arXiv 1810.04805, section 4.4). Questions may differ in their candidates.
- A question of fewer than two candidates, or an answer that names none of them, is told by its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import recipe
from ..errors import AttarError
from . import metrics, table
from .encoding import Encoder, Features, collate
from .task import Answers, Batch, Encoded, Head, Indices, Scores


class Question(NamedTuple):
    """A question or a context, its candidates, and which of them is right, counted from 0."""

    context: str
    candidates: list[str]
    gold: int
    where: str


def question(context: Any, candidates: Sequence[Any], names: list[str], gold: Any, where: str) -> Question:
    """Check one question; `names` are what its answer may be, in the order of the candidates."""
    if not isinstance(context, str) or not context.strip():
        raise AttarError("a question without a text", where=where)
    for name, candidate in zip(names, candidates, strict=True):
        if not isinstance(candidate, str) or not candidate.strip():
            raise AttarError(f"the candidate {name} is empty", where=where)
        table.unicode(candidate, f"candidate {name}", where)
    if len(candidates) < 2:
        count = "one candidate" if candidates else "no candidate"
        raise AttarError(f"a question with {count}", where=where, fix="a choice needs two or more")
    if len(set(names)) < len(names):
        raise AttarError("two candidates have the same name", where=where)
    gold = "" if gold is None else str(gold).strip()
    if gold not in names:
        fix = f"the candidates are {', '.join(names)}"
        raise AttarError(f"the answer {gold!r} names no candidate", where=where, fix=fix)
    stripped = [candidate.strip() for candidate in candidates]
    return Question(table.unicode(context.strip(), "question", where), stripped, names.index(gold), where)


@dataclass(frozen=True)
class Pairs(Encoded):
    """Encoded pairs, a question's candidates one after another; a row is a question, a sequence is a pair.

    `owner`, shape (pairs,), is the question of each pair; `gold`, shape (questions,), the place of the right candidate.
    """

    features: list[Features]
    owner: Indices
    gold: Indices
    places: Sequence[str] = ()  # where each question was read

    @cached_property
    def starts(self) -> Indices:
        """Where each question's pairs begin, and behind the last one where they end; shape (questions + 1,)."""
        return np.searchsorted(self.owner, np.arange(len(self.gold) + 1)).astype(np.int64)

    @property
    def lengths(self) -> list[int]:
        """Pieces of each question's longest pair."""
        sizes = np.array([len(row.input_ids) for row in self.features], np.int64)
        return [int(length) for length in np.maximum.reduceat(sizes, self.starts[:-1])]

    def where(self, row: int) -> str:
        """Where a question was read."""
        return self.places[row] if self.places else ""

    def sequences(self, rows: Indices) -> Indices:
        """The numbers of these questions' pairs."""
        spans = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        return np.concatenate([np.zeros(0, np.int64), *spans])

    def batch(self, rows: Indices, pad_id: int) -> Batch:
        """These questions' pairs, padded to the longest of them; the targets are the places of the right candidates."""
        inputs = collate([self.features[pair] for pair in self.sequences(rows)], pad_id)
        return Batch(inputs, self.gold[rows], np.repeat(np.arange(len(rows)), np.diff(self.starts)[rows]))

    @property
    def owners(self) -> Indices:
        """The question of each pair."""
        return self.owner

    def of(self, numbers: Sequence[int]) -> tuple[Pairs, Indices]:
        """These questions, and the numbers of their pairs."""
        rows = np.array(numbers, np.int64)
        pairs, counts = self.sequences(rows), np.diff(self.starts)[rows]
        owner, places = np.repeat(np.arange(len(rows)), counts), [self.where(number) for number in numbers]
        return Pairs([self.features[pair] for pair in pairs], owner, self.gold[rows], places), pairs

    @property
    def chance(self) -> float:
        """The accuracy of a blind guess."""
        return float(np.mean(1.0 / np.diff(self.starts)))

    def answers(self, scores: npt.NDArray[np.floating[Any]]) -> Indices:
        """The place of each question's best candidate, from scores of shape (pairs,); the first of equal ones."""
        bounds = zip(self.starts[:-1], self.starts[1:], strict=True)
        return np.array([scores[start:end].argmax() for start, end in bounds], np.int64)

    def score(self, scores: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
        """The accuracy of scores of shape (pairs,)."""
        return {"accuracy": metrics.accuracy(self.answers(scores), self.gold)}


def encode(questions: Sequence[Question], encoder: Encoder) -> Pairs:
    """Encode (question, candidate) for every candidate."""
    owner = [number for number, question in enumerate(questions) for _ in question.candidates]
    pairs = [(question.context, candidate) for question in questions for candidate in question.candidates]
    gold = np.array([question.gold for question in questions], np.int64)
    places = [question.where for question in questions]
    return Pairs(encoder.encode(pairs), np.array(owner, np.int64), gold, places)


class ChoiceTask:
    """What is learnt: which candidate is right, from one score for each pair."""

    head: Head = "choice"
    kind = "multiple_choice"
    pair = True
    outputs = 1

    def __init__(self, spec: recipe.Task, train: Sequence[Question], labels: Sequence[str] = ()) -> None:  # noqa: ARG002
        self.metric: str = spec.metric or "accuracy"
        self.labels: list[str] = []

    def follow(self, names: Sequence[str]) -> None:
        """One score has no name."""

    def check(self, rows: Sequence[Question]) -> None:
        """`question` has checked every row as it was read."""

    def encode(self, rows: Sequence[Question], encoder: Encoder) -> Pairs:
        """A pair for every candidate."""
        return encode(rows, encoder)

    def score(self, answers: Answers, encoded: Pairs) -> Scores:
        """The accuracy of answers of shape (pairs, 1)."""
        return encoded.score(np.asarray(answers)[:, 0])

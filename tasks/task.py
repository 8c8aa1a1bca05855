"""What a task is to the rest of the program: rows to feed a model, targets to teach it, answers to score.

- Five heads serve every kind of task with rows: `sequence` (logits for the whole input), `tokens` (logits for each
  piece), `span` (a start and an end logit for each piece), `choice` (one score for each candidate of a question) and
  `embedding` (a vector for the whole input). A language model has the head `lm`, and text in the place of rows
  (`language`).
- Training draws *rows*; a model reads *sequences*. They are the same but for `choice`, whose rows have one sequence for
  each candidate, and for the scored pairs of `embedding`. A question over a long context has several windows, and each
  of them is a row.
- A model's answers are one array for each sequence, without padding: (outputs,) or (pieces, outputs). Whoever makes
  them (PyTorch, an artefact in its runtime, a phone), the same `score` judges them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from .encoding import Arrays, Encoder, Features

Head = Literal["sequence", "tokens", "span", "choice", "embedding", "lm"]
Indices = npt.NDArray[np.int64]
Answers = Sequence[npt.NDArray[np.float32]]  # one array a sequence: (outputs,) or (pieces, outputs)
Scores = dict[str, float]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Batch:
    """Some rows, padded: what a model is fed and what it should say.

    `targets` by head: class indices or values (rows,); indices of outputs (rows, pieces), -100 where nothing is asked;
    the pieces of start and end (rows, 2); the place of the right candidate (rows,);
    NaN (rows,) for an embedding, which is taught by its teacher alone.
    """

    inputs: Arrays  # (sequences, pieces)
    targets: npt.NDArray[Any]
    owner: Indices  # the row of each sequence, counted within the batch


class Encoded(ABC):
    """The rows of a split, as a model reads them."""

    features: list[Features]  # of every sequence

    @property
    @abstractmethod
    def lengths(self) -> list[int]:
        """Pieces of each row's longest sequence."""

    def where(self, row: int) -> str:  # noqa: ARG002
        """Where a row was read, such as `rows.tsv:17`; empty where that is not known."""
        return ""

    def sequences(self, rows: Indices) -> Indices:
        """The numbers of the sequences that `batch` takes for these rows, in its order."""
        return rows

    @abstractmethod
    def batch(self, rows: Indices, pad_id: int) -> Batch:
        """These rows, padded to the longest of them."""

    @property
    @abstractmethod
    def owners(self) -> Indices:
        """For each sequence the number of what it is scored for, counted to `count`."""

    @abstractmethod
    def of(self, numbers: Sequence[int]) -> tuple[Encoded, Indices]:
        """Only these of what is scored, and the numbers of their sequences."""

    def fitting(self, length: int) -> tuple[Encoded, Indices]:
        """What can be scored where no sequence may be longer than `length`, and which sequences those are.

        Of a question with several sequences all must fit, for the best answer may stand in any of them.
        """
        long = {int(n) for n, row in zip(self.owners, self.features, strict=True) if len(row.input_ids) > length}
        return self.of([number for number in range(self.count) if number not in long])

    def grouped(self) -> list[list[Features]]:
        """The sequences of each that is scored."""
        found: list[list[Features]] = [[] for _ in range(self.count)]
        for owner, row in zip(self.owners, self.features, strict=True):
            found[int(owner)].append(row)
        return found

    @property
    def count(self) -> int:
        """What is scored: rows, or the questions that several rows belong to."""
        return len(self.lengths)

    @property
    def truncated(self) -> int:
        """Sequences that were cut to the maximal length."""
        return sum(row.truncated for row in self.features)


class Task(Protocol):
    """One kind of task, with the labels of its training rows."""

    kind: str
    head: Head
    metric: str  # the primary one
    labels: list[str]  # the name of each output; empty for a regression and an embedding
    pair: bool  # whether it reads two texts

    @property
    def outputs(self) -> int:
        """Width of the model's output."""

    def follow(self, names: Sequence[str]) -> None:
        """Number the outputs as a model does that is taken as it is, where its names are the same ones."""

    def check(self, rows: Sequence[Any]) -> None:
        """Raise `AttarError` for a row that cannot be scored, such as one with an unknown label."""

    def encode(self, rows: Sequence[Any], encoder: Encoder) -> Encoded:
        """The rows as a model reads them."""

    def score(self, answers: Answers, encoded: Any) -> Scores:
        """All metrics of a model's answers, given what `encode` gave."""


@runtime_checkable
class Tuned(Protocol):
    """A task whose answers need more than logits, such as a threshold that is tuned on dev."""

    def tune(self, answers: Answers, encoded: Any) -> Scores:
        """What is tuned, by name; it is no score. Empty where this split needs nothing."""

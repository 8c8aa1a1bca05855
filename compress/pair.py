"""A teacher and its student, and what both are fed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .. import training
from ..processes import ALONE, Processes
from ..tasks.encoding import Arrays, Features
from ..tasks.task import Answers, Encoded, Indices, Task
from ..tasks.triples import Floats
from ..teachers import heads, layout


@dataclass(frozen=True)
class Heads:
    """Which of the heads that a student's layers once had are left after some were cut."""

    born: int  # heads of each layer before
    left: list[list[int]]  # of each layer, as they run, the numbers of its heads, from 0


@dataclass
class Pair:
    """A teacher and its student, and what both are fed."""

    teacher: PreTrainedModel
    student: PreTrainedModel
    layers: list[int]  # teacher layer (from 1) of each student layer
    train: Encoded
    dev: Encoded
    task: Task
    pad_id: int
    seed: int
    progress: training.Progress
    digest: str  # of the teacher's weights, configuration and tokenizer
    theirs: Encoded | None = None  # `train` as the teacher reads it, where its pieces are not the student's
    their_pad: int | None = None
    places: Sequence[Indices] | None = None  # in each row, the teacher's piece for each of ours; None: the same
    kept: Path | None = None  # where others find what the teacher answers; None: nobody else asks
    heads: Heads | None = None  # None: the student has all that it had
    processes: Processes = ALONE  # that distil it together
    asked: float = 0.0  # seconds in which the teacher answered beforehand

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """What is done within it is to let the teacher answer beforehand."""
        started = time.monotonic()
        yield
        self.asked += time.monotonic() - started

    @property
    def device(self) -> torch.device:
        """Where both live."""
        return torch.device(self.student.device)

    @property
    def shares(self) -> int:
        """The number of shares of its heads that the teacher's scores are pooled to."""
        return self.heads.born if self.heads else layout.shape(self.student).heads

    def for_layer(self, scores: Tensor, layer: int) -> Tensor:
        """Of the teacher's pooled scores, (batch, shares, length, length), those for the student's layer, from 1."""
        return scores[:, self.heads.left[layer - 1]] if self.heads else scores

    @property
    def lessons(self) -> Encoded:
        """The training rows as the teacher reads them."""
        return self.theirs or self.train

    @property
    def teacher_pad(self) -> int:
        """What the teacher's rows are padded with."""
        return self.pad_id if self.their_pad is None else self.their_pad

    def own(self, inputs: Arrays) -> tuple[Arrays, float]:
        """This process's sequences of a batch, no longer than the longest of them, and their weight."""
        found, weight = self.processes.share(inputs)
        longest = int(found["attention_mask"].sum(1).max())
        return {name: array[:, :longest] for name, array in found.items()}, weight

    def placed(self, number: int, answer: Floats) -> Floats:
        """The teacher's answer for a training sequence, (outputs,) or (pieces, outputs), by the student's pieces."""
        return answer if self.places is None else answer[self.places[number]]

    def taught(self, features: Sequence[Features]) -> Answers:
        """The teacher's logits for sequences of its own pieces."""
        return heads.answers(self.teacher, self.task.head, features, self.teacher_pad)

    def evaluate(self) -> training.Scores:
        """The student's dev scores."""
        logits = heads.answers(self.student, self.task.head, self.dev.features, self.pad_id)
        return self.task.score(logits, self.dev)

"""A teacher and its student, and what both are fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from .. import training
from ..tasks.encoding import Features
from ..tasks.task import Answers, Encoded, Task
from ..teachers import heads


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
    kept: Path | None = None  # where others find what the teacher answers; None: nobody else asks

    @property
    def device(self) -> torch.device:
        """Where both live."""
        return torch.device(self.student.device)

    @property
    def lessons(self) -> Encoded:
        """The training rows as the teacher reads them."""
        return self.theirs or self.train

    @property
    def teacher_pad(self) -> int:
        """What the teacher's rows are padded with."""
        return self.pad_id if self.their_pad is None else self.their_pad

    def taught(self, features: Sequence[Features]) -> Answers:
        """The teacher's logits for sequences of its own pieces."""
        return heads.answers(self.teacher, self.task.head, features, self.teacher_pad)

    def evaluate(self) -> training.Scores:
        """The student's dev scores."""
        logits = heads.answers(self.student, self.task.head, self.dev.features, self.pad_id)
        return self.task.score(logits, self.dev)

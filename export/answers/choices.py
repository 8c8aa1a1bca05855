"""The best of a question's candidates: one pair and one score each, and a softmax over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from ...tasks import choice
from ...tasks.choice import ChoiceTask, Pairs, Question
from ...tasks.encoding import Encoder, Features
from ...tasks.task import Answers
from ..manifest import TaskCard
from .forms import Answer, Asked, softmax


@dataclass(frozen=True)
class ChoiceAnswer(Answer):
    """Which candidate, counted from 0, and the probability of each, in their order."""

    choice: int = 0
    probabilities: tuple[float, ...] = ()

    @property
    def said(self) -> int:
        """The place of the best candidate."""
        return self.choice

    def found(self) -> dict[str, Any]:
        """The place and the words of the best candidate, and the probabilities in the candidates' order."""
        words = self.asked.candidates[self.choice]
        return {"choice": self.choice, "answer": words, "probabilities": list(self.probabilities)}


@dataclass(frozen=True)
class _Posed:
    words: Asked
    pairs: Pairs

    @property
    def features(self) -> list[Features]:
        return self.pairs.features

    def answer(self, logits: Answers) -> ChoiceAnswer:
        scores = np.asarray(logits)[:, 0]
        shares = tuple(float(share) for share in softmax(scores))
        return ChoiceAnswer(self.words, self.pairs.truncated > 0, int(self.pairs.answers(scores)[0]), shares)


class ChoiceForm:
    """Questions with candidates."""

    def __init__(self, card: TaskCard) -> None: ...

    def pose(self, asked: Asked, encoder: Encoder) -> _Posed:
        """The question with each candidate."""
        if asked.text_pair is not None or asked.ask or not asked.candidates:
            fix = "give each with --candidate"
            raise UsageError("this model reads a question and its candidates", fix=fix)
        names = [str(number) for number in range(1, len(asked.candidates) + 1)]
        row = choice.question(asked.text, asked.candidates, names, names[0], "")
        return _Posed(asked, choice.encode([row], encoder))

    @staticmethod
    def asked(row: Question) -> Asked:
        """The question and its candidates."""
        return Asked(row.context, None, tuple(row.candidates))

    @staticmethod
    def details(task: ChoiceTask, tuned: Mapping[str, float]) -> dict[str, Any]:  # noqa: ARG004 - one interface
        """A choice needs nothing more."""
        return {}

"""A class or a value for a text, or for a pair; in both orders the logits are added, as they were in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from ...tasks.encoding import Encoder, Features
from ...tasks.table import Example
from ...tasks.task import Answers
from ...tasks.text import TextTask, orders
from ..manifest import TaskCard
from .forms import Answer, Asked, ranked


@dataclass(frozen=True)
class TextAnswer(Answer):
    """A label with the probabilities of all, or a value."""

    label: str | None = None  # the most probable label; None for a regression
    probabilities: tuple[tuple[str, float], ...] = ()  # by falling probability, which sum to 1
    value: float | None = None  # of a regression

    @property
    def said(self) -> str | float | None:
        """The label, or the value."""
        return self.value if self.label is None else self.label

    def found(self) -> dict[str, Any]:
        """The label with the probabilities, or the value."""
        if self.label is None:
            return {"value": self.value}
        return {"label": self.label, "probabilities": dict(self.probabilities)}


@dataclass(frozen=True)
class _Posed:
    card: TaskCard
    words: Asked
    features: list[Features]

    def answer(self, logits: Answers) -> TextAnswer:
        total = np.sum(np.stack(list(logits)), 0)
        truncated = any(row.truncated for row in self.features)
        if self.card.kind == "regression":
            return TextAnswer(self.words, truncated, value=float(total[0]))
        found = ranked(self.card.labels, total)
        return TextAnswer(self.words, truncated, label=found[0][0], probabilities=found)


class TextForm:
    """Texts and pairs."""

    def __init__(self, card: TaskCard) -> None:
        self.card = card

    def pose(self, asked: Asked, encoder: Encoder) -> _Posed:
        """The text, or the pair in one order or both."""
        if asked.candidates or asked.ask or (asked.text_pair is not None) != self.card.pair:
            raise UsageError(f"this model reads {'pairs of texts' if self.card.pair else 'single texts'}")
        sequences = encoder.encode(orders(asked.text, asked.text_pair, self.card.both_orders))
        return _Posed(self.card, asked, sequences)

    @staticmethod
    def asked(row: Example) -> Asked:
        """The texts of an example."""
        return Asked(row.text, row.text_pair)

    @staticmethod
    def details(task: TextTask, tuned: Mapping[str, float]) -> dict[str, Any]:  # noqa: ARG004 - one interface
        """Whether pairs are read in both orders."""
        return {"both_orders": task.both_orders}

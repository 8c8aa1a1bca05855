"""The words of a context that answer a question, or that there is no answer.

- A long context is read in the overlapping windows of training, and the best spans of all windows stand in one list.
- There is no answer where the null score less the best span's score is above the threshold that was tuned on dev, or
  where the context holds no word. A model whose questions all had answers has no threshold, and always answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from ...tasks import spans, windows
from ...tasks.encoding import Encoder, Features
from ...tasks.reading import ReadingTask
from ...tasks.spans import Span
from ...tasks.squad import Question
from ...tasks.task import Answers
from ..manifest import SpanCard, TaskCard
from .forms import Answer, Asked

SHOWN = 5  # spans in a document; more of them say little


@dataclass(frozen=True)
class SpanAnswer(Answer):
    """The best span, or None; `spans` are the best ones in order, also where the answer is none."""

    span: Span | None = None
    spans: tuple[Span, ...] = ()
    no_answer: float | None = None  # null score less the best span's; None where there is no span
    threshold: float | None = None  # above it there is no answer

    @property
    def said(self) -> tuple[int, int] | None:
        """The characters of the answer."""
        return (self.span.start, self.span.end) if self.span else None

    def found(self) -> dict[str, Any]:
        """The answer with its characters and score (null for none), and what it was weighed against."""
        best = [span._asdict() for span in self.spans[:SHOWN]]
        margin = {"no_answer": self.no_answer, "no_answer_threshold": self.threshold}
        return {"answer": self.span and self.span._asdict(), **margin, "spans": best}


@dataclass(frozen=True)
class _Posed:
    card: SpanCard
    words: Asked
    question: Question
    windows: list[windows.Window]

    @property
    def features(self) -> list[Features]:
        return [window.features for window in self.windows]

    def answer(self, logits: Answers) -> SpanAnswer:
        card = self.card
        (found,) = spans.predict([self.question], self.windows, logits, card.n_best, card.max_answer)
        answered = bool(found.text(card.no_answer_threshold))
        return SpanAnswer(
            self.words,
            any(row.truncated for row in self.features),
            found.spans[0] if answered else None,
            tuple(found.spans),
            float(found.no_answer) if np.isfinite(found.no_answer) else None,
            card.no_answer_threshold,
        )


class SpanForm:
    """Questions about a context."""

    def __init__(self, card: TaskCard) -> None:
        assert card.span is not None  # the card's own check
        self.card = card.span

    def pose(self, asked: Asked, encoder: Encoder) -> _Posed:
        """The question with each window of its context."""
        if asked.text_pair is None or asked.candidates:
            raise UsageError("this model reads a question and its context", fix="give the context with --pair")
        question = Question("", asked.text, asked.text_pair)
        found = windows.encode([question], encoder, self.card.stride, self.card.max_question)
        return _Posed(self.card, asked, question, found)

    @staticmethod
    def asked(row: Question) -> Asked:
        """The question, and the context as its pair."""
        return Asked(row.question, row.context)

    @staticmethod
    def details(task: ReadingTask, tuned: Mapping[str, float]) -> dict[str, Any]:
        """How contexts are cut and answers chosen."""
        names = ("stride", "max_question", "max_answer", "n_best")
        return {"span": SpanCard(**{name: getattr(task.spec, name) for name in names}, **tuned)}

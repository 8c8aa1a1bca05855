"""From start and end logits to an answer (BERT, arXiv 1810.04805, sections 4.2 and 4.3).

- A span's score is the logit of its first piece as start plus that of its last piece as end. All spans of context
  pieces up to a maximal length are compared, not only those of the likeliest ends, so the best one is exact.
- The best spans of all windows of a question stand in one list; a span that two windows see keeps its better score.
- The null score is start plus end of [CLS], the least over the windows: a question has no answer where no window has.
  `no_answer` is null less best span; above a threshold, tuned on dev (`squad_metrics.best_threshold`), the answer is
  the empty text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from .squad import Question
from .windows import Window, characters

Logits = npt.NDArray[np.float32]  # (pieces, 2): start and end of one window, without padding


class Span(NamedTuple):
    """Characters `start` to `end` of the context, and their score."""

    text: str
    start: int
    end: int
    score: float


class Prediction(NamedTuple):
    """What a model says to one question."""

    spans: list[Span]  # the best first; empty only where the context holds no piece
    null: float  # the score of no answer

    @property
    def no_answer(self) -> float:
        """Null score less best span's score; infinite where there is no span."""
        return self.null - self.spans[0].score if self.spans else math.inf

    def text(self, threshold: float | None = None) -> str:
        """The best span's words, or nothing where `no_answer` is above the threshold; None takes the span always."""
        answered = bool(self.spans) and (threshold is None or self.no_answer <= threshold)
        return self.spans[0].text if answered else ""


def predict(
    questions: Sequence[Question],
    windows: Sequence[Window],
    logits: Sequence[Logits],
    n_best: int = 20,
    max_length: int = 30,
) -> list[Prediction]:
    """A prediction for each question from its windows' logits, (pieces, 2) each; spans of at most `max_length` pieces.

    Raises `AttarError` where logits and windows do not belong together or a question has no window.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in questions]
    null = [math.inf] * len(questions)
    if len(windows) != len(logits):
        raise AttarError(f"{len(logits)} rows of logits for {len(windows)} windows")
    for window, values in zip(windows, logits, strict=True):
        if values.shape != (len(window.features.input_ids), 2):
            raise AttarError(f"logits of shape {values.shape} for a window of {len(window.features.input_ids)} pieces")
        null[window.row] = min(null[window.row], float(values[0, 0]) + float(values[0, 1]))
        best = found[window.row]
        for first, last, score in _best(window, values, n_best, max_length):
            place = characters(window, questions[window.row].context, first, last)
            if place[0] < place[1]:  # a span of blanks is no answer
                best[place] = max(score, best.get(place, -math.inf))
    for question, score in zip(questions, null, strict=True):
        if score == math.inf:
            raise AttarError("the question has no window", where=question.where)
    return [
        Prediction(_ranked(question.context, spans, n_best), score)
        for question, spans, score in zip(questions, found, null, strict=True)
    ]


def _best(window: Window, values: Logits, count: int, max_length: int) -> Iterator[tuple[int, int, float]]:
    """First piece, last piece and score of the window's best spans, in no order."""
    pieces = len(window.offsets)
    if not pieces:
        return
    context = values[window.first : window.first + pieces].astype(np.float64)
    width = min(max_length, pieces)
    ends = np.concatenate([context[:, 1], np.full(width - 1, -np.inf)])
    # scores[i, l] is the span that begins with piece i and has l + 1 pieces.
    scores = context[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, width)
    flat = scores.ravel()
    top = np.argpartition(-flat, count - 1)[:count] if count < flat.size else np.arange(flat.size)
    for number in top[np.isfinite(flat[top])]:
        begin, more = divmod(int(number), width)
        yield window.first + begin, window.first + begin + more, float(flat[number])


def _ranked(context: str, spans: dict[tuple[int, int], float], count: int) -> list[Span]:
    """The best spans first; of equal ones the earlier and shorter."""
    order = sorted(spans, key=lambda place: (-spans[place], place))[:count]
    return [Span(context[start:end], start, end, spans[start, end]) for start, end in order]

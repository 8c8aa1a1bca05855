"""Perplexity of a causal language model on a long text, by a sliding window.

- Each window holds `window` pieces of input and moves on by `stride`; it is asked only for the pieces that no earlier
  window was asked for, so that all but the first have at least `window - stride` pieces of context.
- Every piece counts once. The first is predicted from the end-of-text piece; a tokenizer without one leaves it
  unscored.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..errors import AttarError
from .causal import Causal, Row, score


class Perplexity(NamedTuple):
    """A long text's likelihood; `nats` is the negative sum of log-probabilities over `pieces` scored pieces."""

    nats: float
    pieces: int
    words: int  # separated by white space
    window: int
    stride: int

    @property
    def per_piece(self) -> float:
        """exp of the mean over pieces; comparable between models of one tokenizer only."""
        return math.exp(self.nats / self.pieces)

    @property
    def per_word(self) -> float:
        """exp of the mean over words; comparable between tokenizers."""
        return math.exp(self.nats / self.words)


def perplexity(
    lm: Causal, text: str, *, window: int | None = None, stride: int | None = None, batch_size: int = 8
) -> Perplexity:
    """Perplexity of a long text.

    `window`, in pieces of input, is by default all of the model's positions, and `stride` half a window. Raises
    `AttarError` for a window that does not slide or does not fit, and for a text too short to score.
    """
    window = lm.positions if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= stride <= window <= lm.positions:
        what = f"a stride of {stride} in a window of {window}, and the model holds {lm.positions}"
        raise AttarError(what, fix="1 <= stride <= window <= positions")
    ids, words = lm.start() + lm.pieces(text), len(text.split())
    if len(ids) < 2 or not words:
        raise AttarError("the text is too short to score")
    rows: list[Row] = []
    done = 1  # the first piece is only given
    while done < len(ids):
        end = min(len(ids), done + (stride if rows else window))
        rows.append((ids[max(0, end - 1 - window) : done], ids[done:end]))
        done = end
    nats = -sum(total for total, _ in score(lm, rows, batch_size))
    return Perplexity(nats, len(ids) - 1, words, window, stride)

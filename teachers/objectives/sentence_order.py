"""Sentence-order prediction, together with masked language modelling: which of two neighbouring texts came first?

ALBERT, arXiv 1909.11942, section 3.1: two consecutive segments of one document, in their order (label 0) or swapped
(label 1), by even chance. Unlike next-sentence prediction it cannot be solved by the topic alone.

- Nor by lengths: a span ends with the sentence that reached its aim, so what comes later is often longer, and in short
  rows lengths alone would tell the order. Here both texts are as long, and each lost something at one end, its front or
  its back by even chance, so that neither what was cut tells which came later.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import segments
from .base import Settings
from .next_sentence import PairObjective, build_pair
from .pieces import Pieces
from .segments import Documents, Row, Span

IN_ORDER, SWAPPED = 0, 1


def row(documents: Documents, span: Span, pieces: Pieces, max_length: int, rng: np.random.Generator) -> Row:
    """A row of at most `max_length` pieces from a span of two sentences or more, split after a random sentence."""
    split = int(rng.integers(span.start + 1, span.stop))
    first = segments.text(documents, Span(span.start, split))
    second = segments.text(documents, Span(split, span.stop))
    size = max(1, min(len(first) - 1, len(second) - 1, (max_length - 3) // 2))
    first, second = _cut(first, size, rng), _cut(second, size, rng)
    if rng.random() < 0.5:
        return segments.pair(first, second, IN_ORDER, pieces)
    return segments.pair(second, first, SWAPPED, pieces)


def _cut(text: list[int], size: int, rng: np.random.Generator) -> list[int]:
    """The first or the last `size` pieces, by even chance."""
    return text[:size] if rng.random() < 0.5 else text[-size:]


def build(config: Any, pieces: Pieces, settings: Settings) -> PairObjective:
    """A model with random weights that learns by masked language modelling and sentence-order prediction."""
    return build_pair(config, pieces, settings, "sentence_order")

"""Rows of pre-training text: spans of a document, cut to a length, with [CLS] and [SEP].

- A span is a range of sentences that follow each other in one document. `spans` lists all of a corpus once; what a
  span becomes (where it is split, which other text stands beside it) is drawn anew each time a row is made of it.
- Text is reached through `Documents`, a few sentences at a time: a row never loads a whole book.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ...tasks.encoding import Features, collate
from .base import Batch
from .pieces import Pieces

SHORT = 0.1  # share of the spans that are short, because later tasks have short texts (BERT, A.2 and its code)
LOOKED = 4096  # sentences whose lengths are looked up at once


Integers = npt.NDArray[np.int64]


class Documents(Protocol):
    """A corpus of sentences, numbered through all its documents; `len` is the number of documents (`tasks.shards`)."""

    @property
    def sentences(self) -> int:
        """Sentences of the whole corpus."""

    def __len__(self) -> int: ...

    def document(self, number: int) -> range:
        """The numbers of a document's sentences."""

    def document_of(self, sentences: npt.ArrayLike) -> Integers:
        """The document of each sentence; the same shape."""

    def span(self, first: int, last: int) -> npt.NDArray[np.integer[Any]]:
        """The pieces of the sentences `first` up to, not with, `last`, without special pieces; shape (length,)."""

    def lengths(self, sentences: npt.ArrayLike) -> Integers:
        """Pieces of each sentence; the same shape."""


class Span(NamedTuple):
    """Sentences `start` up to, not with, `stop`."""

    start: int
    stop: int


class Row(NamedTuple):
    """One row, and the judgement over its pair where it is one."""

    features: Features
    pair_label: int | None = None


def spans(
    documents: Documents, room: int, rng: np.random.Generator, *, least: int = 1, short: float = SHORT
) -> Integers:
    """Cut a corpus into spans that fill `room` pieces: (start, stop) of each, shape (spans, 2).

    A span has at least `least` sentences (two for a pair); what is left at a document's end and is fewer is left out.
    With the chance `short` a span aims at a random smaller length, as BERT's do.
    """
    return np.fromiter(_spans(documents, room, rng, least, short), np.dtype((np.int64, 2)))


def _spans(
    documents: Documents, room: int, rng: np.random.Generator, least: int, short: float
) -> Iterator[tuple[int, int]]:
    for document in range(len(documents)):
        numbers = documents.document(document)
        start, held, aim = numbers.start, 0, _aim(room, rng, short)
        for number, count in _counts(documents, numbers):
            held += count
            if held >= aim and number + 1 - start >= least:
                yield start, number + 1
                start, held, aim = number + 1, 0, _aim(room, rng, short)
        if numbers.stop - start >= max(1, least):
            yield start, numbers.stop


def _counts(documents: Documents, numbers: range) -> Iterator[tuple[int, int]]:
    """Each sentence with its pieces; read by the thousand, for a document may be as long as its corpus."""
    for start in range(0, len(numbers), LOOKED):
        part = numbers[start : start + LOOKED]
        yield from zip(part, documents.lengths(part).tolist(), strict=True)


def _aim(room: int, rng: np.random.Generator, short: float) -> int:
    return int(rng.integers(2, room + 1)) if rng.random() < short else room


def text(documents: Documents, span: Span) -> list[int]:
    """The pieces of a span."""
    pieces: list[int] = documents.span(*span).tolist()
    return pieces


def single(documents: Documents, span: Span, pieces: Pieces, max_length: int) -> Row:
    """[CLS] text [SEP], for objectives that judge no pair."""
    body = text(documents, span)[: max_length - 2]
    ids = [pieces.cls, *body, pieces.sep]
    return Row(Features(ids, [0] * len(ids)))


def pair(first: list[int], second: list[int], label: int, pieces: Pieces) -> Row:
    """[CLS] first [SEP] second [SEP], with segment 0 up to the first [SEP] and 1 after it."""
    ids = [pieces.cls, *first, pieces.sep, *second, pieces.sep]
    return Row(Features(ids, [0] * (len(first) + 2) + [1] * (len(second) + 1)), label)


def truncate(first: list[int], second: list[int], room: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Cut a pair to `room` pieces by BERT's rule: always the longer one, at its front or its back by even chance.

    `truncate_seq_pair` of the code that BERT was published with; of two equally long texts the second is cut.
    """
    sides = [first, second]
    begin, end = [0, 0], [len(first), len(second)]
    while sum(end) - sum(begin) > room:
        longer = 0 if end[0] - begin[0] > end[1] - begin[1] else 1
        if rng.random() < 0.5:
            begin[longer] += 1
        else:
            end[longer] -= 1
    cut = [side[begin[n] : end[n]] for n, side in enumerate(sides)]
    return cut[0], cut[1]


def batch(rows: Sequence[Row], pad: int, length: int | None = None) -> Batch:
    """Tensors of shape (rows, longest or `length`), with `pair_label` (rows,) where the rows are pairs."""
    arrays = collate([row.features for row in rows], pad, length)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    labels = [row.pair_label for row in rows if row.pair_label is not None]
    return tensors | ({"pair_label": torch.tensor(labels)} if labels else {})

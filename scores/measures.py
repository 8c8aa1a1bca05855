"""The kinds of score: which models each can ask, how its rows are read, and how one model is scored on them.

- Everything is read before a model is loaded, so that a wrong column is told before anything is computed.
- A new kind is a type of the sheet, its two functions in a file of this folder, and its line in `run.MEASURES`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, TypeVar

from ..teachers.causal import Moved
from .record import Result
from .subject import Subject

Row = TypeVar("Row")


@dataclass(frozen=True)
class Material:
    """What an entry of the sheet asks about."""

    content: Any  # as the measure's own functions know it
    rows: int
    data: dict[str, str]  # sha256 by role
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One model to be scored on the material of one entry."""

    entry: Any  # of the sheet
    content: Any
    subject: Subject
    others: Sequence[Subject]  # all models that stand beside each other, this one among them
    seed: int
    moved: Moved = lambda share: None

    def part(self, number: int, count: int) -> Moved:
        """The progress of one of `count` equal parts."""
        return lambda share: self.moved((number + share) / count)


@dataclass(frozen=True)
class Measure:
    """One kind of score."""

    family: Literal["decoder", "encoder"]
    read: Callable[[Any, int], Material]  # entry and seed
    score: Callable[[Job], Iterator[Result]]
    head: bool = False  # whether it needs the encoder's masked-LM head


def some(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """At most `limit` of the rows, chosen by the seed, in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[number] for number in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def cut(count: int, what: str) -> list[str]:
    """A remark on rows that the model could not hold whole."""
    return [f"{count:,} {what} cut from the left"] if count else []


class Clock:
    """Seconds of a block."""

    seconds = 0.0


@contextmanager
def timed() -> Iterator[Clock]:
    """Measure the block's seconds."""
    clock, started = Clock(), monotonic()
    yield clock
    clock.seconds = monotonic() - started

"""The rows that quantizers calibrate on: the student's own training rows, some of them, chosen by the recipe's seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ..errors import AttarError
from ..tasks.encoding import Features

T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """Calibration rows as a model reads them, made when the first quantizer asks."""

    make: Callable[[], Sequence[Features]]
    pad_id: int

    @cached_property
    def features(self) -> Sequence[Features]:
        """Of every sequence."""
        return self.make()


def draw(rows: Sequence[T], count: int, seed: int) -> list[T]:
    """So many of the rows in their order, or all where there are fewer; none is an error."""
    if not rows:
        fix = "give the task training rows, or export without int8-static and mixed"
        raise AttarError("there are no rows to calibrate on", where="export.calibration", fix=fix)
    chosen = random.Random(seed).sample(range(len(rows)), min(count, len(rows)))
    return [rows[number] for number in sorted(chosen)]

"""The rows of a task: train, dev and test, with a digest of each.

The digest is over the rows as read (texts and labels), so that a stage's key changes when the data does, whatever
the file is called.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .. import recipe
from ..errors import AttarError
from ..files import value_digest
from . import assistant, table
from .encoding import Encoder, Features
from .table import Example
from .text import TextTask


@dataclass(frozen=True)
class Data:
    """Examples by split, of which `test` may be empty, and the labels of all training rows, sorted.

    A label of a row that was set aside or left out by `limit` is a class too. The digests are of the rows alone.
    """

    train: list[Example]
    dev: list[Example]
    test: list[Example]
    labels: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Rows of each split that has some."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: len(rows) for name, rows in splits.items() if rows}

    def splits(self) -> dict[str, list[Example]]:
        """The splits that are scored."""
        return {"dev": self.dev} | ({"test": self.test} if self.test else {})

    def digests(self) -> dict[str, str]:
        """sha256 of each split."""
        names = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: digest(rows) for name, rows in names.items() if rows}


def digest(rows: Sequence[Example]) -> str:
    """sha256 over the rows."""
    return value_digest([[row.text, row.text_pair, row.label] for row in rows])


def load(task: recipe.Task, seed: int = 0) -> Data:
    """Read all splits; set aside `holdout` of the training rows where there is no dev file."""
    if task.builtin == "assistant":
        train, dev, test = (_assistant(name) for name in ("train", "dev", "test"))
    else:
        assert task.train is not None  # the recipe's own check
        train = table.read(task.train, task)
        dev = table.read(task.dev, task) if task.dev else []
        test = table.read(task.test, task) if task.test else []
    labels = sorted({row.label for row in train})
    chooser = random.Random(seed)
    if not dev:
        order = chooser.sample(range(len(train)), len(train))
        held = set(order[: max(1, round(task.holdout * len(train)))])
        dev = [row for number, row in enumerate(train) if number in held]
        train = [row for number, row in enumerate(train) if number not in held]
        if not train:
            raise AttarError(
                f"of {len(dev)} training rows none is left beside dev",
                where="task.holdout",
                fix="give more rows or a dev file",
            )
    if task.limit and task.limit < len(train):
        train = [train[number] for number in sorted(chooser.sample(range(len(train)), task.limit))]
    return Data(train, dev, test, labels)


def _assistant(split: str) -> list[Example]:
    rows = assistant.examples(split)  # type: ignore[arg-type]
    return [Example(text, None, label, f"assistant/{split}:{n}") for n, (label, text) in enumerate(rows, 1)]


@dataclass(frozen=True)
class Encoded:
    """The features and targets of one split, in the order of its rows."""

    features: list[Features]
    targets: npt.NDArray[np.generic]

    @property
    def lengths(self) -> list[int]:
        """Pieces of each row."""
        return [len(row.input_ids) for row in self.features]

    @property
    def truncated(self) -> int:
        """Rows that were cut to the maximal length."""
        return sum(row.truncated for row in self.features)


def encode(rows: Sequence[Example], task: TextTask, encoder: Encoder) -> Encoded:
    """Encode the rows of a split and their labels."""
    targets = task.targets(rows)
    return Encoded(encoder.encode([(row.text, row.text_pair) for row in rows]), targets)

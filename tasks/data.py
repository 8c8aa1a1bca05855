"""The rows of a task: train, dev and test, with a digest of each.

The digest is over the rows as read (texts and labels), so that a stage's key changes when the data does, whatever
the file is called.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import recipe
from ..errors import AttarError
from ..files import value_digest
from . import kinds

NAMES: tuple[kinds.Name, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """Rows by split, of which `test` may be empty, and the labels of all training rows, sorted.

    A label of a row that was set aside or left out by `limit` is a class too. The digests are of the rows alone.
    """

    train: list[Any]
    dev: list[Any]
    test: list[Any]
    labels: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # what the readers left out, one line a file

    def counts(self) -> dict[str, int]:
        """Rows of each split that has some."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: len(rows) for name, rows in splits.items() if rows}

    def splits(self) -> dict[str, list[Any]]:
        """The splits that are scored."""
        return {"dev": self.dev} | ({"test": self.test} if self.test else {})

    def digests(self) -> dict[str, str]:
        """sha256 of each split."""
        names = {"train": self.train, "dev": self.dev, "test": self.test}
        return {name: digest(rows) for name, rows in names.items() if rows}


def digest(rows: Sequence[Any]) -> str:
    """sha256 over the rows, wherever they stood."""
    return value_digest([row[: row._fields.index("where")] for row in rows])


def load(task: recipe.Task, seed: int = 0) -> Data:
    """Read all splits; set aside `holdout` of the training rows where there is no dev file."""
    kind = kinds.KINDS[task.kind]
    splits: dict[str, list[Any]] = {}
    remarks = []
    for name in NAMES:
        rows, said = kinds.read(task, name)
        splits[name] = rows
        remarks += said
    train, dev, test = splits.values()
    labels = kind.labels(train)
    chooser = random.Random(seed)
    if not dev:
        groups = kind.groups(train) if kind.groups else [str(number) for number in range(len(train))]
        held = _held(groups, task.holdout, chooser)
        dev = [row for row, group in zip(train, groups, strict=True) if group in held]
        train = [row for row, group in zip(train, groups, strict=True) if group not in held]
        if not train:
            raise AttarError(
                f"of {len(dev)} training rows none is left beside dev",
                where="task.holdout",
                fix="give more rows or a dev file",
            )
    if task.limit and task.limit < len(train):
        train = [train[number] for number in sorted(chooser.sample(range(len(train)), task.limit))]
    if task.mixture and kind.mix:
        train = kind.mix(train, task.mixture, seed)
    return Data(train, dev, test, labels, remarks)


def _held(groups: Sequence[str], share: float, chooser: random.Random) -> set[str]:
    """Groups that hold `share` of the rows, at least one, in a random order."""
    sizes = Counter(groups)
    held: set[str] = set()
    count, wanted = 0, max(1, round(share * len(groups)))
    for group in chooser.sample(list(sizes), len(sizes)):
        if count >= wanted:
            break
        held.add(group)
        count += sizes[group]
    return held

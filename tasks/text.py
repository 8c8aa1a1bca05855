"""Classification and regression over a text or a pair of texts.

- A class's index is its place among the sorted labels of all training rows (numbers sort as numbers), those
  set aside as dev too; the dev and test rows may use no other.
- The model head is the stock sequence-classification head: one logit per class, or one output for regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import recipe
from ..errors import AttarError, nearest
from . import metrics
from .encoding import Encoder, Features, collate
from .table import Example
from .task import Answers, Batch, Encoded, Head, Indices


@dataclass(frozen=True)
class EncodedTexts(Encoded):
    """Texts or pairs of texts, each with its class index or value.

    `orders` is 2 where a row is two sequences: a pair in both orders, or the two texts of an embedding's pair.
    """

    features: list[Features]
    targets: npt.NDArray[Any]
    orders: int = 1
    places: Sequence[str] = ()  # where each row was read

    @property
    def lengths(self) -> list[int]:
        """Pieces of each row's longest sequence."""
        sizes = np.array([len(row.input_ids) for row in self.features], np.int64)
        return [int(size) for size in sizes.reshape(-1, self.orders).max(1)]

    def where(self, row: int) -> str:
        """Where a row was read."""
        return self.places[row] if self.places else ""

    def sequences(self, rows: Indices) -> Indices:
        """The sequences of these rows, a row's orders one after the other."""
        return (rows[:, None] * self.orders + np.arange(self.orders)).ravel()

    def batch(self, rows: Indices, pad_id: int) -> Batch:
        """These rows, padded to the longest of them."""
        inputs = collate([self.features[number] for number in self.sequences(rows)], pad_id)
        return Batch(inputs, self.targets[rows], np.repeat(np.arange(len(rows)), self.orders))

    @property
    def owners(self) -> Indices:
        """The row of each sequence."""
        return np.repeat(np.arange(len(self.targets)), self.orders)

    def of(self, numbers: Sequence[int]) -> tuple[EncodedTexts, Indices]:
        """These rows, and the numbers of their sequences."""
        rows = np.array(numbers, np.int64)
        chosen = self.sequences(rows)
        features, places = [self.features[number] for number in chosen], [self.where(number) for number in numbers]
        return EncodedTexts(features, self.targets[rows], self.orders, places), chosen


class TextTask:
    """What is learnt: turns labels into targets and answers into scores.

    `labels` are further labels of the training rows: of those that were set aside or left out.
    """

    head: Head = "sequence"

    def __init__(self, spec: recipe.Task, train: Sequence[Example], labels: Sequence[str] = ()) -> None:
        self.kind: str = spec.kind
        self.metric: str = spec.metric or "accuracy"
        self.pair = train[0].text_pair is not None
        self.both_orders = spec.both_orders
        self.classes = _classes(train, labels) if self.kind == "classification" else []
        self.labels = [spec.label_names.get(name, name) for name in self.classes]
        self._index = {name: number for number, name in enumerate(self.classes)}
        for name in spec.label_names:
            if self.classes and name not in self._index:
                fix = nearest(name, self.classes)
                raise AttarError(f"the label {name!r} is in no training row", where="task.label_names", fix=fix)
        twice = next((name for place, name in enumerate(self.labels) if name in self.labels[:place]), None)
        if twice is not None:
            raise AttarError(f"two labels have the name {twice!r}", where="task.label_names")

    def follow(self, names: Sequence[str]) -> None:
        """Number the classes as `names` does, where those are the same names: a model may have its own order."""
        if set(names) == set(self.labels):
            pairs = dict(zip(self.labels, self.classes, strict=True))
            self.labels = list(names)
            self.classes = [pairs[name] for name in names]
            self._index = {name: number for number, name in enumerate(self.classes)}

    @property
    def outputs(self) -> int:
        """Width of the model's output."""
        return len(self.classes) or 1

    def check(self, rows: Sequence[Example]) -> None:
        """Raise `AttarError` for a label that no training row has, or a value that is no number."""
        self.targets(rows)

    def encode(self, rows: Sequence[Example], encoder: Encoder) -> EncodedTexts:
        """The texts as pieces, the labels as targets."""
        pairs = [order for row in rows for order in orders(row.text, row.text_pair, self.both_orders)]
        count, places = 2 if self.both_orders else 1, [row.where for row in rows]
        return EncodedTexts(encoder.encode(pairs), self.targets(rows), count, places)

    def targets(self, examples: Sequence[Example]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Class indices or values, shape (rows,)."""
        if self.kind == "regression":
            return np.array([number(example) for example in examples], np.float32)
        return np.array([self._class(example) for example in examples], np.int64)

    def score(self, answers: Answers, encoded: EncodedTexts) -> dict[str, float]:
        """All metrics of the task from answers of shape (rows, outputs)."""
        targets = encoded.targets
        outputs = np.asarray(answers).reshape(len(targets), encoded.orders, -1).sum(1)  # of a pair in both orders
        if self.kind == "regression":
            values, truth = outputs[:, 0].astype(np.float64), targets.astype(np.float64)
            return {"spearman": metrics.spearman(values, truth), "pearson": metrics.pearson(values, truth)}
        classes, right = outputs.argmax(1), targets.astype(np.int64)
        return {
            "accuracy": metrics.accuracy(classes, right),
            "f1": metrics.f1(classes, right, len(self.classes)),
            "mcc": metrics.mcc(classes, right, len(self.classes)),
        }

    def _class(self, example: Example) -> int:
        if example.label not in self._index:
            fix = nearest(example.label, self.classes)
            raise AttarError(f"the label {example.label!r} is in no training row", where=example.where, fix=fix)
        return self._index[example.label]


def orders(text: str, pair: str | None, both: bool) -> list[tuple[str, str | None]]:
    """What is read of a text, or of a pair: the pair as it stands and, with `both`, turned round."""
    return [(text, pair), (pair or "", text)] if both else [(text, pair)]


def _classes(train: Sequence[Example], labels: Sequence[str]) -> list[str]:
    names = {example.label for example in train} | set(labels)
    if len(names) < 2:
        raise AttarError(f"only one class, {names.pop()!r}", where=train[0].where, fix="check task.label")
    if len(names) > 1000:
        raise AttarError(
            f"{len(names)} classes", where=train[0].where, fix="for a score set `kind: regression`, or check task.label"
        )
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return sorted(names)
    if not np.isfinite(list(numbers.values())).all():  # `nan` and `inf` are words
        return sorted(names)
    return sorted(names, key=lambda name: (numbers[name], name))  # `1` and `1.0` are two labels


def number(example: Example) -> float:
    """The label as a value. Raises `AttarError` where it is no finite number."""
    try:
        value = float(example.label)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise AttarError(f"{example.label!r} is not a number", where=example.where)
    return value

"""Classification and regression over a text or a pair of texts.

- A class's index is its place among the sorted labels of the training rows (numbers sort as numbers); the dev and
  test rows may use no other.
- The model head is the stock sequence-classification head: one logit per class, or one output for regression.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import recipe
from ..errors import AttarError, nearest
from . import metrics
from .table import Example


class TextTask:
    """What is learnt: turns labels into targets and outputs into scores."""

    def __init__(self, spec: recipe.Task, train: Sequence[Example]) -> None:
        self.kind = spec.kind
        self.metric: str = spec.metric or "accuracy"
        self.pair = train[0].text_pair is not None
        self.classes = _classes(train) if self.kind == "classification" else []
        self.labels = [spec.label_names.get(name, name) for name in self.classes]
        self._index = {name: number for number, name in enumerate(self.classes)}
        for name in spec.label_names:
            if self.classes and name not in self._index:
                fix = nearest(name, self.classes)
                raise AttarError(f"the label {name!r} is in no training row", where="task.label_names", fix=fix)

    @property
    def outputs(self) -> int:
        """Width of the model's output."""
        return len(self.classes) or 1

    def targets(self, examples: Sequence[Example]) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Class indices or values, shape (rows,)."""
        if self.kind == "regression":
            return np.array([_number(example) for example in examples], np.float32)
        return np.array([self._class(example) for example in examples], np.int64)

    def score(self, outputs: npt.NDArray[np.float32], targets: npt.NDArray[np.generic]) -> dict[str, float]:
        """All metrics of the task from outputs of shape (rows, outputs)."""
        if self.kind == "regression":
            values, truth = outputs[:, 0].astype(np.float64), targets.astype(np.float64)
            return {"spearman": metrics.spearman(values, truth), "pearson": metrics.pearson(values, truth)}
        answers, classes = outputs.argmax(1), len(self.classes)
        right = targets.astype(np.int64)
        return {
            "accuracy": metrics.accuracy(answers, right),
            "f1": metrics.f1(answers, right, classes),
            "mcc": metrics.mcc(answers, right, classes),
        }

    def _class(self, example: Example) -> int:
        if example.label not in self._index:
            fix = nearest(example.label, self.classes)
            raise AttarError(f"the label {example.label!r} is in no training row", where=example.where, fix=fix)
        return self._index[example.label]


def _classes(train: Sequence[Example]) -> list[str]:
    names = {example.label for example in train}
    if len(names) < 2:
        raise AttarError(f"only one class, {names.pop()!r}", where=train[0].where, fix="check task.label")
    if len(names) > 1000:
        raise AttarError(
            f"{len(names)} classes", where=train[0].where, fix="for a score set `kind: regression`, or check task.label"
        )
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)


def _number(example: Example) -> float:
    try:
        value = float(example.label)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise AttarError(f"{example.label!r} is not a number", where=example.where)
    return value

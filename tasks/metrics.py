"""Metrics as GLUE scores them (arXiv 1804.07461, table 1).

- Fractions, not percentages. Correlations of a constant answer are 0, because a student at chance must still be scored.
- F1 is that of class 1 for two classes (GLUE's MRPC and QQP) and the macro mean for more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


def accuracy(answers: Ints, truth: Ints) -> float:
    """Share of right answers; both of shape (rows,)."""
    return float(np.mean(answers == truth))


def confusion(answers: Ints, truth: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Counts of shape (classes, classes): row is the truth, column the answer."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, answers), 1)
    return table


def f1(answers: Ints, truth: Ints, classes: int) -> float:
    """Harmonic mean of precision and recall."""
    table = confusion(answers, truth, classes)
    right = np.diag(table).astype(float)
    total = table.sum(0) + table.sum(1)
    scores = np.divide(2 * right, total, out=np.zeros(classes), where=total > 0)
    return float(scores[1] if classes == 2 else scores.mean())


def mcc(answers: Ints, truth: Ints, classes: int) -> float:
    """Matthews correlation (Gorodkin 2004 for more than two classes)."""
    table = confusion(answers, truth, classes).astype(float)
    rows, columns, total = table.sum(1), table.sum(0), table.sum()
    covariance = np.trace(table) * total - rows @ columns
    spread = np.sqrt(total**2 - columns @ columns) * np.sqrt(total**2 - rows @ rows)
    return float(covariance / spread) if spread > 0 else 0.0


def pearson(answers: Floats, truth: Floats) -> float:
    """Linear correlation."""
    a, b = answers - answers.mean(), truth - truth.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 1e-12 else 0.0


def ranks(values: Floats) -> npt.NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_rank: npt.NDArray[np.float64] = ends - (counts + 1) / 2.0
    return mean_rank[inverse]


def spearman(answers: Floats, truth: Floats) -> float:
    """Rank correlation."""
    return pearson(ranks(answers), ranks(truth))

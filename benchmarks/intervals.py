"""Intervals over sessions, of quantities that are positive and compared by their quotient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Student's t, two-sided 95 %, for 1 to 15 degrees of freedom
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
)  # fmt: skip


def centre(values: Sequence[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(values)))) if len(values) > 1 else float(values[0])


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of `centre` over independent values > 0, by Student's t on their logarithms.

    None for fewer than three: two sessions give an interval that says nothing.
    """
    if len(values) < 3:
        return None
    logs = np.log(np.asarray(values, np.float64))
    freedom = len(values) - 1
    t = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 2.131
    half = t * float(logs.std(ddof=1)) / len(values) ** 0.5
    middle = float(logs.mean())
    return float(np.exp(middle - half)), float(np.exp(middle + half))


def half_width(found: tuple[float, float] | None) -> float:
    """Half of an interval as a share of its centre: 0.03 is 3 percent either way; 0 for none."""
    return float(np.sqrt(found[1] / found[0])) - 1 if found else 0.0

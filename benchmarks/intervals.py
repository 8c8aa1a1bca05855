"""Intervals over sessions, of quantities that are positive and compared by their quotient.

- Of a speed, models in turns, sessions are independent: the interval is that of their mean.
- Of a time they are not: what slows all models of a session (a neighbour on the same machine) lasts, and the next run
  may meet all of it or nothing. This *mood*, what the models of a session have in common, counts as one draw for a
  whole run, and only what is left of a model's spread as independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

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
    return _about(logs, float(logs.var(ddof=1)) / len(values))


def moods(sessions: Sequence[Sequence[float]]) -> list[float]:
    """What the models of each session have in common, as logarithms about 0; of values by model and session."""
    logs = np.log(np.asarray(sessions, np.float64))
    found: list[float] = (logs - logs.mean(axis=1, keepdims=True)).mean(axis=0).tolist()
    return found


def moody(values: Sequence[float], mood: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of `centre` where the mood of a whole run is one draw of those of its sessions (`moods`)."""
    if len(values) < 3:
        return None
    logs, shared = np.log(np.asarray(values, np.float64)), np.asarray(mood, np.float64)
    own = float((logs - shared).var(ddof=1)) / len(values)
    return _about(logs, own + float(shared.var(ddof=1)))


def _about(logs: npt.NDArray[np.float64], variance: float) -> tuple[float, float]:
    """Student's interval about the mean of so many logarithms, which has this variance."""
    freedom = len(logs) - 1
    half = (STUDENT[freedom - 1] if freedom <= len(STUDENT) else 2.131) * variance**0.5
    middle = float(logs.mean())
    return float(np.exp(middle - half)), float(np.exp(middle + half))


def half_width(found: tuple[float, float] | None) -> float:
    """Half of an interval as a share of its centre: 0.03 is 3 percent either way; 0 for none."""
    return float(np.sqrt(found[1] / found[0])) - 1 if found else 0.0

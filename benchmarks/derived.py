"""Figures that follow from a run's record: intervals, drops, ratios, and how a number is written.

- Pure functions of the record; nothing is measured here, and what is missing stays None.
- The teacher row is the reference for size and drop; `Latency.ratio` (interleaved) is preferred for speed.
- Intervals are Wilson's (1927) and only for metrics that are a proportion of rows; models answer the same
  rows, so two overlapping intervals do not prove that two models are equal.
"""

from __future__ import annotations

import math

from .record import Latency, Model, Run

PROPORTIONS = frozenset({"accuracy", "joint_accuracy", "intent_accuracy", "exact"})  # of rows, or of questions


def wilson(proportion: float, rows: int, z: float = 1.959963985) -> tuple[float, float]:
    """The 95 % interval of a proportion over `rows` independent rows (Wilson, 1927)."""
    if rows <= 0:
        raise ValueError("an interval needs at least one row")
    centre = proportion + z * z / (2 * rows)
    spread = z * math.sqrt(proportion * (1 - proportion) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def interval(model: Model, split: str, metric: str) -> tuple[float, float] | None:
    """The 95 % interval of a model's score, where the metric is a proportion and the rows are known."""
    value, rows = score(model, split, metric), model.rows.get(split, 0)
    if value is None or rows <= 0 or metric not in PROPORTIONS or not 0 <= value <= 1:
        return None
    return wilson(value, rows)


def score(model: Model | None, split: str, metric: str) -> float | None:
    """A model's score, or None where it was not measured."""
    value = model.scores.get(split, {}).get(metric) if model else None
    return value if value is not None and math.isfinite(value) else None


def metric_of(run: Run) -> str:
    """The primary metric."""
    return str(run.task.get("metric") or "accuracy")


def row_of(run: Run, role: str) -> Model | None:
    """The row of the teacher or of the student."""
    return next((model for model in run.models if model.role == role), None)


def splits_of(run: Run) -> list[str]:
    """Every split that was scored, in the order of the record."""
    return list(dict.fromkeys(split for model in run.models for split in model.scores))


def drop(run: Run, model: Model | None, split: str) -> float | None:
    """Points of the primary metric under the teacher; negative where the model is better."""
    ours, theirs = (score(m, split, metric_of(run)) for m in (model, row_of(run, "teacher")))
    return None if ours is None or theirs is None else (theirs - ours) * 100


def kept(run: Run, model: Model | None, split: str) -> float | None:
    """Percent of the teacher's primary score; None where one of both is not known, or the teacher's is 0."""
    ours, theirs = (score(m, split, metric_of(run)) for m in (model, row_of(run, "teacher")))
    return 100 * ours / theirs if ours is not None and theirs else None


def chosen(run: Run) -> Model | None:
    """The artefact that the verdict is about."""
    named = [model for model in run.models if model.name == run.choice]
    return next((model for model in named if model.status == "ok"), named[0] if named else None)


def split_of(run: Run) -> str:
    """The split of the headline: the one that the drop limit was judged on, else test, else dev."""
    splits = sorted(splits_of(run), key=lambda name: (name != "test", name != "dev"))
    judged = next((limit.value for limit in run.limits if limit.name == "max_drop"), None)
    for split in splits:
        value = drop(run, chosen(run), split)
        if judged is not None and value is not None and math.isclose(value, judged, abs_tol=1e-6):
            return split
    return splits[0] if splits else "dev"


def setting_of(run: Run) -> tuple[int, int] | None:
    """The (length, threads) of the main table: the longest length on the fewest threads."""
    settings = {(item.length, item.threads) for model in run.models for item in model.cost.latencies}
    return max(settings, key=lambda pair: (-pair[1], pair[0])) if settings else None


def latency_at(model: Model | None, setting: tuple[int, int] | None) -> Latency | None:
    """A model's latency at (length, threads)."""
    found = model.cost.latencies if model else []
    return next((item for item in found if (item.length, item.threads) == setting), None)


def speed(run: Run, model: Model, setting: tuple[int, int] | None) -> tuple[float, bool] | None:
    """(teacher time / this time, whether it was interleaved); a quotient of two medians where it was not."""
    ours = latency_at(model, setting)
    if ours is None:
        return None
    if ours.ratio is not None:
        return ours.ratio, True
    rows = [(m, latency_at(m, setting)) for m in run.models if m.of == "teacher" and m is not model]
    known = [(m.runtime != model.runtime, theirs.p50_ms) for m, theirs in rows if theirs]
    return (min(known)[1] / ours.p50_ms, False) if known and ours.p50_ms > 0 else None


def smaller(run: Run, model: Model) -> float | None:
    """Teacher bytes / this model's bytes."""
    teacher = row_of(run, "teacher")
    return teacher.bytes / model.bytes if teacher and teacher.bytes and model.bytes else None


def digits(value: float) -> str:
    """Three significant digits without an exponent: 134, 90.9, 9.41, 0.83."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 or size == 0 else f"{value:.2g}"


def megabytes(count: float) -> str:
    """Bytes as MB of 1,000,000 bytes."""
    return f"{digits(count / 1e6)} MB"


def points(value: float) -> str:
    """Points with one decimal; a small difference keeps two, so that it does not read as none."""
    return f"{value:.1f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2f}"


def signed(value: float) -> str:
    """Points gained or lost, with one decimal and a sign."""
    return f"{value:+.1f}".replace("-", "−")


def times(ratio: float, more: str, less: str, same: str) -> str:
    """9.6× smaller, 1.3× larger, or as large as the teacher."""
    if 0.95 < ratio < 1.05:
        return same
    return f"{digits(ratio)}× {more}" if ratio > 1 else f"{digits(1 / ratio)}× {less}"

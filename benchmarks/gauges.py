"""The figures below the headline: size, latency, score and drop of the chosen artefact, with limits."""

from __future__ import annotations

from typing import NamedTuple

from .cells import below, source
from .derived import (
    chosen,
    digits,
    drop,
    interval,
    latency_at,
    metric_of,
    points,
    row_of,
    score,
    setting_of,
    smaller,
    speed,
    split_of,
    times,
)
from .record import Limit, Run
from .verdict import amount


class Gauge(NamedTuple):
    """One figure, what it stands against, and how much of its limit it uses."""

    name: str
    value: str
    unit: str
    against: str
    path: str
    limit: str = ""
    used: float = 0.0  # percent of the drawn width
    bound: float = 0.0
    mark: str = ""


def gauges(run: Run) -> list[Gauge]:
    """What was measured of the chosen artefact; a figure that was not measured is left out."""
    model, teacher = chosen(run), row_of(run, "teacher")
    if model is None:
        return []
    path, setting, split, metric = (
        f"models[{run.models.index(model)}]",
        setting_of(run),
        split_of(run),
        metric_of(run),
    )
    found = []
    if model.bytes:
        ratio = smaller(run, model)
        against = times(ratio, "smaller", "larger", "as large") + " than the teacher" * (ratio >= 1.05) if ratio else ""
        gauge = Gauge("size", digits(model.bytes / 1e6), "MB", against, source(f"{path}.bytes", model.bytes))
        found.append(_judged(gauge, run, "max_size"))
    if item := latency_at(model, setting):
        fast = speed(run, model, setting)
        threads = "one thread" if item.threads == 1 else f"{item.threads} threads"
        where = source(f"{path}.cost.latencies[{model.cost.latencies.index(item)}].p50_ms", item.p50_ms)
        against = times(fast[0], "faster", "slower", "as fast") if fast else ""
        name = f"latency, {threads}, length {item.length}"
        found.append(_judged(Gauge(name, digits(item.p50_ms), "ms", against, where), run, "max_latency"))
    value, theirs, less = score(model, split, metric), score(teacher, split, metric), drop(run, model, split)
    if value is not None:
        band = interval(model, split, metric)
        against = f"95 % interval {band[0] * 100:.1f}–{band[1] * 100:.1f}" if band else ""
        where = source(below(below(f"{path}.scores", split), metric), value)
        found.append(Gauge(f"{split} {metric}", f"{value * 100:.1f}", "", against, where))
    if less is not None and theirs is not None:
        name = "drop under the teacher" if less >= 0 else "gain over the teacher"
        first, second = (
            below(below(f"models[{run.models.index(one)}].scores", split), metric) for one in (teacher, model) if one
        )
        gauge = Gauge(name, points(abs(less)), "points", f"teacher {theirs * 100:.1f}", f"{first} - {second}")
        found.append(_judged(gauge, run, "max_drop"))
    return found


def _judged(gauge: Gauge, run: Run, name: str) -> Gauge:
    """The gauge with its limit, if the budget has one that was judged."""
    for i, limit in enumerate(run.limits):
        if limit.name == name and limit.value is not None:
            gap = amount(limit, abs(limit.limit - limit.value))
            words = f"limit {amount(limit, limit.limit)}: " + (f"{gap} to spare" if limit.met else f"missed by {gap}")
            used, bound = _widths(limit, limit.value)
            path = f"{gauge.path}\n{source(f'limits[{i}].limit', limit.limit)}".strip()
            return gauge._replace(limit=words, used=used, bound=bound, path=path, mark="" if limit.met else "bad")
    return gauge


def _widths(limit: Limit, value: float) -> tuple[float, float]:
    """Percent of the bar that the value fills, and where the limit stands."""
    scale = max(limit.limit, value) or 1.0
    return round(max(100 * value / scale, 0.0), 1), round(min(100 * limit.limit / scale, 99.0), 1)

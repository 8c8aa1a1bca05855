"""Which part of a run each plot shows, with its legend, its caption and the figures behind it.

- A plot whose data the run does not hold is left out, not drawn empty.
- Every point's hover text names the value and its path in run.json.
"""

from __future__ import annotations

from collections.abc import Callable

from . import front, layer_tables, road
from .breakdown import bytes_figure, milliseconds_figure
from .cells import Figure, below
from .derived import (
    chosen,
    digits,
    interval,
    latency_at,
    metric_of,
    row_of,
    score,
    setting_of,
    split_of,
)
from .plots import Line, Panel, Point, curves, scatter
from .record import Model, Run, Training
from .svg import SHAPES
from .tables import described


def of_run(run: Run, key: str) -> list[Figure]:
    """Every figure of one run; `key` makes ids unique on the page."""
    setting = setting_of(run)
    at = f"one thread, length {setting[0]}" if setting and setting[1] == 1 else f"(length, threads) = {setting}"
    found = [
        _scores(
            run,
            f"{key}-size",
            "Score against size",
            "MB (log)",
            lambda m: m.bytes and m.bytes / 1e6,
            "max_size",
        ),
        _scores(run, f"{key}-time", "Score against latency", f"p50 ms, {at} (log)", _p50(run), "max_latency"),
        bytes_figure(run, f"{key}-bytes"),
        milliseconds_figure(run, f"{key}-ms"),
        *layer_tables.layers_figures(run, f"{key}-layers"),
        _tried(run, f"{key}-tried"),
        road.waterfall_figure(run, f"{key}-road"),
        *(_curve(run, phase, f"{key}-phase{i}", f"training[{i}]") for i, phase in enumerate(run.training)),
    ]
    return [figure for figure in found if figure]


def of_runs(runs: list[Run]) -> list[Figure]:
    """Teacher, student and chosen artefact of every run in one plot."""
    points = []
    for series, run in enumerate(runs):
        for model in run.models:
            if (model.role != "artefact" or model is chosen(run)) and (point := _point(run, model, _size, series)):
                points.append(point._replace(label=f"{run.name} {model.role}".replace("artefact", "chosen")))
    if len(points) < 2:
        return []
    legend = [(series, SHAPES[series % len(SHAPES)], run.name) for series, run in enumerate(runs)]
    metrics = " / ".join(dict.fromkeys(metric_of(run) for run in runs))
    desc = "; ".join(point.title for point in points)
    svg = scatter("all-size", "Score against size, all runs", desc, points, "MB (log)", f"{metrics} × 100")
    return [
        Figure(
            "Score against size, all runs",
            svg,
            "Whiskers are 95 % intervals; the ring is the chosen artefact. Paths: models of each run.",
            legend,
        )
    ]


def _size(model: Model) -> float | None:
    return model.bytes / 1e6 if model.bytes else None


def _p50(run: Run) -> Callable[[Model], float | None]:
    def value(model: Model) -> float | None:
        item = latency_at(model, setting_of(run))
        return item.p50_ms if item else None

    return value


def _point(run: Run, model: Model, cost: Callable[[Model], float | None], series: int) -> Point | None:
    split, metric = split_of(run), metric_of(run)
    x, y, band = cost(model), score(model, split, metric), interval(model, split, metric)
    if not x or y is None:
        return None
    low, high = (band[0] * 100, band[1] * 100) if band else (None, None)
    about = f" (95 % interval {low:.1f} to {high:.1f})" if band else ""
    bad = model.status == "rejected"
    title = f"{model.name}, {described(model)}: {digits(x)}, {metric} {y * 100:.1f}{about}{', rejected' * bad}"
    path = f"models[{run.models.index(model)}]"
    return Point(model.name, x, y * 100, f"{title} — {path}", series, low, high, bad, model is chosen(run))


def _scores(
    run: Run, key: str, title: str, x_label: str, cost: Callable[[Model], float | None], limit: str
) -> Figure | None:
    """Score against one cost, with the budget's limits."""
    runtimes = list(dict.fromkeys(model.runtime for model in run.models))
    points = [p for m in run.models if (p := _point(run, m, cost, runtimes.index(m.runtime)))]
    if len(points) < 2:
        return None
    limits = {item.name: item.limit for item in run.limits}
    bound = limits.get(limit)  # type: ignore[call-overload]
    theirs = score(row_of(run, "teacher"), split_of(run), metric_of(run))
    floor = theirs * 100 - limits["max_drop"] if theirs is not None and "max_drop" in limits else None
    if bound and limit == "max_size":
        bound /= 1e6
    legend = [(i, SHAPES[i % len(SHAPES)], name) for i, name in enumerate(runtimes)]
    label = f"{split_of(run)} {metric_of(run)} × 100"
    svg = scatter(key, title, "; ".join(p.title for p in points), points, x_label, label, bound, floor)
    caption = "Up and to the left is better. Whiskers are 95 % intervals; the ring is the chosen artefact"
    caption += "; hollow marks were rejected" if any(p.hollow for p in points) else ""
    caption += "; the shaded corner meets the budget." if bound or floor is not None else "."
    caption += " Paths: models."
    return Figure(title, svg, caption, legend)


def _tried(run: Run, key: str) -> Figure | None:
    """The students that a search trained: score after a short distillation against bytes."""
    if run.search is None:
        return None
    metric, points = metric_of(run), []
    best = {one.number for one in front.front(run.search.trials, metric)}
    for place, trial in enumerate(run.search.trials):
        file = front.file_of(trial)
        if file is None or not file.bytes:
            continue
        value, behind = 100 * file.scores["dev"][metric], trial.number not in best
        title = f"trial {trial.number}, {front.described(trial)}: {digits(file.bytes / 1e6)} MB, {metric} {value:.1f}"
        path, wins = f"search.trials[{place}]", trial.number == run.search.winner
        name = str(trial.number)
        points.append(Point(name, file.bytes / 1e6, value, f"{title} — {path}", 0, hollow=behind, strong=wins))
    if len(points) < 2:
        return None
    bound = next((limit.limit / 1e6 for limit in run.limits if limit.name == "max_size"), None)
    desc, title = "; ".join(point.title for point in points), "Students tried: score against size"
    svg = scatter(key, title, desc, points, "MB (log)", f"dev {metric} × 100", bound)
    caption = "After a short distillation. Numbers are those of the trials; hollow ones are behind the front, the ring "
    return Figure(title, svg, caption + "is the student that was trained in full. Paths: search.trials.", kind="search")


def _curve(run: Run, phase: Training, key: str, path: str) -> Figure | None:
    """Losses and dev score of one phase."""
    if not phase.epochs:
        return None
    metric = metric_of(run)

    def line(name: str, kind: str, scale: float) -> Line:
        found = [(i, e.epoch, getattr(e, kind)[name]) for i, e in enumerate(phase.epochs) if name in getattr(e, kind)]
        tail = [below(f"{path}.epochs[{i}].{kind}", name) for i, _, _ in found]
        return Line(
            name,
            [
                (x, y * scale, f"{name} {y * scale:.4g} after epoch {x:.3g} — {p}")
                for (_, x, y), p in zip(found, tail, strict=True)
            ],
        )

    losses = list(dict.fromkeys(name for epoch in phase.epochs for name in epoch.losses))
    panels = [Panel("loss", [line(name, "losses", 1) for name in losses])] if losses else []
    if any(metric in epoch.scores for epoch in phase.epochs):
        panels.append(Panel(f"dev {metric} × 100", [line(metric, "scores", 100)]))
    if not panels:
        return None
    title = f"{phase.stage} · {phase.phase}"
    desc = "; ".join(text for panel in panels for curve in panel.lines for _, _, text in curve.points)
    kept = (
        f"; the dashed line is where the kept weights are from ({phase.kept_epoch:.3g})"
        if phase.kept_epoch is not None
        else ""
    )
    scored = ", and the dev score after it" * (len(panels) > 1)
    svg = curves(key, title, desc, panels, phase.kept_epoch)
    return Figure(
        title,
        svg,
        f"Mean loss between evaluations{scored}{kept}. Paths: {path}.epochs.",
        kind="training",
    )

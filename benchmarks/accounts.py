"""The tables of how a run was made: training, checks, budget, stages, conditions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .cells import DASH, Cell, Row, Table, below, figure, source
from .derived import digits, metric_of
from .record import Limit, Run
from .verdict import LIMIT_NAMES, amount


def training_table(run: Run) -> Table:
    """Throughput, time and memory of each phase of training."""
    columns = [("", "phase", ""), ("", "examples", "per epoch"), ("", "epochs", ""), ("", "kept", "epoch")]
    columns += [
        ("", "dev", metric_of(run)),
        ("", "throughput", "examples/s"),
        ("", "time", "s"),
        ("", "threads", ""),
    ]
    columns += [("", "memory", "MB, peak")]
    rows = []
    for index, phase in enumerate(run.training):
        path = f"training[{index}]"
        seconds = sum(epoch.seconds for epoch in phase.epochs)
        seen = sum(epoch.seconds * epoch.examples_per_second for epoch in phase.epochs)
        kept = next((i for i, epoch in enumerate(phase.epochs) if epoch.epoch == phase.kept_epoch), None)
        value = phase.epochs[kept].scores.get(metric_of(run)) if kept is not None else None
        place = below(f"{path}.epochs[{kept}].scores", metric_of(run)) if value is not None else path
        rate = f"time-weighted mean of {path}.epochs[*].examples_per_second"
        rows.append(
            Row(
                [
                    Cell(f"{phase.stage} · {phase.phase}", "", source(f"{path}.stage", phase.stage)),
                    figure(f"{path}.examples", phase.examples, lambda count: f"{count:,}"),
                    Cell(f"{phase.epochs[-1].epoch:g}" if phase.epochs else DASH, "", f"{path}.epochs"),
                    figure(f"{path}.kept_epoch", phase.kept_epoch, lambda epoch: f"{epoch:.3g}"),
                    figure(place, value, lambda v: f"{v * 100:.1f}") if value is not None else Cell(DASH),
                    Cell(digits(seen / seconds), "", rate) if seconds > 0 else Cell(DASH),
                    Cell(digits(seconds), "", f"sum of {path}.epochs[*].seconds") if phase.epochs else Cell(DASH),
                    figure(f"{path}.threads", phase.threads, str),
                    figure(f"{path}.peak_memory", phase.peak_memory, lambda count: digits(count / 1e6)),
                ]
            )
        )
    caption = "What each phase of training took. The dev score is that of the weights that were kept."
    return Table("training", "Training", caption, columns, rows)


def checks_table(run: Run) -> Table:
    """What was checked and what came out."""
    rows = [
        Row(
            [
                Cell(check.name, "", source(f"checks[{i}].name", check.name)),
                Cell(
                    *(("passed", "") if check.passed else ("failed", "")),
                    source(f"checks[{i}].passed", check.passed),
                    "good" if check.passed else "bad",
                ),
                Cell(check.detail, mark="text"),
            ]
        )
        for i, check in enumerate(run.checks)
    ]
    failed = sum(not check.passed for check in run.checks)
    caption = f"{len(run.checks)} checks, {failed or 'none'} failed."
    return Table("checks", "Checks", caption, [("", "check", ""), ("", "outcome", ""), ("", "detail", "")], rows)


def _signed(limit: Limit, value: float) -> str:
    return amount(limit, value).replace("-", "−")


def budget_table(run: Run) -> Table:
    """The limits, what was measured, and the margin."""
    rows = []
    for i, limit in enumerate(run.limits):
        path = f"limits[{i}]"
        show = partial(_signed, limit)
        met = "met" if limit.met else "not measured" if limit.value is None else "missed"
        cells = [Cell(LIMIT_NAMES[limit.name], "", source(f"{path}.name", limit.name))]
        cells += [figure(f"{path}.{key}", getattr(limit, key), show) for key in ("limit", "value", "margin")]
        rows.append(Row([*cells, Cell(met, "", source(f"{path}.met", limit.met), "good" if limit.met else "bad")]))
    columns = [("", name, "") for name in ("limit", "allowed", "measured", "margin", "outcome")]
    return Table("budget", "Budget", "A negative margin is how much the limit was missed by.", columns, rows)


def stages_table(run: Run) -> Table:
    """The stages in order and the time they took."""
    rows = []
    for i, stage in enumerate(run.stages):
        path = f"stages[{i}]"
        cells = [Cell(stage.name, "", source(f"{path}.name", stage.name))]
        cells.append(figure(f"{path}.seconds", stage.seconds, digits))
        cells.append(Cell("reused" if stage.reused else "made", "", source(f"{path}.reused", stage.reused)))
        rows.append(Row([*cells, Cell(stage.key, "", source(f"{path}.key", stage.key), "text")]))
    columns = [("", "stage", ""), ("", "time", "s"), ("", "state", ""), ("", "key", "digest of inputs")]
    return Table("stages", "Stages", "A reused stage shows the time it took when it was made.", columns, rows)


def conditions_tables(run: Run) -> list[Table]:
    """Machine, task and origin: every leaf of the record's own account of its conditions."""
    tables = []
    for part, title in (("machine", "Machine"), ("task", "Task and data"), ("provenance", "Origin")):
        rows = [
            Row([Cell(path.removeprefix(part).lstrip(".").replace("_", " "), "", path), _leaf(path, value)])
            for path, value in _leaves(part, getattr(run, part))
        ]
        tables.append(Table("conditions", title, "", [("", "what", ""), ("", "value", "")], rows))
    return [table for table in tables if table.rows]


def _leaf(path: str, value: Any) -> Cell:
    """A value of any kind, as a person writes it."""
    if value is None or value == "":
        return Cell("not recorded", mark="text mute")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", mark="text")
    if isinstance(value, int) and path.endswith(("memory", "bytes")):
        return Cell(f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{digits(value / 1e6)} MB", mark="text")
    return Cell(f"{value:,}" if isinstance(value, int) else str(value), mark="text")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(JSON path, value) of every leaf; a list of plain values is one leaf."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _leaves(below(path, str(key)), child)
    elif isinstance(value, list) and any(isinstance(child, (dict, list)) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(f"{path}[{index}]", child)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, value

"""The student's road: its bytes and its score after each stage that changed it, down to the file that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..recipe import Recipe
from .cells import DASH, Cell, Row, Table, below, figure, source
from .derived import digits, metric_of
from .record import Milestone, Model, Run


def milestones(spec: Recipe, results: dict[str, dict[str, Any]]) -> list[Milestone]:
    """The student after each stage that made it smaller; none where no stage did."""
    made = [stage for stage in spec.student_stages if stage in results] if spec.compress else []
    return [
        Milestone(
            stage=stage,
            parameters=results[stage]["parameters"],
            bytes=4 * results[stage]["parameters"],
            scores=results[stage]["scores"],
        )
        for stage in made
    ]


def table(run: Run) -> Table:
    """Each stage with what it leaves and what it changed; bytes are those of float32 weights until a file is made."""
    metric, rows = metric_of(run), []
    before: tuple[Any, Any] = (None, None)
    for path, name, size, one in _places(run):
        now = (size, one.scores.get("dev", {}).get(metric))
        cells = [
            Cell(name, "", source(path, name)),
            figure(f"{path}.parameters", one.parameters, lambda count: f"{count:,}"),
            figure(f"{path}.bytes", size, lambda count: digits(count / 1e6)),
            _change(before[0], now[0], lambda old, new: f"{old / new:.2f}×"),
            figure(below(f"{path}.scores.dev", metric), now[1], lambda value: f"{100 * value:.2f}"),
            _change(before[1], now[1], lambda old, new: f"{100 * (new - old):+.2f}".replace("-", "−")),
        ]
        rows.append(Row(cells))
        before = now
    columns = [("", "after", ""), ("", "parameters", ""), ("bytes", "MB", ""), ("bytes", "smaller", "than before")]
    columns += [("dev", metric, ""), ("dev", "change", "points")]
    caption = "What each stage left. Until a file is made, bytes are those of the float32 weights, each counted once."
    return Table("road", "The student's road", caption, columns, rows)


def _places(run: Run) -> Iterator[tuple[str, str, int | None, Model | Milestone]]:
    """Where in the record each stop stands, its name, its bytes, and itself; nothing where there was no road."""
    if not run.road:
        return
    for number, model in enumerate(run.models):
        if model.role == "teacher":
            yield f"models[{number}]", "teacher", model.parameter_bytes, model
    for number, stone in enumerate(run.road):
        yield f"road[{number}]", stone.stage, stone.bytes, stone
    for number, model in enumerate(run.models):
        if model.name == run.choice:
            yield f"models[{number}]", model.name, model.bytes, model


def _change(before: Any, now: Any, show: Callable[[Any, Any], str]) -> Cell:
    return Cell(DASH) if before is None or now is None else Cell(show(before, now), "", f"{before!r} → {now!r}")

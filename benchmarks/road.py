"""The student's road: bytes, latency and score after each stage that changed it, down to the file that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..recipe import Recipe
from .cells import DASH, Cell, Figure, Row, Table, below, figure, source
from .derived import digits, metric_of, setting_of
from .plots import Fall, waterfall
from .record import Latency, Milestone, Model, Run

CAPTION = (
    "What each stage left. Until a file is made, bytes are those of the float32 weights, each counted once, and times "
    "those of a float32 ONNX form, in turns with the artefacts."
)


def milestones(spec: Recipe, results: dict[str, dict[str, Any]]) -> list[Milestone]:
    """The student after each stage that made it smaller; none where no stage did."""
    made = [stage for stage in spec.student_stages if stage in results] if spec.compress else []
    return [
        Milestone(
            stage=stage,
            parameters=results[stage]["parameters"],
            bytes=4 * results[stage]["parameters"],
            latencies=results.get("measure", {}).get("road", {}).get(stage, []),
            scores=results[stage]["scores"],
        )
        for stage in made
    ]


class Stop(NamedTuple):
    """A place on the road: where in the record it stands, and what it came to."""

    path: str
    name: str
    one: Model | Milestone
    bytes: int | None
    size: str  # where the bytes stand
    latency: Latency | None
    where: str  # of the latency
    score: float | None


def table(run: Run) -> Table:
    """Each stage with what it leaves and what it changed; bytes are those of float32 weights until a file is made."""
    rows, metric, before = [], metric_of(run), None
    for stop in stops(run):
        ms = stop.latency.p50_ms if stop.latency else None
        cells = [
            Cell(stop.name, "", source(f"{stop.path}.{'name' if isinstance(stop.one, Model) else 'stage'}", stop.name)),
            figure(f"{stop.path}.parameters", stop.one.parameters, lambda count: f"{count:,}"),
            figure(stop.size, stop.bytes, lambda count: digits(count / 1e6)),
            _change(before and before.bytes, stop.bytes, lambda old, new: f"{old / new:.2f}×"),
            figure(stop.where, ms, digits),
            figure(below(f"{stop.path}.scores.dev", metric), stop.score, lambda value: f"{100 * value:.2f}"),
            _change(before and before.score, stop.score, lambda old, new: signed(100 * (new - old))),
        ]
        rows.append(Row(cells))
        before = stop
    columns = [("", "after", ""), ("", "parameters", ""), ("bytes", "MB", ""), ("bytes", "smaller", "than before")]
    columns += [("p50", "ms", ""), ("dev", metric, ""), ("dev", "change", "points")]
    return Table("road", "The student's road", CAPTION, columns, rows)


def waterfall_figure(run: Run, key: str) -> Figure | None:
    """Bytes, milliseconds and score, falling from stop to stop."""
    found, metric, panels = list(stops(run)), metric_of(run), []
    kinds: list[tuple[str, Callable[[Stop], float | None], Callable[[float], str], Callable[[Stop], str]]] = [
        ("MB", lambda stop: None if stop.bytes is None else stop.bytes / 1e6, digits, lambda stop: stop.size),
        ("p50 ms", lambda stop: stop.latency.p50_ms if stop.latency else None, digits, lambda stop: stop.where),
        (
            f"dev {metric} × 100",
            lambda stop: None if stop.score is None else 100 * stop.score,
            lambda value: f"{value:.2f}",
            lambda stop: below(f"{stop.path}.scores.dev", metric),
        ),
    ]
    for label, value_of, show, place in kinds:
        known = [(stop, value) for stop in found if (value := value_of(stop)) is not None]
        if len(known) > 1:
            falls = [
                (one.name, value, show(value), f"{one.name}: {show(value)} — {place(one)}") for one, value in known
            ]
            panels.append(Fall(label, falls))
    if not panels:
        return None
    title = "Bytes, milliseconds and score, stage by stage"
    desc = "; ".join(about for panel in panels for _, _, _, about in panel.stops)
    caption = "Grey is what a stage took away. Paths: road and models."
    return Figure(title, waterfall(key, title, desc, panels), caption, kind="road")


def stops(run: Run) -> Iterator[Stop]:
    """The teacher, the student after each stage, and the file that was chosen; nothing where none was."""
    if not run.choice:
        return
    metric, setting = metric_of(run), setting_of(run)

    def stop(path: str, name: str, one: Model | Milestone, size: int | None, timed: Model | Milestone, at: str) -> Stop:
        times = timed.cost.latencies if isinstance(timed, Model) else timed.latencies
        latency = next((item for item in times if (item.length, item.threads) == setting), None)
        where = f"{at}[{times.index(latency)}].p50_ms" if latency else at
        bytes_ = f"{path}.parameter_bytes" if name in ("teacher", "student") else f"{path}.bytes"
        return Stop(path, name, one, size, bytes_, latency, where, one.scores.get("dev", {}).get(metric))

    for role in ("teacher",) if run.road else ("teacher", "student"):  # without steps the student is of one stage
        for number, model in enumerate(run.models):
            if model.role == role:
                place, timed = _whole(run, role) or (number, model)
                at = f"models[{place}].cost.latencies"
                yield stop(f"models[{number}]", role, model, model.parameter_bytes, timed, at)
    for number, stone in enumerate(run.road):
        yield stop(f"road[{number}]", stone.stage, stone, stone.bytes, stone, f"road[{number}].latencies")
    for number, model in enumerate(run.models):
        if model.name == run.choice:
            path = f"models[{number}]"
            yield stop(path, model.name, model, model.bytes, model, f"{path}.cost.latencies")


def _whole(run: Run, of: str) -> tuple[int, Model] | None:
    """A model's float32 ONNX file, and its place in the record."""
    for number, model in enumerate(run.models):
        if (model.role, model.of, model.precision, model.runtime) == ("artefact", of, "fp32", "onnxruntime"):
            return number, model
    return None


def _change(before: Any, now: Any, show: Callable[[Any, Any], str]) -> Cell:
    return Cell(DASH) if before is None or now is None else Cell(show(before, now), "", f"{before!r} → {now!r}")


def signed(points: float) -> str:
    """A change with its sign."""
    return f"{points:+.2f}".replace("-", "−")

"""What was measured elsewhere, as tables: other machines and phones by time, emulated processors by instructions.

- Times of two machines stand beside each other and are never divided by each other: a speed is against the reference
  of its own target.
- Instructions stand in a table of their own, in millions, whose caption says what they are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from .cells import DASH, Cell, Row, Table, figure, source
from .conditions import Conditions
from .derived import digits
from .intervals import half_width
from .protocol import Protocol
from .record import Placed, Run, Site

CLASSES = {
    "executed": "all",
    "memory": "loads, stores",
    "dot": "dot products",
    "integer": "integer products",
    "floating": "float products",
    "vector": "other vector",
    "branch": "branches",
}


def tables(sites: Sequence[Site]) -> list[Table]:
    """The tables that have rows."""
    return [table for table in (times(sites), instructions(sites), answers(sites)) if table.rows]


def own(run: Run) -> Site:
    """The run's own artefacts on the machine that made it, in the form of a target."""
    models = [
        Placed(name=m.name, runtime=m.runtime, length=m.length, bytes=m.bytes or 0, gzipped=m.gzipped, cost=m.cost)
        for m in run.models
    ]
    return Site(target="this run", measures="time", machine=run.machine, models=models, place="")


def root(site: Site, at: int) -> str:
    """What opens the JSON paths of the target that is number `at` of those shown."""
    return f"targets[{at}]." if site.place is None else site.place


def times(sites: Sequence[Site]) -> Table:
    """Latency of each model on each real target."""
    columns = [("", "target", ""), ("", "model", ""), ("", "length", "pieces"), ("", "threads", "")]
    columns += [("latency", "p50", "ms"), ("latency", "p90", "ms"), ("latency", "speed", "its reference = 1")]
    columns += [("file", "size", "MB"), ("file", "smaller", "its reference = 1")]
    rows: list[Row] = []
    for at, site in enumerate(sites):
        own: list[Row] = []
        whole = next((model.bytes for model in site.models if model.name == site.reference), 0)
        for number, model in enumerate(site.models if site.measures == "time" else []):
            for place, one in enumerate(model.cost.latencies if model.cost else []):
                path = f"{root(site, at)}models[{number}].cost.latencies[{place}]"
                spread = f"± {half:.1%}" if (half := half_width(one.ratio_interval)) and one.ratio != 1 else ""
                cells = [
                    place_cell(site),
                    Cell(model.name),
                    Cell(str(one.length) if one.length else f"own, {digits(one.pieces or 0)}"),
                    Cell(str(one.threads)),
                    figure(f"{path}.p50_ms", one.p50_ms, digits),
                    figure(f"{path}.p90_ms", one.p90_ms, digits),
                    figure(f"{path}.ratio", one.ratio, lambda ratio: f"{digits(ratio)}×", spread),
                    *_size(f"{root(site, at)}models[{number}].bytes", model.bytes, whole),
                ]
                own.append(Row(cells))
        rows += _with_problems(site, own, "time", len(columns))
    caption = "Batch 1. A speed compares models of one target alone; machines are not compared with each other."
    return Table("places", "Times by target", caption, columns, rows)


def _size(path: str, size: int, whole: int) -> list[Cell]:
    """A file's size, and how many times smaller it is than one of `whole` bytes."""
    if not size:
        return [Cell(DASH), Cell(DASH)]
    shown = figure(path, size, lambda bytes_: digits(bytes_ / 1e6))
    return [shown, Cell(f"{digits(whole / size)}×", "", f"{whole:,} / {size:,} bytes") if whole else Cell(DASH)]


def instructions(sites: Sequence[Site]) -> Table:
    """Instructions of an inference on each emulated processor, by class."""
    columns = [("", "processor", ""), ("", "model", ""), ("", "length", "pieces")]
    columns += [("instructions of an inference, in millions", title, "") for title in CLASSES.values()]
    rows: list[Row] = []
    for at, site in enumerate(sites):
        counted: list[Row] = []
        for number, model in enumerate(site.models):
            for place, one in enumerate(model.instructions):
                path = f"{root(site, at)}models[{number}].instructions[{place}]"
                counts = [
                    figure(f"{path}.{name}", getattr(one, name), lambda count: digits(count / 1e6)) for name in CLASSES
                ]
                counted.append(Row([place_cell(site), Cell(model.name), Cell(str(one.length)), *counts]))
        rows += _with_problems(site, counted, "instructions", len(columns))
    caption = (
        "Counted under emulation, on one thread: instructions are no time and no cycles. They compare two models on "
        "one processor."
    )
    return Table("instructions", "Emulated ARM processors", caption, columns, rows)


def answers(sites: Sequence[Site]) -> Table:
    """What each model answers on each target, beside what is allowed."""
    answered = [model.outputs for site in sites for model in site.models if model.outputs]
    metrics = list(dict.fromkeys(name for one in answered for name in one.scores))
    columns = [("", "target", ""), ("", "model", ""), ("golden examples", "largest error", "of the logits")]
    columns += [("golden examples", "allowed", ""), ("golden examples", "same answer", "%")]
    columns += [("dev rows", name, "× 100") for name in metrics]
    rows: list[Row] = []
    for at, site in enumerate(sites):
        path = f"{root(site, at)}models"
        own = [Row(_answers(site, m, metrics, f"{path}[{n}].outputs")) for n, m in enumerate(site.models) if m.outputs]
        rows += _with_problems(site, own, "answers", len(columns))
    caption = "Answers of the file on that target, against the PyTorch student's."
    return Table("answers", "The same answers elsewhere", caption, columns, rows)


def _with_problems(site: Site, rows: list[Row], measures: str, width: int) -> list[Row]:
    """A target's rows, in the table of what it measures with what failed there; a row for a target that has none."""
    said = [*site.problems, *site.warnings, *site.notes, *_how(site)]
    if not said or site.measures != measures:
        return rows
    own = rows or [Row([place_cell(site), *[Cell(DASH)] * (width - 1)])]
    return [*own[:-1], own[-1]._replace(remark="; ".join(said))]


def _how(site: Site) -> list[str]:
    """How a target's times were taken, as far as the record says."""
    plan = {name: site.protocol[name] for name in ("queries", "seconds", "sessions") if name in site.protocol}
    return [said for said in (Protocol(**plan).said() if plan else "", Conditions(**site.conditions).said()) if said]


def _answers(site: Site, model: Placed, metrics: Sequence[str], path: str) -> list[Cell]:
    assert model.outputs is not None
    own = model.outputs
    mark = {True: "good", False: "bad", None: ""}[own.right]
    rows = f"{own.rows:,} rows"
    scores = [
        figure(f"{path}.scores.{name}", own.scores[name], lambda value: f"{100 * value:.2f}", rows)
        if name in own.scores
        else Cell(DASH)
        for name in metrics
    ]
    return [
        place_cell(site),
        Cell(model.name),
        figure(f"{path}.golden_error", own.golden_error, lambda value: f"{value:.2g}", mark=mark),
        figure(f"{path}.golden_tolerance", own.golden_tolerance, lambda value: f"{value:.2g}"),
        figure(f"{path}.golden_agreement", own.golden_agreement, lambda value: f"{100 * value:.0f}"),
        *scores,
    ]


def place_cell(site: Site) -> Cell:
    """A target, and what it says of itself."""
    said = str(site.machine.get("processor", ""))
    return Cell(site.target, said if said != site.target.partition(":")[2] else "", source("target", site.target))

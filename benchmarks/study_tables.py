"""How a study is shown: the table of its scores, and the curves of what was learnt before the tasks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .cells import DASH, Cell, Figure, Row, Table, below
from .derived import digits, signed
from .plots import Line, Panel, curves
from .study_record import Result, StudyRecord, mean


def table(study: StudyRecord) -> Table:
    """Scores × 100, rows by columns; below a score its difference, in points, from the row it is compared with.

    Students have their share of the teacher's score too, the mean over the columns.
    """
    columns = [("", "", ""), ("", "parameters", "million")]
    files = any(one.model and one.model.role == "artefact" for one in study.results)
    columns += [("", "file", "MB"), ("", "speed", "teacher = 1")] if files else []
    columns += [("", column, _said_of(study, column)) for column in study.columns]
    students = any(one.retention for one in study.results)
    columns += [("", "retention", "% of the teacher")] if students else []
    columns += [("", "training", "examples/s")]
    rows = []
    for name in study.rows:
        own = [one for column in study.columns for one in study.at(name, column)]
        cells = [Cell(name), Cell(_parameters(own)), *(_costs(own) if files else [])]
        cells += [_cell(study, name, column) for column in study.columns]
        kept = mean([mean([one.retention for one in study.at(name, column)]) for column in study.columns])
        rate = mean([one.rate for one in own])
        cells += [Cell(f"{100 * kept:.1f}" if kept else DASH)] if students else []
        cells += [Cell(digits(rate) if rate else DASH)]
        problems = "; ".join(f"{one.column}: {one.problem}" for one in own if one.problem)
        rows.append(Row(cells, "chosen" if name in study.against else "", problems))
    return Table("study", study.title, _caption(study), columns, rows)


def _caption(study: StudyRecord) -> str:
    """How the figures are to be read."""
    seeds = sorted({one.seed for one in study.results if one.seed is not None})
    each = {len({one.seed for one in study.at(row, column)}) for row in study.rows for column in study.columns} - {0}
    number = f"{len(seeds)} seeds" if len(each) < 2 else f"the seeds that were run, {min(each)} to {len(seeds)}"
    said = f"Scores × 100, mean ± standard deviation over {number}" if seeds[1:] else "Scores × 100"
    compared = ", ".join(f"{row} with {other}" for row, other in study.against.items())
    said += f"; in brackets the points gained, comparing {compared}" if compared else ""
    said += f". {study.cells - study.left} of {study.cells} cells were run" if study.left > 0 else ""
    processors = sorted({one.processor for one in study.results if one.processor})
    return f"{said}. Trained on {', '.join(processors)}." if processors else f"{said}."


def _said_of(study: StudyRecord, column: str) -> str:
    """The column's metric, split and rows."""
    found = [one for row in study.rows for one in study.at(row, column) if one.model]
    said = {(one.split, one.metric, one.model.rows.get(one.split)) for one in found if one.model}
    if len(said) != 1:
        return "metrics differ" if said else ""
    split, metric, rows = said.pop()
    return f"{split} {metric}, {rows:,} rows" if rows else f"{split} {metric}"


def _parameters(own: Sequence[Result]) -> str:
    return _range([one.model.parameters / 1e6 for one in own if one.model and one.model.parameters])


def _costs(own: Sequence[Result]) -> list[Cell]:
    """Bytes of the chosen files, and how much faster than the teacher's they are at the longest length, one thread."""
    files = [one for one in own if one.model and one.model.role == "artefact"]
    return [
        Cell(_range([one.model.bytes / 1e6 for one in files if one.model and one.model.bytes])),
        Cell(_range([one.speed for one in files if one.speed])),
    ]


def _range(values: Sequence[float]) -> str:
    """The least and the greatest, as they are shown."""
    shown = dict.fromkeys(digits(value) for value in (min(values), max(values))) if values else {}
    return "–".join(shown) or DASH


def _cell(study: StudyRecord, row: str, column: str) -> Cell:
    known = [one for one in study.at(row, column) if one.score is not None]
    score, other = study.score(row, column), study.score(study.against.get(row, ""), column)
    if score is None:
        return Cell(DASH)
    spread = f" ± {100 * statistics.stdev(one.score or 0.0 for one in known):.1f}" if known[1:] else ""
    gain = signed(100 * (score - other)) if other is not None else ""
    return Cell(f"{100 * score:.1f}{spread}", gain, "\n".join(one.folder for one in known))


def pretraining_figure(study: StudyRecord, key: str) -> Figure | None:
    """The losses of each row's pre-training, a panel a row; rows that share a pre-training are shown once."""
    panels, seen = [], []
    for name in study.rows:
        found = ((n, one, one.training) for n, one in enumerate(study.results) if one.row == name)
        index, _, training = next(found, (0, None, []))
        for number, phase in enumerate(training):
            if phase.stage != "pretrain" or not phase.epochs or phase.epochs in seen:
                continue
            seen.append(phase.epochs)
            path = f"results[{index}].training[{number}].epochs"
            names = list(dict.fromkeys(loss for epoch in phase.epochs for loss in epoch.losses))
            lines = [
                Line(
                    loss,
                    [
                        (e.epoch, e.losses[loss], f"{loss} {e.losses[loss]:.4g} — {below(f'{path}[{i}].losses', loss)}")
                        for i, e in enumerate(phase.epochs)
                        if loss in e.losses
                    ],
                )
                for loss in names
            ]
            panels.append(Panel(f"{name}, {phase.phase.replace('_', ' ')}: loss", lines))
    if not panels:
        return None
    title = f"{study.title}: the losses"
    desc = "; ".join(f"{panel.label} {line.name} {line.points[-1][1]:.3g}" for panel in panels for line in panel.lines)
    return Figure(title, curves(key, title, desc, panels), "Mean weighted loss between evaluations.", kind="training")

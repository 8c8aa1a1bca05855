"""How a study is shown: the table of its scores, and the curves of what was learnt before the tasks."""

from __future__ import annotations

from collections.abc import Sequence

from .cells import DASH, Cell, Figure, Row, Table, below
from .derived import digits
from .plots import Line, Panel, curves
from .study_record import Result, StudyRecord


def table(study: StudyRecord) -> Table:
    """Scores × 100, rows by columns; below a score its difference, in points, from the row it is compared with."""
    columns = [("", "", ""), ("", "parameters", "million")]
    columns += [("", column, _said_of(study, column)) for column in study.columns]
    rows = []
    for name in study.rows:
        own = [one for column in study.columns if (one := study.at(name, column))]
        cells = [Cell(name), Cell(_parameters(own))]
        cells += [_cell(study, name, column) for column in study.columns]
        problems = "; ".join(f"{one.column}: {one.problem}" for one in own if one.problem)
        rows.append(Row(cells, "chosen" if name in study.against else "", problems))
    compared = ", ".join(f"{row} with {other}" for row, other in study.against.items())
    caption = f"Scores × 100; in brackets the points gained, comparing {compared}." if compared else "Scores × 100."
    return Table("study", study.title, caption, columns, rows)


def _said_of(study: StudyRecord, column: str) -> str:
    """The column's metric, split and rows."""
    found = [one for row in study.rows if (one := study.at(row, column)) and one.model]
    said = {(one.split, one.metric, one.model.rows.get(one.split)) for one in found if one.model}
    if len(said) != 1:
        return "metrics differ" if said else ""
    split, metric, rows = said.pop()
    return f"{split} {metric}, {rows:,} rows" if rows else f"{split} {metric}"


def _parameters(own: Sequence[Result]) -> str:
    counts = {one.model.parameters for one in own if one.model and one.model.parameters}
    return "–".join(digits(count / 1e6) for count in sorted({min(counts), max(counts)})) if counts else DASH


def _cell(study: StudyRecord, row: str, column: str) -> Cell:
    one = study.at(row, column)
    if one is None or one.score is None:
        return Cell(DASH)
    other = study.at(study.against.get(row, ""), column)
    gain = f"{100 * (one.score - other.score):+.1f}".replace("-", "−") if other and other.score is not None else ""
    return Cell(f"{100 * one.score:.1f}", gain, one.folder)


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

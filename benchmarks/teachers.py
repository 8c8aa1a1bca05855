"""The table of runs that end with a teacher or a student: what was trained, on what, how long, and what it scores."""

from __future__ import annotations

from .cells import DASH, Cell, Row, Table
from .derived import digits, metric_of, row_of, score, split_of
from .record import Model, Run


def trained_table(runs: list[Run]) -> Table:
    """One row a model, every score of the split that speaks for the run."""
    columns = [("", "run", ""), ("", "model", ""), ("", "starts from", ""), ("", "parameters", "million")]
    columns += [("", "task", "split, rows"), ("score", "primary", "× 100"), ("score", "others", "× 100")]
    columns += [("training", "rows", ""), ("training", "time", "min"), ("training", "threads", "")]
    rows = [Row(_cells(run, model)) for run in runs for role in ("teacher", "student") if (model := row_of(run, role))]
    caption = "Models that were trained and not exported; each run's own record names its machine and its recipe."
    return Table("trained", "Teachers and students", caption, columns, rows)


def _cells(run: Run, model: Model) -> list[Cell]:
    split, metric = split_of(run), metric_of(run)
    value = score(model, split, metric)
    others = {name: found for name, found in model.scores.get(split, {}).items() if name != metric}
    stage = "teach" if model.role == "teacher" else "distil"
    phases = [phase for phase in run.training if phase.stage == stage]
    seconds = sum(epoch.seconds for phase in phases for epoch in phase.epochs)
    threads = sorted({phase.threads for phase in phases if phase.threads})
    start = run.provenance.get("teacher", DASH) if model.role == "teacher" else "its teacher"
    return [
        Cell(run.name, "", "name"),
        Cell(model.role),
        Cell(str(start), mark="text"),
        Cell(digits(model.parameters / 1e6) if model.parameters else DASH),
        Cell(str(run.task.get("kind", DASH)).replace("_", " "), f"{split}, {model.rows.get(split, 0):,}", mark="text"),
        Cell(f"{100 * value:.2f}" if value is not None else DASH, metric),
        Cell(", ".join(f"{name} {100 * found:.2f}" for name, found in others.items()) or DASH, mark="text"),
        Cell(f"{phases[0].examples:,}" if phases else DASH),
        Cell(digits(seconds / 60) if seconds else DASH),
        Cell(", ".join(map(str, threads)) or DASH),
    ]

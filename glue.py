"""The GLUE table (arXiv 1804.07461): one ready recipe for each of its nine tasks, and the average as GLUE takes it.

- Each task is a run of its own below one folder. Finished stages are reused, and a killed table goes on where it was.
- A task whose files are not there is skipped by name. One that fails is a row that says why; the others still run.
- The scores are of the dev files, because GLUE keeps the labels of its test files. MNLI's two files count as one task.
  Where a recipe has no dev file, its dev rows are held out of the training file, and the table says so.
- A task's score is the mean of its metrics, and the average is over the tasks that have one: a table of four tasks is
  no GLUE score, so it says how many of the nine it holds.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich import table as rich
from rich.markup import escape

from . import __version__, pipeline, recipe_file
from .benchmarks import terminal
from .context import Progress
from .errors import AttarError, DiskFullError, not_installed
from .files import locked, os_error, read_json, write_json
from .recipe import Recipe, expand
from .slots import Slot
from .tasks.data import NAMES

Finished = Callable[[str, float, bool], None]
FILE = "glue.json"
MODELS = ("teacher", "student")
HELD_OUT = "*"


class Task(NamedTuple):
    """One of the nine, in GLUE's order: a ready recipe, and GLUE's own metrics, each of a split."""

    recipe: str
    name: str
    metrics: tuple[tuple[str, str, str], ...]  # how GLUE calls it, split, metric


TASKS = (
    Task("cola", "CoLA", (("Matthews corr.", "dev", "mcc"),)),
    Task("sst2", "SST-2", (("accuracy", "dev", "accuracy"),)),
    Task("mrpc", "MRPC", (("F1", "dev", "f1"), ("accuracy", "dev", "accuracy"))),
    Task("stsb", "STS-B", (("Pearson", "dev", "pearson"), ("Spearman", "dev", "spearman"))),
    Task("qqp", "QQP", (("F1", "dev", "f1"), ("accuracy", "dev", "accuracy"))),
    Task("mnli", "MNLI", (("matched accuracy", "dev", "accuracy"), ("mismatched accuracy", "test", "accuracy"))),
    Task("qnli", "QNLI", (("accuracy", "dev", "accuracy"),)),
    Task("rte", "RTE", (("accuracy", "dev", "accuracy"),)),
    Task("wnli", "WNLI", (("accuracy", "dev", "accuracy"),)),
)


@dataclass
class Line:
    """One task of the table; `scores` are fractions by model and metric, in the order in which GLUE states them."""

    task: str
    name: str
    status: Literal["waiting", "done", "skipped", "failed"] = "waiting"
    reason: str = ""  # why it was skipped or failed
    run: str = ""  # the folder
    seconds: float = 0.0  # of the stages up to now, reused ones too
    held_out: bool = False  # its dev rows are of the training file
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Table:
    """What `glue.json` holds."""

    until: str
    tasks: list[Line]
    average: dict[str, dict[str, float]] = field(default_factory=dict)  # model -> score, tasks
    of: int = len(TASKS)
    attar: str = __version__


def average(lines: Sequence[Line], model: str) -> dict[str, float]:
    """`score`, the mean over the tasks of the mean over each one's metrics, and `tasks`, how many; empty for none."""
    means = [sum(found.values()) / len(found) for line in lines if (found := line.scores.get(model))]
    return {"score": sum(means) / len(means), "tasks": len(means)} if means else {}


def recipes(teacher: str | None = None, settings: Sequence[str] = ()) -> dict[str, Recipe]:
    """The ready recipes by task, each with the same teacher and settings."""
    stated = [] if teacher is None else [f"teacher.model={json.dumps(teacher)}"]
    folder = Path(__file__).parent / "recipes"
    return {task.recipe: recipe_file.load(folder / f"{task.recipe}.yaml", [*stated, *settings]) for task in TASKS}


def missing(spec: Recipe) -> str:
    """Why the recipe cannot run here: the first of its files that is not there; empty where all are."""
    splits = (split for name in NAMES for split in spec.task.files(name))
    lost = next((path for path in (expand(split.path) for split in splits) if not path.exists()), None)
    return f"no such file: {lost}" if lost else ""


def run(
    recipes: dict[str, Recipe],
    out: Path,
    *,
    until: str = "distil",
    progress: Progress = lambda what, done, remark: None,
    finished: Finished = lambda name, seconds, reused: None,
    command: str = "",
) -> Table:
    """Run the recipes, by task, up to a stage; `out/glue.json` is written after each of them.

    Raises `AttarError` where no task has its data, and for a full disk.
    """
    lines = [
        Line(task.recipe, task.name, run=str(out / task.recipe), held_out=not recipes[task.recipe].task.files("dev"))
        for task in TASKS
    ]
    table = Table(until, lines)
    for line in lines:
        if lost := missing(recipes[line.task]):
            line.status, line.reason = "skipped", lost
    if all(line.status == "skipped" for line in lines):
        raise AttarError("no task of GLUE has its data here", where=lines[0].reason, fix="set ATTAR_DATA")
    with locked(out):
        for task, line in zip(TASKS, lines, strict=True):
            if line.status == "waiting":
                _run(task, line, recipes[line.task], until, progress, finished, command)
            table.average = {model: found for model in MODELS if (found := average(lines, model))}
            write_json(out / FILE, document(table))
    return table


def _run(
    task: Task, line: Line, spec: Recipe, until: str, progress: Progress, finished: Finished, command: str
) -> None:
    """Run one task and fill its line; what was scored before a failure counts."""
    folder, done = Path(line.run), list[str]()

    def moved(what: str, share: float, remark: str) -> None:
        progress(f"{task.name}: {what}", share, remark)

    def ended(stage: str, seconds: float, reused: bool) -> None:
        done.append(stage)
        finished(f"{task.name}: {stage}", seconds, reused)

    try:
        pipeline.run(
            spec, folder, until=until, progress=moved, finished=ended, command=command, beside=[folder.parent.parent]
        )
        line.status = "done"
    except DiskFullError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever stops one task, the others still run
        if os.environ.get("ATTAR_DEBUG"):
            traceback.print_exc()
        line.status, line.reason = "failed", reason(error)
    notes = {stage: read_json(Slot(folder, stage, "").note) for stage in done}
    line.seconds = sum(note["seconds"] for note in notes.values())
    for model, stage in zip(MODELS, ("teach", spec.student_stage), strict=True):
        if stage in notes:
            line.scores[model] = _scores(task, notes[stage]["results"]["scores"])


def _scores(task: Task, found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: found[split][metric] for name, split, metric in task.metrics}


def reason(error: Exception) -> str:
    """What stopped a run, in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        error = not_installed(error.name)
    if isinstance(error, OSError):
        error = os_error(error)
    return error.line() if isinstance(error, AttarError) else " ".join(f"{type(error).__name__}: {error}".split())


def document(table: Table) -> dict[str, Any]:
    """The table as JSON holds it."""
    return asdict(table)


def show(table: Table, out: Path) -> Iterator[rich.Table | str]:
    """The table for a terminal, in points as GLUE states them, why tasks were skipped, and the file."""
    made = terminal.table("task", "metric", *(f">{model}" for model in MODELS), title="GLUE, dev")
    for task, line in zip(TASKS, table.tasks, strict=True):
        found = [_points(line.scores.get(model, {}).values()) for model in MODELS]
        if line.status != "done" and not line.scores:
            found[0] = line.status
        style = {"skipped": "dim", "failed": "red"}.get(line.status)
        name = f"{task.name}{HELD_OUT if line.held_out else ''}"
        made.add_row(name, "/".join(metric for metric, _, _ in task.metrics), *found, style=style)
    made.add_section()
    means = [table.average.get(model, {}) for model in MODELS]
    made.add_row("average", "", *(_points([mean["score"]]) if mean else "–" for mean in means), style="bold")
    counts = [f"{mean['tasks']} of {table.of}" if mean else "–" for mean in means]
    made.add_row("over tasks", "", *counts)
    yield made
    if any(line.held_out and line.scores for line in table.tasks):
        yield f"[dim]{HELD_OUT} dev rows held out of the training file, not GLUE's own[/]"
    for line in table.tasks:
        if line.status == "skipped":
            yield f"[dim]skipped {line.name}: {escape(line.reason)}[/]"
    yield escape(str(out / FILE))


def _points(values: Iterable[float]) -> str:
    return "/".join(f"{100 * value:.1f}" for value in values) or "–"

"""The commands that train: a recipe as far as a stage, a study, GLUE."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from ..errors import BUDGET_MISSED, FAILED, UsageError
from ..recipe import SMALLER, Recipe
from .common import Flag, Names, Out, Seeds, Settings, app, fail, need_training_libraries, print_json, resumable

if TYPE_CHECKING:  # a command loads only what it does
    from ..benchmarks.record import Trial


@app.command
def compress(
    recipe: Path,
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    max_size: str | None = None,
    max_latency: str | None = None,
    max_memory: str | None = None,
    max_drop: float | None = None,
    target: str | None = None,
    trials: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Run a recipe: teach, distil, export, verify, measure, bundle, report.

    A run that was stopped goes on where it was; finished stages are reused. Where the recipe's student cannot meet a
    limit on size, latency or memory, a search for one that can takes its place.

    Args:
        recipe: a recipe file, or the name of a ready one
        out: the run's folder, runs/NAME where not given
        settings: KEY=VALUE, such as student.layers=4; any key of the recipe, as often as needed
        max_size: limit on the model file, such as 12MB
        max_latency: limit on the median latency, such as 15ms
        max_memory: limit on the memory that loading and a first answer take, such as 40MB
        max_drop: limit on the points lost against the teacher
        target: where latency and memory are measured: local, ssh://user@host or adb:SERIAL
        trials: search for a student, so many affordable ones at most; 0 keeps the recipe's; see docs/concepts.md
        json: print the run record as one JSON document
        quiet: show no progress
    """
    limits = {"max_size": max_size, "max_latency": max_latency, "max_memory": max_memory, "max_drop": max_drop}
    stated = [f"budget.{name}={value}" for name, value in limits.items() if value is not None]
    stated += [] if target is None else [f"measure.target={target}"]
    from ..benchmarks import outcome, record, terminal

    folder, _ = _run(recipe, out, [*settings, *stated], "bundle", quiet or json, trials)
    found = record.load(folder)
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        terminal.show(*outcome.run(found, folder))
    missed = [limit for limit in found.limits if not limit.met]
    return BUDGET_MISSED if missed else 0


def _stage_command(name: str, doc: str, until: str, made: str) -> None:
    """A command that runs a recipe as far as the stage `until`, which leaves the folder `made`."""

    def command(
        recipe: Path,
        /,
        *,
        out: Out = None,
        settings: Settings = [],  # noqa: B006 - never changed
        json: Flag = False,
        quiet: Flag = False,
    ) -> int:
        return _show_stage(recipe, out, settings, until, made, json, quiet)

    command.__doc__ = doc
    app.command(command, name=name)


_stage_command("teach", "Fine-tune a recipe's teacher, and stop there.", "teach", "teacher")
_stage_command("distil", "Teach and distil a recipe's student, and stop there.", "distil", "student")
_stage_command("prune", "Make a recipe's student smaller by the steps of `compress`, and stop there.", SMALLER, "")
_stage_command(
    "export", "Make a recipe's artefacts and prove each in its own runtime, and stop there.", "verify", "artefacts"
)


def _run(
    path: Path, out: Path | None, settings: Sequence[str], until: str, quiet: bool, trials: int | None = None
) -> tuple[Path, Any]:
    """Run a recipe up to a stage; gives the run's folder and the results by stage."""
    from .. import pipeline
    from ..benchmarks import progress
    from ..processes import launched
    from ..recipe_file import load

    spec = load(path, settings)
    if until == SMALLER and not spec.compress:
        raise UsageError("the recipe has no `compress`", where=str(path), fix="state its steps, or use attar distil")
    need_training_libraries()
    folder = out or Path("runs") / spec.name
    command = shlex.join(["attar", *sys.argv[1:]])
    first = launched().first
    with progress.stages(quiet or not first) as (moved, finished), resumable():
        if until == "bundle" and trials != 0 and (trials or spec.search or spec.budget.limits_cost):
            from .. import search

            spec, grown = search.asked(spec, trials), _front(quiet or not first)
            context = search.within(spec, folder, progress=moved, finished=finished, grown=grown, command=command)
        else:
            spec = spec.model_copy(update={"search": None}) if trials == 0 else spec
            context = pipeline.run(spec, folder, until=until, progress=moved, finished=finished, command=command)
    if not first:
        raise SystemExit(0)  # it helped, and the first process shows what was made
    return folder, context.results


def _front(quiet: bool) -> Callable[[Sequence[Trial], str], None]:
    """Prints the front of a search's trials on stderr, above the bar of its progress."""
    from rich.console import Console

    from ..benchmarks import outcome

    console = Console(stderr=True, quiet=quiet)
    return lambda trials, metric: console.print(outcome.tried(trials, metric))


def _show_stage(
    path: Path, out: Path | None, settings: Sequence[str], stage: str, name: str, json: bool, quiet: bool
) -> int:
    from ..benchmarks import outcome, record, terminal

    folder, results = _run(path, out, settings, stage, quiet or json)
    if stage == SMALLER:
        stage = list(results)[-1]
        name = Recipe.folder_of(stage)
    if json:
        return print_json(record.load(folder).model_dump(mode="json"))
    if "knowledge" in results:
        terminal.show(*outcome.knowledge(results["knowledge"]))
    terminal.show(*outcome.stage(results, stage, folder / name))
    return 0


@app.command
def study(
    path: Path,
    /,
    *,
    out: Out = None,
    known: Path | None = None,
    row: Names = [],  # noqa: B006 - never changed
    column: Names = [],  # noqa: B006
    seed: Seeds = [],  # noqa: B006
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Run a study: one recipe with parts changed, a run for every row and column of a table.

    Args:
        path: a study file, or the name of a ready one
        out: the study's folder, runs/NAME where not given
        known: a study.json of the same study, made elsewhere: cells of the same recipe and rows are taken from it
        row: run this row alone, or these
        column: run this column alone, or these
        seed: run the cells of this seed alone, or of these
        json: print the study's record as one JSON document
        quiet: show no progress
    """
    from .. import study as studies
    from ..benchmarks import outcome, progress, study_record, terminal
    from ..processes import launched

    if launched().count > 1:
        raise UsageError("a study runs in one process", where="attar study", fix="start one process")
    spec = studies.load(path)
    need_training_libraries()
    folder = out or Path("runs") / spec.name
    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished), resumable():
        before = study_record.load(known) if known else None
        chosen = studies.Chosen(row, column, seed)
        found = studies.run(
            spec, folder, progress=moved, finished=finished, command=command, known=before, chosen=chosen
        )
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        terminal.show(*outcome.study(found, folder))
    return FAILED if any(one.problem for one in found.results) else 0


@app.command
def glue(
    *,
    teacher: str | None = None,
    out: Path = Path("runs/glue"),
    until: Literal["teach", "distil", "bundle"] = "distil",
    settings: Settings = [],  # noqa: B006 - never changed
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Run the ready recipes of GLUE's nine tasks, and print the GLUE table with the average.

    Each task is a run of its own; one without its files under $ATTAR_DATA is skipped, one that fails is named.

    Args:
        teacher: the model they start from, minilm where not given
        out: the folder of the runs, and of glue.json
        until: the stage after which each run stops
        settings: KEY=VALUE, such as student.layers=4; for every task, as often as needed
        json: print the table as one JSON document
        quiet: show no progress
    """
    from .. import glue as tables
    from ..benchmarks import progress, terminal

    recipes = tables.recipes(teacher, settings)
    need_training_libraries()
    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished), resumable():
        found = tables.run(recipes, out, until=until, progress=moved, finished=finished, command=command)
    if json:
        print_json(tables.document(found))
    else:
        terminal.show(*tables.show(found, out))
    failed = [line for line in found.tasks if line.status == "failed"]
    for line in failed:
        fail(f"{line.name}: {line.reason}", FAILED)
    return FAILED if failed else 0

"""One candidate of a search: what it costs untrained, then what a short distillation makes of it.

- Bytes are those of the files themselves, so they are exact; latency and memory are measured as in the stage `measure`,
  at the fewest threads and the longest length.
- Both are runs of their own, in folders that the trials use one after the other: a killed trial goes on, and what the
  teacher answers is asked once.
- A trial's bytes stay those of the untrained student: where trials see fewer rows, a vocabulary trimmed to them is not
  the one that the student will have.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import pipeline, recipe, stages, training
from ..benchmarks import cost, latency, measurement
from ..benchmarks.protocol import quick
from ..benchmarks.record import Cost, Latency, Model
from ..benchmarks.targets.host import Host
from ..context import Context, Progress
from ..errors import AttarError
from ..export import proof
from ..export.bundle import installed
from ..recipe import SMALLER, Recipe
from . import space
from .curve import Curve, Report

ARTEFACTS = "artefacts"
SHORT = "short"  # the folder of the short distillations


@dataclass(frozen=True)
class Bench:
    """Where trials are made, and who watches."""

    folder: Path
    beside: Path  # the folder of runs with the teacher
    plan: recipe.Search
    metric: str
    progress: Progress


def costs(spec: Recipe, bench: Bench) -> list[Model]:
    """The candidate's files, untrained, each with its cost; at least one.

    Errors: a student that cannot be built, no file that can be made and that a runtime here loads.
    """
    context = _run(space.untrained(spec), bench, "untrained")
    cards = _files(context)
    models = [proof.row(card, _parameters(context)) for card in cards if not card["failure"]]
    models = [one for one in models if installed(one.runtime) and (one.length or 1e9) >= spec.task.max_length]
    if not models:
        failed = next((card["failure"] for card in cards if card["failure"]), "")
        what = failed or "no file is for a runtime that is here, and for texts as long as the task's"
        raise AttarError(what, where="export")
    plan, features = spec.measure, context.splits("student")["dev"].features
    pad_id, lengths = (
        context.encoder("student").pad_id,
        {max(plan.lengths), *(one.length for one in models if one.length)},
    )
    queries = {length: latency.fill(features, pad_id, length) for length in lengths}
    with measurement.target(plan).open() as host:
        times = latency.measure(
            [
                latency.Contender(one.name, context.out / str(one.file), one.runtime, one.length, host=host)
                for one in models
            ],
            queries,
            [min(plan.threads)],
            quick(bench.plan.queries, plan.warmup),
            on_progress=lambda what, done, total: bench.progress("measure", done / total, what),
            on_failure=lambda line: bench.progress("measure", 1.0, line),
            reference=False,
        )
        costs = [_cost(one, times[one.name], queries, spec, context, host) for one in models]
    return [one.model_copy(update={"cost": cost}) for one, cost in zip(models, costs, strict=True)]


def _cost(
    model: Model, times: list[Latency], queries: latency.Queries, spec: Recipe, context: Context, host: Host
) -> Cost:
    """Latencies, and memory where it is limited (it takes processes of its own); none of what could not be measured."""
    if not times or spec.budget.max_memory is None:
        return Cost(latencies=times)
    arrays = queries[times[-1].length][0]
    found = cost.measure(context.out / str(model.file), model.runtime, arrays, host=host)
    return found.model_copy(update={"latencies": times})


def scores(spec: Recipe, bench: Bench, costed: Sequence[Model], report: Report) -> list[Model]:
    """The same files after a short distillation, with their dev scores; one that was rejected says why.

    `report` is told every dev score on the way, and may end the trial by an error of its own.
    """
    short = space.shortened(spec, bench.plan)
    curve = Curve(short, bench.folder / SHORT, bench.metric, report)

    def moved(what: str, done: float, remark: str) -> None:
        curve.moved(what, done)
        bench.progress(what, done, remark)

    with training.watched(lambda phase, found: curve.scored(phase, found[bench.metric])):
        context = _run(short, replace(bench, progress=moved), SHORT, curve.finished)
    cards, student = _files(context), "student"
    found = proof.prove(
        context.recipe,
        context.task,
        context.form,
        context.data.dev,
        {student: {"dev": context.splits(student)["dev"]}},
        {student: context.outputs(student)},
        cards,
        {student: _parameters(context)},
        context.out / ARTEFACTS,
        {student: context.encoder(student)},
        bench.progress,
    )["models"]
    known = {one.name: {"cost": one.cost, "bytes": one.bytes} for one in costed}
    proved = [Model.model_validate(one) for one in found]
    return [one.model_copy(update=known[one.name]) for one in proved if one.name in known]


def _run(spec: Recipe, bench: Bench, name: str, finished: Callable[[str], None] = lambda stage: None) -> Context:
    return pipeline.run(
        spec,
        bench.folder / name,
        until=SMALLER,
        progress=bench.progress,
        finished=lambda stage, seconds, reused: finished(stage),
        beside=[bench.beside],
        searched=True,
    )


def _files(context: Context) -> list[dict[str, Any]]:
    folder = context.out / ARTEFACTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    cards: list[dict[str, Any]] = stages.files(context, folder, None)["artefacts"]
    return cards


def _parameters(context: Context) -> int:
    return int(context.results[context.recipe.student_stage]["parameters"])

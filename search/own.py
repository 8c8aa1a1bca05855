"""Limits instead of knobs: a recipe whose own student costs more than its budget allows becomes a search.

- What a student costs is known before it learns anything: its bytes exactly, its latency and memory by its untrained
  files. Whether it is within a drop is not: a recipe with that limit alone runs as it is.
- So do recipes that no search is for: of decoders, of several processes, and those whose own student cannot be judged.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__, pipeline, recipe_file
from ..benchmarks import assembly, judging, machine
from ..benchmarks.record import Model
from ..context import Context, Progress
from ..errors import AttarError, DiskFullError, UsageError
from ..export.bundle import installed
from ..export.runtimes import DISTRIBUTIONS
from ..files import read_json, value_digest, write_json
from ..processes import launched
from ..recipe import HEAL, SPACE, Recipe, Search
from . import space
from .full import Finished
from .run import FOLDER, Grown, run
from .trial import Bench, costs

COSTS = "own.json"
ROWS = 10_000  # of a trial where the recipe does not say: a trial is to rank students, in minutes


def asked(spec: Recipe, trials: int | None) -> Recipe:
    """The recipe with a search of so many trials: its own, or one of the default space."""
    if not trials:
        return spec
    if not spec.search:
        return widened(spec, trials)
    return spec.model_copy(update={"search": spec.search.model_copy(update={"trials": trials})})


def within(
    spec: Recipe,
    out: Path,
    *,
    progress: Progress = lambda what, done, remark: None,
    finished: Finished = lambda name, seconds, reused: None,
    grown: Grown = lambda trials, metric: None,
    command: str = "",
) -> Context:
    """Run the recipe; where its student cannot meet its limits, search for one that can. Raises as both do."""
    if spec.search:
        return run(spec, out, progress=progress, finished=finished, grown=grown, command=command)
    why = _over(spec, out, progress, finished, command) if _can_be_judged(spec) else ""
    if not why:
        return pipeline.run(spec, out, progress=progress, finished=finished, command=command)
    return run(widened(spec), out, progress=progress, finished=finished, grown=grown, command=command, why=why)


def _can_be_judged(spec: Recipe) -> bool:
    """Whether something is limited that is known of an untrained student, and a search may take its place."""
    return spec.budget.limits_cost and spec.student.kind != "distilgpt" and launched().count == 1


def widened(spec: Recipe, trials: int | None = None) -> Recipe:
    """The recipe with a search of the default space; `UsageError` where none is for it.

    ONNX files of 4 bits are among its artefacts, if it makes any of ONNX, and the narrower students learn their word
    embeddings, which a recipe for a wide one may freeze.
    """
    values = spec.model_dump(mode="json", exclude_unset=True)
    choices: dict[str, Any] = dict(SPACE)
    if spec.export.onnx:
        export = values.setdefault("export", {})
        export["onnx"] = list(dict.fromkeys([*spec.export.onnx, "int4"]))
        export.setdefault("int4", {}).setdefault("embeddings", 4)
        bits = {"quantize": {"bits": 4}, "heal": HEAL}
        choices["compress"] = [*choices["compress"], [*choices["compress"][-1], bits]]
    distil = values.setdefault("distil", {})
    for name in ("intermediate", "prediction"):
        if getattr(spec.distil, name):
            distil.setdefault(name, {})["freeze_embeddings"] = False
    values["search"] = {"space": choices, "rows": ROWS} | ({"trials": trials} if trials else {})
    return recipe_file.parse(values, where="search")


def _over(spec: Recipe, out: Path, progress: Progress, finished: Finished, command: str) -> str:
    """The limits that the recipe's own student misses whatever it learns, in words; empty where it may meet them."""
    pipeline.reach(spec)
    start = pipeline.run(spec, out, until="teach", progress=progress, finished=finished, command=command, trims=True)
    started, metric = time.monotonic(), start.task.metric
    bench = Bench(out / FOLDER / "trial", out.resolve().parent, Search(), metric, progress)
    models, reused = _costs(spec, bench, out / FOLDER / COSTS, start.keys["teach"])
    if not models:
        return ""
    teacher = assembly.rows(spec, start.results, out)[0]
    budget = spec.budget.model_copy(update={"max_drop": None})

    def missed(file: Model) -> Sequence[str]:
        return [judging.over(one) for one in judging.limits(budget, file, [teacher, file], metric) if not one.met]

    nearest = min(models, key=lambda one: judging.excess(budget, one, [teacher, one], metric))
    why = "; ".join(missed(nearest))
    said = f"it cannot meet the budget ({why}), so others are searched for" if why else "it can meet the budget"
    finished(f"untrained student: {said}", time.monotonic() - started, reused)
    return why


def _costs(spec: Recipe, bench: Bench, file: Path, teacher: str) -> tuple[list[Model], bool]:
    """The student's files as they will be, each with its cost, and whether that was known.

    None of them where the student cannot be tried: the stage that makes it says why.
    """
    asked = space.untrained(spec).model_dump(mode="json", exclude={"name", "budget"})
    limited = [name for name, limit in spec.budget if limit is not None]
    runtimes = [__version__, machine.processor(), *(installed(name) for name in DISTRIBUTIONS)]
    key = value_digest([asked, limited, teacher, runtimes])
    if file.is_file() and (known := read_json(file)).get("key") == key:
        return [Model.model_validate(one) for one in known["models"]], True
    file.parent.mkdir(exist_ok=True)
    try:
        models = costs(spec, bench)
    except (DiskFullError, UsageError):
        raise
    except AttarError:
        return [], False
    finally:
        shutil.rmtree(bench.folder, ignore_errors=True)
    write_json(file, {"key": key, "models": [one.model_dump(mode="json") for one in models]})
    return models, False

"""From the results of the stages to the run record: which artefact is chosen, and which limits are met.

- The choice is the smallest file among the student's artefacts that passed and meet every limit; where none meets them,
  the one that misses the fewest, then the smallest. A run always ends with a choice if anything passed.
- An artefact that cuts texts is never chosen: it is judged on the short rows alone. Of two that differ only in the
  processors they are made for, the one that is right on all of them stands for both.
- Latency is judged at the smallest number of threads and the longest length that were measured, a static artefact's at
  its own length. A model that failed there misses the limit, however quick it was at a shorter length.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..export.manifest import HEADS
from ..recipe import Budget, Recipe
from . import machine, road
from .inspection import reads_all, shares
from .record import Check, Cost, Limit, Model, Run, Stage, Training

Results = dict[str, dict[str, Any]]


def rows(spec: Recipe, results: Results, out: Path) -> list[Model]:
    """The main table as far as it was made: teacher and student in PyTorch, then the artefacts with their costs."""
    table = [_torch_row("teacher", results["teach"], out, "teacher")] if "teach" in results else []
    for stage in [one for one in spec.student_stages if one in results][-1:]:
        table.append(_torch_row("student", results[stage], out, spec.folder_of(stage)))
    measure = results.get("measure", {})
    costs, gzipped = measure.get("costs", {}), measure.get("gzipped", {})
    for model in map(Model.model_validate, results.get("verify", {}).get("models", [])):
        if model.name in costs:
            model.cost = Cost.model_validate(costs[model.name])
            model.gzipped = gzipped.get(model.name)
        table.append(model)
    return table


def _torch_row(role: Any, found: dict[str, Any], out: Path, folder: str) -> Model:
    file = f"{folder}/model.safetensors"
    return Model(
        name=role,
        role=role,
        of=role,
        runtime="torch",
        precision="fp32",
        file=file,
        bytes=(out / file).stat().st_size,
        parameters=found["parameters"],
        parameter_bytes=4 * found["parameters"],
        scores=found["scores"],
        rows=found["rows"],
    )


def limits(budget: Budget, model: Model, table: Sequence[Model], metric: str) -> list[Limit]:
    """The stated limits, judged for one artefact; the teacher is the first row of the table."""
    drop = _points(table[0].scores["dev"][metric], model.scores.get("dev", {}).get(metric))
    values = {
        "max_size": model.bytes,
        "max_latency": latency(model, table),
        "max_memory": model.cost.peak_memory,
        "max_drop": drop,
    }
    found = []
    for name, value in values.items():
        limit = getattr(budget, name)
        if limit is not None:
            met = value is not None and value <= limit + 1e-9
            margin = None if value is None else limit - value
            found.append(Limit(name=name, limit=limit, value=value, met=met, margin=margin))
    return found


def _points(teacher: float, own: float | None) -> float | None:
    return None if own is None else 100 * (teacher - own)


def latency(model: Model, table: Sequence[Model]) -> float | None:
    """p50 in milliseconds at the fewest threads and the longest length, or the model's own; None where it failed."""
    measured = [one for row in table for one in row.cost.latencies]
    if not measured:
        return None
    length = model.length or max(one.length for one in measured)
    threads = min(one.threads for one in measured)
    found = (one.p50_ms for one in model.cost.latencies if (one.length, one.threads) == (length, threads))
    return next(found, None)


def choose(budget: Budget, table: Sequence[Model], metric: str, max_length: int) -> Model | None:
    """The artefact that the verdict is about; it reads at least `max_length` pieces."""
    passed = [
        model
        for model in table
        if model.role == "artefact"
        and model.of == "student"
        and model.status == "ok"
        and (model.length is None or model.length >= max_length)
    ]

    def form(model: Model) -> tuple[Any, ...]:
        return model.runtime, model.precision, model.length, Path(str(model.file)).suffix

    everywhere = {form(model) for model in passed if model.processor != "dot-product"}
    passed = [model for model in passed if model.processor != "dot-product" or form(model) not in everywhere]

    def rank(model: Model) -> tuple[int, int]:
        missed = sum(not limit.met for limit in limits(budget, model, table, metric))
        return missed, model.bytes or 0

    return min(passed, key=rank, default=None)


def assemble(
    spec: Recipe,
    task: dict[str, Any],
    results: Results,
    stages: list[dict[str, Any]],
    provenance: dict[str, Any],
    out: Path,
    command: str = "",
) -> Run:
    """The record of a run in the folder `out`, which has a teacher and whatever stages were finished after it."""
    metric = task["metric"]
    table = rows(spec, results, out)
    choice = choose(spec.budget, table, metric, spec.task.max_length)
    measure = results.get("measure", {})
    curves = [one for found in results.values() for one in found.get("training", [])]
    shown = [model for model in table if model.role != "artefact" or model is choice]
    whole = reads_all(HEADS.get(task["kind"]))
    return Run(
        attar=__version__,
        name=spec.name,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        measured=measure.get("measured", ""),
        task=task,
        recipe=spec.model_dump(mode="json"),
        machine=measure.get("machine") or machine.describe(),
        provenance=provenance,
        stages=[Stage.model_validate(one) for one in stages],
        training=[Training.model_validate(one) for one in curves],
        models=table,
        road=road.milestones(spec, results),
        shares={model.name: shares(out / str(model.file), whole=whole) for model in shown},
        layers=measure.get("layers", {}).get(choice.name) if choice else None,
        layer_times=measure.get("layer_times", {}),
        checks=[Check.model_validate(one) for one in results.get("verify", {}).get("checks", [])],
        limits=limits(spec.budget, choice, table, metric) if choice else [],
        choice=choice.name if choice else None,
        notes=_notes(spec, task, results),
    )


def _notes(spec: Recipe, task: dict[str, Any], results: Results) -> list[str]:
    """Conditions that a reader must know."""
    notes = [f"not measured: {line}" for line in results.get("measure", {}).get("failures", [])]
    if "knowledge" in results:
        fused = results["knowledge"]
        found = ", ".join(f"{name} {100 * scores['mrr']:.1f}" for name, scores in fused["links"].items())
        notes.append(f"links, filtered MRR over {fused['ranked']} held-out triples: {found}")
    notes += [line for stage in results.values() for line in stage.get("remarks", [])]
    for split, count in results["teach"]["truncated"].items():
        if count:
            total = task["rows"][split]
            name = "training" if split == "train" else split
            notes.append(f"{count} of {total} {name} texts were cut to {spec.task.max_length} pieces")
    inferences = results.get("export", {}).get("inferences", 1.0)
    if inferences > 1:
        notes.append(f"latencies are of one inference; an answer takes {inferences:.3g} of them, the mean over dev")
    if not spec.task.files("dev") and not spec.task.builtin:
        notes.append(f"the {task['rows']['dev']:,} dev rows were held out of the training rows")
    if spec.task.limit:
        notes.append(f"trained on {spec.task.limit} training rows (task.limit)")
    return notes

"""From the results of the stages to the run record: which artefact is chosen, and which limits are met.

- The choice is the smallest file among the student's artefacts that passed and meet every limit; where none meets them,
  the one that misses the fewest, then the smallest. A run always ends with a choice if anything passed.
- Latency is judged at the longest length and the smallest number of threads that were measured.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..recipe import Budget, Recipe
from .inspection import shares
from .record import Check, Cost, Limit, Model, Run, Stage, Training

Results = dict[str, dict[str, Any]]


def rows(results: Results, out: Path) -> list[Model]:
    """The rows of the main table: teacher and student in PyTorch, then the artefacts with their costs."""
    table = [_torch_row(role, results, out) for role in ("teacher", "student")]
    costs = results["measure"]["costs"]
    for values in results["verify"]["models"]:
        model = Model.model_validate(values)
        if model.name in costs:
            model.cost = Cost.model_validate(costs[model.name])
        table.append(model)
    return table


def _torch_row(role: Any, results: Results, out: Path) -> Model:
    file = f"{role}/model.safetensors"
    found = results["teach" if role == "teacher" else "distil"]
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


def limits(budget: Budget, model: Model, teacher: Model, metric: str) -> list[Limit]:
    """The stated limits, judged for one artefact."""
    drop = _points(teacher.scores["dev"][metric], model.scores.get("dev", {}).get(metric))
    values = {"max_size": model.bytes, "max_latency": latency(model), "max_drop": drop}
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


def latency(model: Model) -> float | None:
    """p50 in milliseconds at the longest length and the fewest threads."""
    found = sorted(model.cost.latencies, key=lambda one: (-one.length, one.threads))
    return found[0].p50_ms if found else None


def choose(budget: Budget, table: list[Model], metric: str) -> Model | None:
    """The artefact that the verdict is about."""
    passed = [model for model in table if model.role == "artefact" and model.of == "student" and model.status == "ok"]

    def rank(model: Model) -> tuple[int, int]:
        missed = sum(not limit.met for limit in limits(budget, model, table[0], metric))
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
    """The record of a finished run in the folder `out`."""
    metric = task["metric"]
    table = rows(results, out)
    choice = choose(spec.budget, table, metric)
    teach, distil, measure = results["teach"], results["distil"], results["measure"]
    return Run(
        attar=__version__,
        name=spec.name,
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        task=task,
        recipe=spec.model_dump(mode="json"),
        machine=measure["machine"],
        provenance=provenance,
        stages=[Stage.model_validate(one) for one in stages],
        training=[Training.model_validate(one) for one in (*teach["training"], *distil["training"])],
        models=table,
        shares={model.name: shares(out / str(model.file)) for model in [*table[:2], *([choice] if choice else [])]},
        layer_times=measure["layer_times"],
        checks=[Check.model_validate(one) for one in results["verify"]["checks"]],
        limits=limits(spec.budget, choice, table[0], metric) if choice else [],
        choice=choice.name if choice else None,
        notes=_notes(spec, results),
    )


def _notes(spec: Recipe, results: Results) -> list[str]:
    """Conditions that a reader must know."""
    notes = [f"not measured: {line}" for line in results["measure"]["failures"]]
    for split, count in results["teach"]["truncated"].items():
        if count:
            total = results["teach"]["rows"][split]
            notes.append(f"{count} of {total} {split} texts were cut to {spec.task.max_length} pieces")
    if spec.task.limit:
        notes.append(f"trained on {spec.task.limit} training rows (task.limit)")
    return notes

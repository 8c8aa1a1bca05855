"""From the results of the stages to the run record."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..export.manifest import HEADS
from ..recipe import Recipe
from . import judging, machine, road
from .inspection import reads_all, shares
from .record import Check, Cost, Model, Run, Stage, Training

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
    choice = judging.choose(spec.budget, table, metric, spec.task.max_length)
    measure = results.get("measure", {})
    curves = [one for found in results.values() for one in found.get("training", [])]
    shown = [model for model in table if model.role != "artefact" or model is choice]
    whole = reads_all(HEADS.get(task["kind"]))
    found = Run(
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
        limits=judging.limits(spec.budget, choice, table, metric) if choice else [],
        choice=choice.name if choice else None,
        notes=_notes(spec, task, results),
    )
    return found.model_copy(update={"advice": judging.advice(found)})


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

"""A run: its stages, what each needs, what can be reused.

- A stage's key is the digest of its version, its part of the recipe, its inputs and the keys of the stages before it.
  Same key: its folder is reused, from this run or from a sibling run (runs that differ in the student share a teacher).
- A stage builds in `.work-NAME` and is renamed when whole; then its key and results are written to `stages/NAME.json`.
  A killed run finds its work folder, with the checkpoints in it, and continues; work of another key is thrown away.
- A stage's version is raised when its code changes what it makes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from . import recipe
from .errors import AttarError
from .files import (
    copy_folder,
    explain_os_errors,
    locked,
    read_json,
    replace_folder,
    value_digest,
    write_json,
    write_text,
)
from .recipe import Recipe
from .tasks import data as rows
from .tasks.encoding import Encoder
from .tasks.text import TextTask

Progress = Callable[[str, float, str], None]


@dataclass
class Context:
    """What the stages of one run share."""

    recipe: Recipe
    out: Path
    progress: Progress
    keys: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    finished: Callable[[str, float, bool], None] = lambda name, seconds, reused: None
    command: str = ""
    _outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def data(self) -> rows.Data:
        """The rows of the task."""
        return rows.load(self.recipe.task, self.recipe.seed)

    @cached_property
    def task(self) -> TextTask:
        """The task, with the classes of its training rows."""
        return TextTask(self.recipe.task, self.data.train)

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer that teacher, student and artefacts share."""
        return Encoder(self.out / "teacher" / "tokenizer.json", self.recipe.task.max_length)

    @cached_property
    def splits(self) -> dict[str, rows.Encoded]:
        """The splits that are scored, encoded."""
        return {name: rows.encode(found, self.task, self.encoder) for name, found in self.data.splits().items()}

    def outputs(self, role: str) -> dict[str, Any]:
        """Logits of the saved teacher or student on every split, from the folder as anybody would load it."""
        from .teachers import checkpoint, finetune

        if role not in self._outputs:
            model = checkpoint.classifier(self.out / role)
            pad = self.encoder.pad_id
            self._outputs[role] = {
                name: finetune.answers(model, encoded.features, pad) for name, encoded in self.splits.items()
            }
        return self._outputs[role]

    def reload_check(self) -> dict[str, Any]:
        """Does the saved student, loaded with `from_pretrained`, score what it scored when it was trained?"""
        trained = self.results["distil"]["scores"]
        loaded = {n: self.task.score(logits, self.splits[n].targets) for n, logits in self.outputs("student").items()}
        same = all(abs(loaded[n][m] - trained[n][m]) < 1e-6 for n in trained for m in trained[n])
        detail = ", ".join(f"{n} {self.task.metric} {100 * loaded[n][self.task.metric]:.2f}" for n in loaded)
        return {"name": "student: reloads with from_pretrained to the same scores", "passed": same, "detail": detail}

    def task_card(self) -> dict[str, Any]:
        """The task as records and bundles state it."""
        counts = {name: len(found) for name, found in vars(self.data).items() if found}
        task = self.task
        return {"kind": task.kind, "metric": task.metric, "labels": task.labels, "pair": task.pair, "rows": counts}

    def provenance(self) -> dict[str, Any]:
        """Where the model and its data came from."""
        teach = self.results["teach"]
        return {
            "teacher": teach["source"],
            "teacher_licence": teach["licence"],
            "teacher_weights": teach["weights"],
            "data": self.data.digests(),
            "recipe": value_digest(self.recipe.model_dump(mode="json")),
        }


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    folder: str
    version: int
    needs: tuple[str, ...]
    inputs: Callable[[Context], Any]  # what the key depends on beside the needs
    build: Callable[[Context, Path], dict[str, Any]]  # fills the folder, gives the results
    shared: bool = True  # may be taken from a sibling run


def _teach_inputs(context: Context) -> Any:
    from .teachers import checkpoint

    source = checkpoint.locate(context.recipe.teacher.model)
    return {
        "teacher": context.recipe.teacher.model_dump(mode="json", exclude={"model"}),
        "weights": checkpoint.digest(source),
        "task": context.recipe.task.model_dump(mode="json", include={"kind", "metric", "max_length", "label_names"}),
        "data": context.data.digests(),
        "seed": context.recipe.seed,
    }


def _teach(context: Context, folder: Path) -> dict[str, Any]:
    from .teachers import teach

    return teach.teach(context.recipe, context.data, context.task, folder, context.progress)


def _distil_inputs(context: Context) -> Any:
    return {
        "student": context.recipe.student.model_dump(mode="json"),
        "distil": context.recipe.distil.model_dump(mode="json"),
    }


def _distil(context: Context, folder: Path) -> dict[str, Any]:
    from .compress import distil

    return distil.distil(context.recipe, context.data, context.task, context.out / "teacher", folder, context.progress)


def _export_inputs(context: Context) -> Any:
    return context.recipe.export.model_dump(mode="json", exclude={"tolerance"})


def _export(context: Context, folder: Path) -> dict[str, Any]:
    from .export import artefacts

    results = artefacts.make(
        context.recipe.export, context.out / "teacher", context.out / "student", folder, context.progress
    )
    artefacts.write_golden(
        folder / artefacts.GOLDEN, context.data.dev, context.splits["dev"].features, context.outputs("student")["dev"]
    )
    return results


def _verify(context: Context, folder: Path) -> dict[str, Any]:  # noqa: ARG001 - the results are the stage's note
    from .export import proof

    results = proof.prove(
        context.recipe,
        context.task,
        context.splits,
        {role: context.outputs(role) for role in ("teacher", "student")},
        context.results["export"]["artefacts"],
        {role: context.results[stage]["parameters"] for role, stage in (("teacher", "teach"), ("student", "distil"))},
        context.out / "artefacts",
        context.encoder.pad_id,
        context.progress,
    )
    results["checks"].insert(0, context.reload_check())
    return results


def _measure(context: Context, folder: Path) -> dict[str, Any]:  # noqa: ARG001 - the results are the stage's note
    from .benchmarks import measurement
    from .benchmarks.record import Model

    texts = [(row.text, row.text_pair) for row in context.data.dev]
    models = [Model.model_validate(values) for values in context.results["verify"]["models"]]
    tokenizer = context.out / "student" / "tokenizer.json"
    return measurement.measure(context.recipe.measure, models, tokenizer, texts, context.out, context.progress)


def _bundle(context: Context, folder: Path) -> dict[str, Any]:
    from .benchmarks import assembly
    from .export import package

    task = context.task_card()
    table = assembly.rows(context.results, context.out)
    return package.pack(
        context.recipe.name,
        task,
        table,
        assembly.choose(context.recipe.budget, table, task["metric"]),
        context.results["export"]["artefacts"],
        context.recipe.task.max_length,
        context.encoder.pad_id,
        context.provenance(),
        context.out,
        folder,
    )


STAGES = (
    Stage("teach", "teacher", 1, (), _teach_inputs, _teach),
    Stage("distil", "student", 1, ("teach",), _distil_inputs, _distil),
    Stage("export", "artefacts", 1, ("teach", "distil"), _export_inputs, _export),
    Stage("verify", "verification", 1, ("export",), lambda c: {"tolerance": c.recipe.export.tolerance}, _verify),
    Stage("measure", "measurement", 1, ("verify",), lambda c: c.recipe.measure.model_dump(), _measure, False),
    Stage("bundle", "bundle", 1, ("measure",), lambda c: [c.recipe.name, c.recipe.budget.model_dump()], _bundle, False),
)


def run(
    spec: Recipe,
    out: Path,
    *,
    until: str = "bundle",
    progress: Progress = lambda what, done, remark: None,
    finished: Callable[[str, float, bool], None] = lambda name, seconds, reused: None,
    command: str = "",
) -> Context:
    """Run the stages up to `until` (all of them by default); finished ones are reused.

    A whole run ends with `run.json`, `report.html` and `report.md` in the run's folder.
    """
    context = Context(spec, out, progress, finished=finished, command=command)
    with locked(out):
        _prepare(context)
        try:
            for stage in STAGES:
                _perform(context, stage)
                if stage.name == until:
                    break
        finally:  # where no artefact passed there is no bundle, and the report says why
            if until == STAGES[-1].name and "measure" in context.results:
                _report(context)
    return context


def _report(context: Context) -> None:
    """The record, for scripts, and the report, for people."""
    from .benchmarks import assembly, record, report

    found = assembly.assemble(
        context.recipe,
        context.task_card(),
        context.results,
        context.stages,
        context.provenance(),
        context.out,
        context.command,
    )
    record.save(found, context.out / "run.json")
    write_text(context.out / "report.html", report.html([found]))
    write_text(context.out / "report.md", report.markdown([found]))


def _prepare(context: Context) -> None:
    """Read all input first, so that a wrong column is told before anything is trained."""
    import torch

    torch.set_num_threads(context.recipe.threads or torch.get_num_threads())
    torch.use_deterministic_algorithms(True, warn_only=True)
    for examples in context.data.splits().values():
        context.task.targets(examples)
    write_text(context.out / "recipe.yaml", recipe.dump(context.recipe))


def _perform(context: Context, stage: Stage) -> None:
    """Reuse the stage, take it from a sibling run, or build it."""
    key = value_digest(
        {
            "stage": stage.name,
            "version": stage.version,
            "inputs": stage.inputs(context),
            "needs": [context.keys[name] for name in stage.needs],
        }
    )
    context.keys[stage.name] = key
    reused = _has(context.out, stage, key)
    if not reused:
        runs = (run for run in sorted(context.out.parent.iterdir()) if run.is_dir() and _has(run, stage, key))
        sibling = next(runs, None)
        if sibling and stage.shared:
            copy_folder(sibling / stage.folder, context.out / stage.folder)
            write_json(_note(context.out, stage), read_json(_note(sibling, stage)))
            reused = True
        else:
            _build(context, stage, key)
    note = read_json(_note(context.out, stage))
    context.results[stage.name] = note["results"]
    context.stages.append({"name": stage.name, "key": key, "seconds": note["seconds"], "reused": reused})
    context.finished(stage.name, note["seconds"], reused)


def _note(run: Path, stage: Stage) -> Path:
    """Where a finished stage's key and results stand: beside the folders, which hold nothing but what they are for."""
    return run / "stages" / f"{stage.name}.json"


def _has(run: Path, stage: Stage, key: str) -> bool:
    note = _note(run, stage)
    return note.is_file() and (run / stage.folder).is_dir() and read_json(note).get("key") == key


def _build(context: Context, stage: Stage, key: str) -> None:
    """Build in the work folder, continuing what a killed run left there, and rename when whole."""
    work, mark = context.out / f".work-{stage.name}", context.out / f".work-{stage.name}.json"
    before = 0.0
    if work.is_dir() and mark.is_file() and read_json(mark)["key"] == key:
        before = read_json(mark)["seconds"]
    else:
        shutil.rmtree(work, ignore_errors=True)
        with explain_os_errors(work):
            work.mkdir(parents=True)
        write_json(mark, {"key": key, "seconds": 0.0})
    started = time.monotonic()
    try:
        with explain_os_errors(work):
            results = stage.build(context, work)
    except AttarError as error:
        write_json(mark, {"key": key, "seconds": before + time.monotonic() - started})
        error.where = error.where or stage.name
        raise
    except Exception as error:
        if "No space left" in str(error):  # libraries wrap the system's error in their own
            raise AttarError("the disk is full", where=str(work), fix="free some space and repeat") from error
        raise
    seconds = before + time.monotonic() - started
    shutil.rmtree(work / "checkpoints", ignore_errors=True)
    note = _note(context.out, stage)
    note.unlink(missing_ok=True)  # from here to the new note the stage is not there
    replace_folder(work, context.out / stage.folder)
    write_json(note, {"stage": stage.name, "key": key, "seconds": seconds, "results": results})
    mark.unlink()

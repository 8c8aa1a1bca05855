"""The stages that make a student: on plain text, with changed copies of the rows, on the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..context import GENERAL, Context
from ..recipe import Recipe, Step
from ..tasks import augmentation
from ..tasks import corpus as corpora
from ..tasks.data import digest
from .stage import Stage, stated

AUGMENTED = "augmented"
TEACHER_CACHE = ".teacher-cache"  # beside the runs
ANSWERS = ".teacher-answers"  # in the run, until it is done


def _general_inputs(context: Context) -> Any:
    """The teacher before its task: runs of several tasks share what was distilled from it."""
    from ..teachers import checkpoint

    spec = context.recipe
    assert spec.distil.general is not None
    return {
        "student": spec.student.model_dump(mode="json"),
        "general": stated(spec.distil.general),
        "corpus": context.general_corpus.digest(),
        "weights": checkpoint.digest(context.source),
        "seed": spec.seed,
    }


def _general(context: Context, folder: Path) -> dict[str, Any]:
    from ..compress import general

    spec = context.recipe
    assert spec.distil.general is not None
    return general.distil(
        spec.student,
        spec.distil.general,
        context.source,
        spec.seed,
        folder,
        context.general_corpus,
        context.progress,
        context.processes,
    )


def _augment_inputs(context: Context) -> Any:
    from ..compress import augment

    spec = context.recipe
    assert spec.distil.augment is not None
    return {
        **augment.inputs(spec.distil.augment, context.source),
        "task": spec.task.model_dump(mode="json", include={"text", "text_pair", "label", "max_length"}),
        "rows": digest(context.lessons),
        "seed": spec.seed,
    }


def _augment(context: Context, folder: Path) -> dict[str, Any]:
    from ..compress import augment

    return augment.augment(context.recipe, context.source, context.lessons, folder, context.progress)


def _distil_inputs(context: Context) -> Any:
    if context.recipe.language:
        return {}  # the student is what `general` left
    return {
        "student": context.recipe.student.model_dump(mode="json"),
        "distil": stated(context.recipe.distil, "augment", "general"),  # stages of their own, whose keys are needs
    }


def _distil(context: Context, folder: Path) -> dict[str, Any]:
    from ..compress import distil, language

    spec, teacher = context.recipe, context.out / "teacher"
    if spec.language:
        return language.student(context.out / GENERAL, context.results["teach"], context.data, folder, context.progress)
    data = replace(context.data, train=[*context.lessons, *(_copies(context) if spec.distil.augment else [])])
    general = context.out / GENERAL if spec.distil.general else None
    shared, kept = _shared(context), _kept(context)
    return distil.distil(
        spec, data, context.task, teacher, folder, context.progress, general, shared, kept, context.processes
    )


def _shared(context: Context) -> Path | None:
    """Where students of several runs keep what their teacher says, if they do."""
    return context.out.resolve().parent / TEACHER_CACHE if context.recipe.distil.cache.shared else None


def _kept(context: Context) -> Path:
    """Where what the teacher answers is kept."""
    return _shared(context) or context.out / ANSWERS


def _copies(context: Context) -> Sequence[augmentation.Row]:
    """The changed copies of the training rows."""
    return augmentation.read(context.out / AUGMENTED / augmentation.NAME, context.recipe.task)


GENERALLY = Stage(
    "general",
    GENERAL,
    2,
    (),
    _general_inputs,
    _general,
    wanted=lambda spec: spec.distil.general is not None,
    together=lambda spec: True,
)


def _grid(step: Step, spec: Recipe) -> dict[str, Any]:
    """What `quantize` takes from the part `export`."""
    if step.quantize is None:
        return {}
    from ..compress import grids

    return {"grid": asdict(grids.of(step.quantize, spec.export))}


def of_step(number: int, spec: Recipe) -> Stage:
    """The stage of the step of `compress` with this number, from 0."""
    step, name = spec.compress[number], spec.steps[number]
    maker, copies = spec.student_stages[number], bool(step.heal and step.heal.augment)

    def inputs(context: Context) -> Any:  # noqa: ARG001 - a stage's interface
        corpus = {"corpus": corpora.of(step.trim.corpus).digest()} if step.trim and step.trim.corpus else {}
        # what was made before words were compared, of the rows in step alone, is another student
        words = {"compared": "by word"} if step.heal and spec.task.kind == "token_classification" else {}
        return {"step": stated(step), "seed": spec.student_seed, **corpus, **words, **_grid(step, spec)}

    def build(context: Context, folder: Path) -> dict[str, Any]:
        from ..compress import steps
        from ..compress.pair import Heads

        left = context.results[maker].get("heads")
        return steps.take(
            spec,
            step,
            name,
            replace(context.data, train=context.lessons),
            context.task,
            context.out / "teacher",
            context.out / spec.folder_of(maker),
            context.results[maker]["layers"],
            folder,
            context.progress,
            _kept(context),
            _copies(context) if copies else [],
            Heads(**left) if left else None,
            context.processes,
        )

    version = 3 if step.prune and step.prune.heads else 2 if step.prune and step.prune.layers else 1
    needs = ("teach", *(["augment"] if copies else []), maker)
    learns = step.heal is not None
    return Stage(name, spec.folder_of(name), version, needs, inputs, build, together=lambda spec: learns)


AUGMENT = Stage(
    "augment", AUGMENTED, 1, (), _augment_inputs, _augment, wanted=lambda spec: spec.distil.augment is not None
)
DISTIL = Stage(
    "distil",
    "student",
    3,
    ("teach", "general", "augment"),
    _distil_inputs,
    _distil,
    together=lambda spec: not spec.language,
)

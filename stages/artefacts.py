"""The stages that make, prove, measure and pack what a device runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..context import Context
from ..errors import AttarError
from ..tasks.encoding import Features
from .stage import Stage, stated

if TYPE_CHECKING:
    from ..benchmarks.record import Model


def _export_inputs(context: Context) -> Any:
    return stated(context.recipe.export, "tolerance")


def _export(context: Context, folder: Path) -> dict[str, Any]:
    from ..export import golden, language

    teacher, student = context.folder("teacher"), context.student
    if context.recipe.language:
        return language.make(context.recipe, context.data, teacher, student, folder, context.progress)
    results = files(context, folder, teacher)
    dev = context.splits("student")["dev"]
    examples = golden.examples(context.form, context.data.dev, dev, context.outputs("student")["dev"])
    golden.write(folder / golden.NAME, examples)
    return results | {"inferences": len(dev.features) / dev.count}


def files(context: Context, folder: Path, teacher: Path | None) -> dict[str, Any]:
    """Fill `folder` with the student's artefacts, and with the teacher's where one is given; gives their cards."""
    from ..export import artefacts, calibration

    spec, rows = (
        context.recipe.export,
        calibration.Rows(lambda: _calibration(context), context.encoder("student").pad_id),
    )
    return artefacts.make(spec, context.task.head, teacher, context.student, folder, context.progress, rows)


def _calibration(context: Context) -> list[Features]:
    """What quantizers calibrate on: rows that the student learnt from, as it read them."""
    from ..export import calibration

    rows = calibration.draw(context.lessons, context.recipe.export.calibration.rows, context.recipe.seed)
    return context.task.encode(rows, context.encoder("student")).features


def _verify_inputs(context: Context) -> Any:
    """The runtimes are inputs: one that was missing or of another version may judge otherwise."""
    from ..export.bundle import installed
    from ..export.processors import kind_here
    from ..export.runtimes import DISTRIBUTIONS

    spec, runtimes = context.recipe.export, {name: installed(name) for name in DISTRIBUTIONS}
    kind = {"processor": kind_here()} if "dot-product" in spec.processors else {}
    return {"tolerance": spec.tolerance, "runtimes": runtimes, **kind}


def _verify(context: Context, folder: Path) -> dict[str, Any]:  # noqa: ARG001 - the results are the stage's note
    from ..export import language, proof

    makers = {"teacher": context.results["teach"], "student": context.results[context.recipe.student_stage]}
    parameters = {role: found["parameters"] for role, found in makers.items()}
    cards, folders = context.results["export"]["artefacts"], {role: context.folder(role) for role in makers}
    if context.recipe.language:
        scores, files = {role: found["scores"] for role, found in makers.items()}, context.out / "artefacts"
        return language.prove(context.recipe, context.data, folders, scores, cards, parameters, files, context.progress)
    results = proof.prove(
        context.recipe,
        context.task,
        context.form,
        context.data.dev,
        {role: context.splits(role) for role in makers},
        {role: context.outputs(role) for role in makers},
        cards,
        parameters,
        context.out / "artefacts",
        {role: context.encoder(role) for role in makers},
        context.progress,
    )
    results["checks"].insert(0, context.reload_check())
    return results


def _measure_inputs(context: Context) -> Any:
    """Times belong to a machine; another one is known by its target's word alone."""
    from ..benchmarks import machine

    here = context.recipe.measure.target == "local"
    own = {"machine": [machine.processor(), machine.cores()]} if here else {}
    return {"measure": stated(context.recipe.measure), **own}


def _measure(context: Context, folder: Path) -> dict[str, Any]:
    from ..benchmarks import compare, machine, measurement
    from ..benchmarks.record import Model

    if context.recipe.language:
        return {"failures": ["the latency of a generated piece"], "machine": machine.describe()}
    models = [Model.model_validate(values) for values in context.results["verify"]["models"]]
    sequences, pad_id = context.splits("student")["dev"].features, context.encoder("student").pad_id
    road = _road(context, models, folder)
    with measurement.target(context.recipe.measure).open() as host:
        found = measurement.measure(
            context.recipe.measure,
            models,
            sequences,
            pad_id,
            context.out,
            context.progress,
            road,
            whole=context.task.head in compare.WHOLE,
            host=host,
        )
    for file in folder.glob("*.onnx"):
        file.unlink()
    return found


def _road(context: Context, models: Sequence[Model], folder: Path) -> dict[str, Path]:
    """The student after each stage that made it smaller, as ONNX files; one that fails is not timed.

    The last is an artefact, if the recipe asks for it in float32; the others are written to the folder.
    """
    from ..export import onnx

    spec, files = context.recipe, {}
    whole = [m for m in models if (m.of, m.precision, m.status, m.runtime) == ("student", "fp32", "ok", "onnxruntime")]
    exported = next((context.out / str(m.file) for m in whole if str(m.file).endswith(".onnx")), None)
    for stage in spec.student_stages if spec.compress else []:
        if exported and stage == spec.student_stages[-1]:
            files[stage] = exported
            continue
        file = folder / f"{stage}.onnx"
        with contextlib.suppress(AttarError):
            onnx.export_fp32(context.out / spec.folder_of(stage), file, context.task.head)
            files[stage] = file
    return files


def _bundle_inputs(context: Context) -> Any:
    """The bundle says which recipe and which attar made it: with another of either its bytes are others."""
    return {"provenance": context.provenance(), "attar": __version__}


def _bundle(context: Context, folder: Path) -> dict[str, Any]:
    from ..benchmarks import assembly, judging
    from ..export import language, package

    lm = context.recipe.language
    task = language.task_card(context.student) if lm else context.bundle_card()
    longest = task.language.positions if task.language else context.recipe.task.max_length
    table = assembly.rows(context.recipe, context.results, context.out)
    return package.pack(
        context.recipe.name,
        task,
        table,
        judging.choose(context.recipe.budget, table, task.metric, longest),
        context.results["export"]["artefacts"],
        longest,
        context.encoder("student").pad_id,
        context.provenance() | {"measured_on": context.results["measure"]["machine"]},
        context.out,
        context.student,
        folder,
        "" if lm else _readme(context),  # a card's scores are shares of rows, and a perplexity is none
    )


def _readme(context: Context) -> str:
    """The model card, with the figures that the run's report will show; the same stages give the same bytes."""
    from ..benchmarks import assembly, card

    words = (context.recipe, context.task_card(), context.results, context.stages, context.provenance(), context.out)
    return card.text(assembly.assemble(*words).model_copy(update={"created": ""}), ".")


EXPORT = Stage("export", "artefacts", 4, ("teach", "distil"), _export_inputs, _export)
VERIFY = Stage("verify", "verification", 3, ("export",), _verify_inputs, _verify)
MEASURE = Stage("measure", "measurement", 3, ("verify",), _measure_inputs, _measure, False)
BUNDLE = Stage("bundle", "bundle", 4, ("measure",), _bundle_inputs, _bundle, False)

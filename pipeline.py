"""A run: its stages, what each needs, what can be reused.

- A stage's key is the digest of its version, its part of the recipe, its inputs and the keys of the stages before it.
  Same key: it is reused, from this run or from a sibling run (`slots`), so runs that differ in the student share a
  teacher.
- Where several processes were started (`processes`), the first one is the run; the others help it with the stages that
  learn (`Stage.together`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import recipe, stages
from .context import Context, Progress
from .errors import AttarError, UsageError
from .files import locked, read_json, value_digest, write_text
from .recipe import SMALLER, Recipe
from .slots import Slot, obtain
from .stages import ANSWERS, BUNDLE, Stage
from .tasks import triples

OF_TEACHERS = ("pretrain", "knowledge", "teach")
MEASURED = ("measure", "bundle")


def run(
    spec: Recipe,
    out: Path,
    *,
    until: str = "bundle",
    progress: Progress = lambda what, done, remark: None,
    finished: Callable[[str, float, bool], None] = lambda name, seconds, reused: None,
    command: str = "",
    beside: Sequence[Path] = (),
    searched: bool = False,
    trims: bool | None = None,
) -> Context:
    """Run the stages up to `until` (all of them by default); finished ones are reused.

    They are looked for in this run, in the runs of the same folder, and in those of the folders `beside`. The word
    `student` stands for the last stage that makes the student. Where its student was `searched` for, whether anything
    can meet the budget was seen there; a search that begins says whether a student of its space `trims` its vocabulary.

    A run with a teacher ends with `run.json` and the report in its folder: how far it came.
    """
    until = spec.student_stage if until == SMALLER else until
    others = (out.parent, *beside)
    context = Context(spec, out, progress, finished=finished, command=command, beside=others)
    if not context.processes.first:
        return _help(context)
    if trims is None and not searched and until not in OF_TEACHERS:
        trims = any(step.trim for step in spec.compress)
    whole_road = stages.of(spec)
    together = [stage for stage in whole_road if stage.together(spec)]
    _refuse_foreign(out)
    with context.processes.joined(), locked(out):
        _prepare(context)
        if until in MEASURED:
            reach(spec)
        whole = until == BUNDLE.name
        try:
            for number, stage in enumerate(whole_road, 1):
                if stage.name != "pretrain" and not context.keys.keys() - {"pretrain"}:
                    _begin(context, until, trims)
                _perform(context, stage, number)
                if stage is together[-1]:
                    context.processes.leave()
                if stage.name == until:
                    break
            if whole:
                shutil.rmtree(out / ANSWERS, ignore_errors=True)
        except UsageError:
            whole = False  # a slip made nothing that a record could tell: one that is there stays
            raise
        finally:  # where no artefact passed there is no bundle, and the report says why
            # A record that is there tells of stages beyond `until` that stand: `_outdate` removes it where they do not.
            if "teach" in context.results and (whole or not (out / "run.json").is_file()):
                _report(context)
    return context


def _begin(context: Context, until: str, trims: bool | None) -> None:
    """What no teacher can make good is a slip: tell it before the teacher is trained.

    That is a student that its teacher cannot have, a step of `compress` that this student cannot have, and a limit that
    no vocabulary meets.
    """
    if until not in OF_TEACHERS:
        from . import students
        from .compress import rehearsal

        students.check(context.recipe.student, context.origin)
        if trims is not None:
            rehearsal.rehearse(context.recipe, context.origin, context.task)
    if trims is not None:
        _affordable(context.recipe, context.origin, trims)


def reach(spec: Recipe) -> None:
    """Raise `AttarError` where the machine that is to measure does not answer: before anything is trained for it."""
    from .benchmarks import measurement

    with measurement.target(spec.measure).open():
        pass


def _help(context: Context) -> Context:
    """What a process does that is not the first: it trains where the first one calls it, and has no results."""
    whole_road = stages.of(context.recipe)
    context.progress = lambda what, done, remark: None
    with context.processes.joined():
        while number := context.processes.called():
            _settle(context.recipe)
            *finished, stage = whole_road[:number]
            for before in finished:
                context.results[before.name] = read_json(_slot(context, before).note)["results"]
            stage.build(context, _slot(context, stage).work)
        context.processes.leave()
    return context


def _refuse_foreign(out: Path) -> None:
    """A run replaces folders such as `teacher/`: not in a folder that holds somebody's other work."""
    if out.is_dir() and any(out.iterdir()) and not (out / "stages").is_dir() and not (out / ".lock").is_file():
        raise UsageError("the folder holds other things than a run", where=str(out), fix="name a new folder with --out")


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
    if context.recipe.language:
        return  # the report is about scores that are shares of rows, and a perplexity is none
    report.write(found, context.out)


def _prepare(context: Context) -> None:
    """Read all input first, so that a wrong column is told before anything is trained."""
    _settle(context.recipe)
    for examples in context.data.splits().values():
        context.task.check(examples)
    if context.recipe.knowledge:
        triples.load(context.recipe.knowledge.graph)
    if context.recipe.distil.augment:
        from .compress import augment

        augment.check(context.recipe.distil.augment)
    write_text(context.out / "recipe.yaml", recipe.dump(context.recipe))


def _affordable(spec: Recipe, source: Path, trims: bool) -> None:
    """A limit under the vocabulary's own bytes is a slip, such as kB for MB.

    Where a student `trims` its vocabulary, it is judged by the smallest that can be left of that of `source`.
    Raises `UsageError` for such a limit.
    """
    if (limit := spec.budget.max_size) is None:
        return
    from .teachers import checkpoint

    with tempfile.TemporaryDirectory() as space:
        checkpoint.save_tokenizer(source, Path(space))
        taken = (Path(space) / "tokenizer.json").stat().st_size
    if limit >= taken:
        return
    what, fix = "the tokenizer alone takes", "allow more, or add a step `trim` to `compress`"
    if trims:
        what, fix = "the smallest tokenizer that `trim` can leave takes", "allow more: no student is so small"
        taken = _least(source)
    if limit < taken:
        where = "budget.max_size"
        raise UsageError(f"the limit is {limit / 1e6:.3g} MB, and {what} {taken / 1e6:.3g} MB", where=where, fix=fix)


def _least(source: Path) -> int:
    """Bytes of the tokenizer with the pieces that every trimming keeps; 0 where it cannot be trimmed."""
    from .compress import rehearsal, trimming

    try:
        trimmed = rehearsal.least(source)
    except AttarError:
        return 0  # the step itself says what is wrong
    with tempfile.TemporaryDirectory() as space:
        trimming.save(trimmed, source, Path(space))
        return (Path(space) / "tokenizer.json").stat().st_size


def _settle(spec: Recipe) -> None:
    """The threads that the recipe asks for, and kernels that give the same bytes every time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # on a GPU too
    import torch

    from . import training

    training.keep_freed_memory()
    torch.set_num_threads(spec.threads or torch.get_num_threads())
    torch.use_deterministic_algorithms(True, warn_only=True)


def _slot(context: Context, stage: Stage) -> Slot:
    return Slot(context.out, stage.name, stage.folder)


def _perform(context: Context, stage: Stage, number: int) -> None:
    """Reuse the stage, take it from a sibling run, or build it; its number is what other processes know it by."""
    key = value_digest(
        {
            "stage": stage.name,
            "version": stage.version,
            "inputs": stage.inputs(context),
            "needs": [context.keys[name] for name in stage.needs if name in context.keys],  # those that are wanted
        }
    )
    context.keys[stage.name] = key

    def build(folder: Path) -> dict[str, Any]:
        with context.processes.together(number) if stage.together(context.recipe) else contextlib.nullcontext():
            return stage.build(context, folder)

    note, reused = obtain(
        _slot(context, stage),
        key,
        build,
        shared=context.beside if stage.shared else (),
        outdate=lambda: _outdate(context.out, stage),
    )
    context.results[stage.name] = note["results"]
    context.stages.append({"name": stage.name, "key": key, "seconds": note["seconds"], "reused": reused})
    context.finished(stage.name, note["seconds"], reused)


def _outdate(out: Path, stage: Stage) -> None:
    """A stage's content changes: the run's record and bundle, made from the former one, go."""
    from .benchmarks.report import FORMS

    for name in ("run.json", *FORMS):
        (out / name).unlink(missing_ok=True)
    last = Slot(out, BUNDLE.name, BUNDLE.folder)
    if stage.name != last.name:
        last.note.unlink(missing_ok=True)
        shutil.rmtree(last.content, ignore_errors=True)

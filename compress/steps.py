"""One step of `compress`: an operation on a trained student, and what heals it.

- A new operation is a file, and here the function that calls it and its line in `OPERATIONS`.
- An operation is one cut or several, each of which is healed before the next. What it writes into the new folder (a
  tokenizer) stands there before anything is healed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from .. import recipe, training
from ..processes import ALONE, Processes
from ..tasks.augmentation import Row
from ..tasks.data import Data
from ..tasks.encoding import Encoder
from ..tasks.lama import UNKNOWNS
from ..tasks.task import Task
from ..teachers import checkpoint, heads, layout
from . import evidence, factorizing, fake_quantization, grids, healing, pruning, sharing, trimming
from .pair import Heads


@dataclass(frozen=True)
class Patient:
    """The student that an operation is done to, and what it may look at."""

    model: PreTrainedModel
    folder: Path  # where it stands, with its tokenizer
    out: Path  # where the smaller one will stand
    data: Data
    task: Task
    max_length: int
    seed: int
    export: recipe.Export  # the files that will be made of it

    @property
    def encoder(self) -> Encoder:
        """Its tokenizer."""
        return Encoder(self.folder / "tokenizer.json", self.max_length)

    def evidence(self) -> evidence.Evidence:
        """What importance is measured on."""
        encoder = self.encoder
        return evidence.of_task(self.task, self.task.encode(self.data.train, encoder), encoder.pad_id, self.seed)


@dataclass(frozen=True)
class Smaller:
    """What a cut leaves."""

    model: PreTrainedModel
    layers: list[int] | None = None  # those that stayed, from 1, where not all did
    heads: list[list[int]] | None = None  # of each of them those that stayed, from 0, where not all did
    report: dict[str, Any] | None = None
    remarks: Sequence[str] = ()
    around: healing.Around = nullcontext  # what it heals within


Change = Callable[[PreTrainedModel], Smaller]


def _trim(plan: recipe.Trim, patient: Patient) -> list[Change]:
    encoder, dev = patient.encoder, patient.data.dev
    rows = patient.task.encode(patient.data.train, encoder).features
    trimmed = trimming.choose(plan, patient.folder / "tokenizer.json", rows, patient.max_length)
    trimming.save(trimmed, patient.folder, patient.out)
    fewer = Encoder(patient.out / "tokenizer.json", patient.max_length)
    before, after = (patient.task.encode(dev, one) for one in (encoder, fewer))
    found = trimming.report(trimmed, before, after, _unknown(encoder.tokenizer))
    return [
        lambda model: Smaller(trimming.trim(model, trimmed.kept), report=found, remarks=list(trimming.remarks(found)))
    ]


def _unknown(tokenizer: Tokenizer) -> int | None:
    """The number of the unknown piece."""
    names = (tokenizer.token_to_id(name) for name in UNKNOWNS)
    return next((number for number in names if number is not None), None)


def _factorize(plan: recipe.Factorize, patient: Patient) -> list[Change]:  # noqa: ARG001 - an operation's interface
    return [lambda model: Smaller(factorizing.factorize(model, plan))]


def _share(plan: recipe.Share, patient: Patient) -> list[Change]:
    return [lambda model: Smaller(sharing.share(model, plan, patient.evidence()))]


def _prune(plan: recipe.Prune, patient: Patient) -> list[Change]:
    seen = patient.evidence()

    def cut(goal: pruning.Goal, model: PreTrainedModel) -> Smaller:
        found = pruning.cut(model, goal, plan, seen)
        return Smaller(found.student, found.layers, found.heads)

    return [partial(cut, goal) for goal in pruning.goals(patient.model, plan)]


def _quantize(plan: recipe.Quantize, patient: Patient) -> list[Change]:
    grid = grids.of(plan, patient.export)
    return [lambda model: Smaller(model, around=partial(fake_quantization.fake_quantized, grid=grid))]


OPERATIONS: dict[str, Callable[[Any, Patient], list[Change]]] = {
    "trim": _trim,
    "factorize": _factorize,
    "share": _share,
    "prune": _prune,
    "quantize": _quantize,
}


def take(
    spec: recipe.Recipe,
    step: recipe.Step,
    name: str,
    data: Data,
    task: Task,
    teacher: Path,
    before: Path,
    layers: list[int],
    folder: Path,
    progress: training.Progress,
    kept: Path | None = None,
    copies: Sequence[Row] = (),
    heads_left: Heads | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Fill `folder` with what the step makes of the student in the folder `before`; gives its scores and size.

    `layers` is the teacher's layer, from 1, of each of the student's, `heads_left` what it has of its first heads. In
    `kept` stand the teacher's answers. `copies` are rows that it heals on beside those of the data, and that the
    operation does not look at. Of several `processes` all cut alike, and the first one fills the folder.
    """
    model, lessons = heads.load(task.head, before), replace(data, train=[*data.train, *copies])
    with processes.place(folder) as own:
        checkpoint.save_tokenizer(before, own)
        progress(name, 0.0, step.operation)
        patient = Patient(model, before, own, data, task, spec.task.max_length, spec.student_seed, spec.export)
        plan = step.heal or recipe.Healing(prediction=recipe.Prediction(epochs=0))
        curves, remarks, reports, found = [], [], [], {}
        cuts = OPERATIONS[step.operation](getattr(step, step.operation), patient)
        for number, cut in enumerate(cuts, 1):
            smaller = cut(model)
            heads_left = left(heads_left, model, smaller.layers, smaller.heads)
            model = smaller.model
            layers = layers if smaller.layers is None else [layers[stays - 1] for stays in smaller.layers]
            work = folder / "checkpoints" / str(number)
            found = healing.heal(
                spec,
                plan,
                lessons,
                task,
                teacher,
                model,
                layers,
                own,
                work,
                progress,
                name,
                kept,
                smaller.around,
                heads_left,
                processes,
            )
            curves += found["training"]
            remarks += [*smaller.remarks, *found["remarks"]]
            reports += [smaller.report] if smaller.report else []
    whole = found | {"training": curves, "remarks": remarks, "reports": reports}
    return whole if processes.first else {}


def left(
    before: Heads | None, model: PreTrainedModel, layers: Sequence[int] | None, stay: Sequence[Sequence[int]] | None
) -> Heads | None:
    """What is left of a student's first heads when `model`, which has `before`, is cut.

    `layers` of it stay, from 1, and in each of those the heads `stay`, from 0; None where all do.
    """
    depth, born = layout.shape(model).layers, layout.shape(model).heads
    if stay is None or not (before or any(len(heads) < born for heads in stay)):
        return before
    before = before or Heads(born, [list(range(born))] * depth)
    return Heads(
        before.born,
        [[before.left[n - 1][i] for i in heads] for n, heads in zip(layers or range(1, depth + 1), stay, strict=True)],
    )

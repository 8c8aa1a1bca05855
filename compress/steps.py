"""One step of `compress`: an operation on a trained student, and what heals it.

A new operation is a file and its line in `OPERATIONS`. It is given the student in a folder, and gives the smaller one;
what it writes into the new folder (a tokenizer) stands there before anything is healed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from .. import recipe, training
from ..tasks.data import Data
from ..tasks.encoding import Encoder
from ..tasks.task import Task
from ..teachers import checkpoint, heads
from . import healing, trimming


@dataclass(frozen=True)
class Patient:
    """The student that an operation is done to, and what it may look at."""

    model: PreTrainedModel
    folder: Path  # where it stands, with its tokenizer
    out: Path  # where the smaller one will stand
    layers: list[int]  # the teacher's layer, from 1, of each of its layers
    data: Data
    task: Task
    max_length: int

    @property
    def encoder(self) -> Encoder:
        """Its tokenizer."""
        return Encoder(self.folder / "tokenizer.json", self.max_length)


@dataclass(frozen=True)
class Smaller:
    """What an operation leaves."""

    model: PreTrainedModel
    layers: list[int]
    report: dict[str, Any]
    remarks: list[str]


def _trim(step: recipe.Step, patient: Patient) -> Smaller:
    assert step.trim is not None
    encoder, dev = patient.encoder, patient.data.dev
    rows = patient.task.encode(patient.data.train, encoder).features
    trimmed = trimming.choose(step.trim, patient.folder / "tokenizer.json", rows, patient.max_length)
    trimming.save(trimmed, patient.folder, patient.out)
    fewer = Encoder(patient.out / "tokenizer.json", patient.max_length)
    before, after = (patient.task.encode(dev, one).features for one in (encoder, fewer))
    found = trimming.report(trimmed, before, after, _unknown(encoder.tokenizer))
    return Smaller(trimming.trim(patient.model, trimmed.kept), patient.layers, found, list(trimming.remarks(found)))


def _unknown(tokenizer: Tokenizer) -> int | None:
    """The number of the unknown piece."""
    names = (tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>"))
    return next((number for number in names if number is not None), None)


OPERATIONS: dict[str, Callable[[recipe.Step, Patient], Smaller]] = {"trim": _trim}


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
) -> dict[str, Any]:
    """Fill `folder` with what the step makes of the student in the folder `before`; gives its scores and size."""
    model = heads.load(task.head, before)
    checkpoint.save_tokenizer(before, folder)
    progress(name, 0.0, step.operation)
    smaller = OPERATIONS[step.operation](step, Patient(model, before, folder, layers, data, task, spec.task.max_length))
    plan = step.heal or recipe.Healing(prediction=recipe.Prediction(epochs=0))
    found = healing.heal(spec, plan, data, task, teacher, smaller.model, smaller.layers, folder, progress, name)
    return found | {step.operation: smaller.report, "remarks": [*smaller.remarks, *found["remarks"]]}

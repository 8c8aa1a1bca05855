"""Students: their shapes and how each starts from its teacher. A new student is a file and its line here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..tasks.encoding import Arrays
from ..tasks.task import Task
from ..teachers import checkpoint, layout
from . import distilbert, distilgpt, tinybert
from .heads import Purpose, create

REGISTRY: dict[str, Any] = {"distilbert": distilbert, "tinybert": tinybert, "distilgpt": distilgpt}
OF_DECODERS = ("distilgpt",)


def check(spec: recipe.Student, source: Path) -> None:
    """Refuse, before anything is trained, a student that the teacher in `source` cannot have; no weights are read.

    Raises `UsageError` for a kind, for sizes or for a layer map that do not fit it.
    """
    with torch.device("meta"):
        _module(teacher := checkpoint.shapes(source), spec).configure(teacher, spec)


def untrained(spec: recipe.Student, source: Path, task: Task) -> PreTrainedModel:
    """A student of its shape with the task's head and random weights; those of the teacher in `source` are not read.

    Of the vocabulary only a few pieces are there, one more than the student is wide. Raises what `check` raises.
    """
    with torch.device("meta"):
        config = _module(teacher := checkpoint.shapes(source), spec).configure(teacher, spec)
    few = 1 + max(config.hidden_size, config.pad_token_id or 0)
    config.vocab_size = min(config.vocab_size, few)
    config.num_labels = len(task.labels) or task.outputs  # the checkpoint's are those of its own task
    return create(task.head, config)


def build(
    teacher: PreTrainedModel, spec: recipe.Student, head: Purpose = "sequence", rows: Sequence[Arrays] = ()
) -> PreTrainedModel:
    """A student of the stated kind with its teacher's head, started as the recipe says.

    `start: activations` looks at the teacher on training `rows`.

    Raises `UsageError` where the kind is no student of the teacher's family.
    """
    built: PreTrainedModel = _module(teacher, spec).build(teacher, spec, head, rows)
    return built


def _module(teacher: PreTrainedModel, spec: recipe.Student) -> Any:
    """The module of the kind, with `configure` and `build`."""
    kind = layout.kind(teacher.config)
    decoder = kind in checkpoint.DECODERS
    if decoder != (spec.kind in OF_DECODERS):
        fix = "set student.kind: distilgpt" if decoder else f"use one of {', '.join(checkpoint.DECODERS)}"
        raise UsageError(f"a {spec.kind} cannot be made from a {kind} teacher", where="student.kind", fix=fix)
    return REGISTRY[spec.kind]


def start(
    teacher: PreTrainedModel, spec: recipe.Student, head: Purpose, rows: Sequence[Arrays], general: Path | None = None
) -> PreTrainedModel:
    """A student that goes on from the one in the folder `general`, which learnt from plain text; without it, `build`.

    The head is the teacher's where the student has its width; else it is new, for which units a narrower student kept,
    its own training has since settled. Pieces that the teacher has learnt since are taken from it.
    """
    if general is None:
        return build(teacher, spec, head, rows)
    width = teacher.config.hidden_size
    kept = spec if spec.hidden_size in (None, width) else spec.model_copy(update={"start": "random"})
    student = build(teacher, kept, head, rows)
    before, _ = checkpoint.read(AutoModel, general, families=checkpoint.FAMILIES, new=checkpoint.NEW_HEAD)
    known = dict(before.named_parameters())
    with torch.no_grad():
        for name, weight in layout.encoder(student).named_parameters():
            if not name.startswith("pooler"):
                weight[: len(known[name])].copy_(known[name])
    return student

"""What a student is to learn and how it is cut is tried before anything is trained: no slip is told hours later.

- The steps of `compress` are tried on a student of the right shape with random weights and few pieces, by the
  operations themselves, so what cannot be is told in the same words. So are the losses, by the shapes of both.
- Nothing is learnt from data: a step that would weigh weights by training rows cuts those of the least magnitude. What
  rows and texts decide, such as the pieces that are left, is not known yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from .. import recipe, students
from ..tasks import corpus
from ..tasks.encoding import Features
from ..tasks.task import Task
from ..teachers import checkpoint
from . import answers, factorizing, general_losses, layers, pruning, sharing, trimming
from .evidence import Evidence

NOTHING = Features(input_ids=[0], token_type_ids=[0])


def rehearse(spec: recipe.Recipe, source: Path, task: Task) -> None:
    """Take the recipe's steps on an untrained student of the teacher in `source`, which learns that task.

    Raises `UsageError` for a loss that these two cannot have, for a step that the student, as the steps before it leave
    it, cannot have, and for texts that are not there.
    """
    with torch.device("meta"):
        teacher = checkpoint.shapes(source)
    with torch.random.fork_rng(devices=[]):  # whoever trains next draws what it would have drawn
        student = students.untrained(spec.student, source, task)
        if spec.distil.general:
            corpus.of(spec.distil.general.corpus)
            general_losses.check(teacher, student, spec.distil.general)
        if not spec.language:  # it learns from plain text alone
            _losses(teacher, student, task, spec.distil)
        for step in spec.compress:
            if step.trim:
                _vocabulary(step.trim, source)
            elif tried := TRIED.get(step.operation):
                student = tried(student, getattr(step, step.operation))
            if step.heal:
                _losses(teacher, student, task, step.heal)


def _losses(
    teacher: PreTrainedModel, student: PreTrainedModel, task: Task, plan: recipe.Distil | recipe.Healing
) -> None:
    if plan.intermediate and plan.intermediate.epochs:
        layers.check(teacher, student, plan.intermediate)
    answers.check(teacher, student, task, plan.prediction)


def _vocabulary(plan: recipe.Trim, source: Path) -> None:
    """The texts that it counts are there, and its limit leaves room for what every trimming keeps."""
    if plan.corpus:
        corpus.of(plan.corpus)
    if plan.pieces:
        least(source, plan.pieces)


def least(source: Path, pieces: int | None = None) -> trimming.Trimmed:
    """The smallest vocabulary that can be left of that of `source`; `UsageError` where it is more than `pieces`."""
    with tempfile.TemporaryDirectory() as space:
        checkpoint.save_tokenizer(source, Path(space))
        plan = recipe.Trim(coverage=1e-9, pieces=pieces)
        return trimming.choose(plan, Path(space) / "tokenizer.json", [NOTHING], max_length=1)


def _share(student: PreTrainedModel, plan: recipe.Share) -> PreTrainedModel:
    return sharing.share(student, plan.model_copy(update={"start": "first"}), Evidence())


def _prune(student: PreTrainedModel, plan: recipe.Prune) -> PreTrainedModel:
    plan = plan.model_copy(update={"importance": "magnitude"})
    return pruning.cut(student, pruning.goals(student, plan)[-1], plan, Evidence()).student


TRIED: dict[str, Callable[[PreTrainedModel, Any], PreTrainedModel]] = {
    "factorize": factorizing.factorize,
    "share": _share,
    "prune": _prune,
}

"""Steps of `compress` are tried before anything is trained: a slip in the last of them is not told hours later.

- They are tried on a student of the right shape with random weights and few pieces, by the operations themselves, so
  what cannot be is told in the same words.
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
from ..tasks.task import Head
from ..teachers import checkpoint
from . import factorizing, pruning, sharing, trimming
from .evidence import Evidence

NOTHING = Features(input_ids=[0], token_type_ids=[0])


def rehearse(spec: recipe.Recipe, source: Path, head: Head) -> None:
    """Take the recipe's steps on an untrained student of the teacher in `source`, which has that head.

    Raises `UsageError` for a step that this student, as the steps before it leave it, cannot have.
    """
    if not spec.compress:
        return
    with torch.random.fork_rng(devices=[]):  # whoever trains next draws what it would have drawn
        student = students.untrained(spec.student, source, head)
        for step in spec.compress:
            if step.trim:
                _vocabulary(step.trim, source)
            elif tried := TRIED.get(step.operation):
                student = tried(student, getattr(step, step.operation))


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

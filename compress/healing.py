"""What a student learns again after something was taken from it: its teacher's answers, and layers where asked.

- A student with another vocabulary than its teacher's reads a text in other pieces, so each reads with its own
  tokenizer. Answers for a whole text are learnt in any case, and answers for words piece by piece of each word; what is
  said of other pieces and what happens inside can be compared only on the rows that both read in as many pieces, and
  the others are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from .. import recipe, training
from ..errors import AttarError
from ..files import file_digest
from ..processes import ALONE, Processes
from ..tasks.data import Data
from ..tasks.encoding import Encoder
from ..tasks.task import Encoded, Task
from ..tasks.tokens import EncodedSentences
from ..teachers import checkpoint, heads
from . import distil
from .pair import Heads, Pair

Around = Callable[[PreTrainedModel], AbstractContextManager[Any]]  # what a student learns within


def heal(
    spec: recipe.Recipe,
    plan: recipe.Healing,
    data: Data,
    task: Task,
    teacher_folder: Path,
    student: PreTrainedModel,
    mapped: list[int],
    folder: Path,
    work: Path,
    progress: training.Progress,
    stage: str,
    kept: Path | None = None,
    around: Around = nullcontext,
    left: Heads | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Fill `folder`, which holds the student's tokenizer, with the healed student; gives its scores, size and curves.

    `mapped` is the teacher's layer, from 1, of each of the student's, and `left` what it has of its heads. Checkpoints
    stand in `work`, the teacher's answers in `kept`. The student learns within `around` it, and is saved as that
    leaves it. Of several `processes` the first one fills the folder; all have the curves.
    """
    seed = spec.student_seed
    torch.manual_seed(seed)
    teacher = heads.load(task.head, teacher_folder).to(training.device()).requires_grad_(False)
    ours, theirs = (Encoder(one / "tokenizer.json", spec.task.max_length) for one in (folder, teacher_folder))
    splits = {name: task.encode(rows, ours) for name, rows in data.splits().items()}
    train, lessons, places, remarks = task.encode(data.train, ours), None, None, []
    if file_digest(folder / "tokenizer.json") != file_digest(teacher_folder / "tokenizer.json"):
        lessons = task.encode(data.train, theirs)
        inside = _looks_inside(plan)
        if isinstance(train, EncodedSentences) and isinstance(lessons, EncodedSentences) and not inside:
            places = train.counterparts(lessons)
        elif inside or heads.HEADS[task.head].pieces:
            every = train.count
            train, lessons = in_step(train, lessons, stage)
            remarks = _left_out(every, train.count, stage)
    pair = Pair(
        teacher.eval(),
        student.to(training.device()),
        mapped,
        train,
        splits["dev"],
        task,
        ours.pad_id,
        seed,
        progress,
        checkpoint.digest(teacher_folder),
        lessons,
        theirs.pad_id,
        places,
        kept,
        left,
        processes,
    )
    with around(pair.student):
        curves = distil.learn(pair, plan, spec.distil.cache.states, work, stage=stage)
    left_there = distil.leave(pair, splits, folder, spec.task.max_length) if processes.first else {}
    return {"training": curves, "remarks": remarks, **left_there}


def _looks_inside(plan: recipe.Healing) -> bool:
    return (plan.intermediate is not None and plan.intermediate.epochs > 0) or plan.prediction.cosine > 0


def in_step(ours: Encoded, theirs: Encoded, stage: str) -> tuple[Encoded, Encoded]:
    """Of both the rows that they read in as many pieces."""
    kept = [
        number for number, (one, other) in enumerate(zip(_lengths(ours), _lengths(theirs), strict=True)) if one == other
    ]
    if not kept:
        raise AttarError(
            "no training row is read in as many pieces as before",
            where=stage,
            fix="keep more pieces, or heal by answers for whole texts alone",
        )
    return ours.of(kept)[0], theirs.of(kept)[0]


def _lengths(encoded: Encoded) -> list[list[int]]:
    """Pieces of each sequence, by the row that it belongs to."""
    return [[len(row.input_ids) for row in rows] for rows in encoded.grouped()]


def _left_out(every: int, kept: int, stage: str) -> list[str]:
    if kept == every:
        return []
    return [f"{stage}: healed on {kept:,} of {every:,} training rows, those that are read in as many pieces as before"]

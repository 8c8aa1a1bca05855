"""The phase `prediction`: the student learns what its teacher answers.

- The soft loss (TinyBERT, arXiv 1909.10351, eq. 10), the true labels where asked, and DistilBERT's cosine of the last
  hidden state (arXiv 1910.01108, section 2): soft, hard and cosine together are its triple loss, on a task.
- For embeddings the soft loss is the distance of directions; beside it, or in its place where the widths differ, stand
  the losses over the pairs of a batch (`embeddings`).
- The teacher's logits are computed once for all rows and kept (`cache`): no epoch pays for them again, nor does a later
  stage of the run that asks for the same rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from .. import recipe, training
from ..errors import UsageError
from ..recipe import in_words
from ..tasks.task import Batch, Task
from ..teachers import checkpoint, heads, layout
from . import states
from .cache import Cache, Kept, key
from .embeddings import info_nce, similarity_error
from .losses import cosine_error
from .pair import Pair
from .soft import soft_loss
from .states import Wanted
from .teacher_states import TeacherStates, stack


def check(teacher: PreTrainedModel, student: PreTrainedModel, task: Task, plan: recipe.Prediction) -> None:
    """Refuse a loss that these two, of which only the shapes are read, cannot have on this task."""
    wide, narrow = layout.shape(teacher).hidden, layout.shape(student).hidden
    if plan.cosine and wide != narrow:
        raise UsageError(
            f"the cosine of hidden states needs equal widths, and they are {wide} and {narrow}",
            where="distil.prediction.cosine",
            fix="use distil.intermediate.cosine, which learns a map into the teacher's width",
        )
    for name in ("soft", "contrastive"):
        if task.head == "embedding" and getattr(plan, name) and wide != narrow:
            raise UsageError(
                f"vectors are compared at equal widths, and they are {wide} and {narrow}",
                where=f"distil.prediction.{name}",
                fix=f"set {name}: 0 and similarity: 1, which compares cosines at any widths",
            )
    if plan.divergence == "reverse" and task.head in ("sequence", "embedding") and not task.labels:
        what = f"{in_words(task.kind)} has no probabilities to diverge"
        raise UsageError(what, where="distil.prediction.divergence")


def learn_answers(pair: Pair, plan: recipe.Prediction, folder: Path, allowed: float | None = None) -> training.State:
    """The prediction phase: every loss of the plan whose weight is not zero.

    `allowed` bytes on disk may hold the teacher's states, where a loss reads them; its logits are kept in any case.
    """
    check(pair.teacher, pair.student, pair.task, plan)
    torch.manual_seed(pair.seed + 1)
    reads = plan.soft or plan.similarity or plan.contrastive
    known = teacher_answers(pair, pair.kept or folder / "logits") if reads else None
    top, last = (frozenset({layout.shape(model).layers}) for model in (pair.teacher, pair.student))
    source = TeacherStates(pair, Wanted(hidden=top), folder, allowed) if plan.cosine else None

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        batch = pair.train.batch(rows, pair.pad_id)
        mask = torch.from_numpy(batch.inputs["attention_mask"]).to(pair.device)
        inputs, weight = pair.own(batch.inputs)
        with states.watching(pair.student, Wanted(hidden=last) if plan.cosine else Wanted()) as seen:
            logits = heads.feed(pair.student, pair.task.head, inputs).float()  # losses are means in float32
        logits = heads.gathered(logits, mask, pair.processes)
        found: training.Losses = {}
        if known is not None:
            numbers = pair.train.sequences(rows).tolist()
            theirs = stack([pair.placed(number, known[number]["logits"]) for number in numbers], pair.device)
            found |= _taught(pair, plan, logits, theirs, mask, batch)
        if plan.hard:
            hard = heads.hard_loss(logits, pair.task, batch)
            found["hard"] = plan.hard * torch.stack(list(hard.values())).sum()
        if source is not None:
            ours, theirs = (next(iter(of.hidden.values())) for of in (seen, source.of(rows)))
            own = torch.from_numpy(inputs["attention_mask"]).to(pair.device)
            error = plan.cosine * cosine_error(ours, theirs, own)
            found["cosine"] = pair.processes.part(error, own.sum(), weight)
        return found

    checkpoint.freeze_embeddings(pair.student, plan.freeze_embeddings)
    return training.fit(
        training.Job(
            "prediction",
            pair.student,
            loss,
            pair.train.lengths,
            plan,
            pair.seed + 1,
            folder,
            pair.task.metric,
            pair.evaluate,
            pair.progress,
            where=pair.train.where,
            processes=pair.processes,
        )
    )


def _taught(
    pair: Pair, plan: recipe.Prediction, ours: Tensor, theirs: Tensor, mask: Tensor, batch: Batch
) -> training.Losses:
    """The weighted losses of the student's logits against the teacher's."""
    found: training.Losses = {}
    if plan.soft:
        soft = soft_loss(pair.task, ours, theirs, mask, batch, plan.temperature, plan.divergence)
        found["soft"] = plan.soft * soft
    if plan.similarity:
        found["similarity"] = plan.similarity * similarity_error(ours, theirs)
    if plan.contrastive:
        found["contrastive"] = plan.contrastive * info_nce(ours, theirs, plan.contrastive_temperature)
    return found


def teacher_answers(pair: Pair, folder: Path) -> Cache:
    """The teacher's logits for every training sequence, (outputs,) or (pieces, outputs), kept below `folder`."""
    features = pair.lessons.features

    def make(first: int, end: int) -> list[Kept]:
        return [{"logits": np.asarray(one)} for one in pair.taught(features[first:end])]

    pieces = heads.HEADS[pair.task.head].pieces
    width = heads.width(pair.teacher, pair.task)
    each = [4 * width * (len(row.input_ids) if pieces else 1) for row in features]
    name = key(pair.digest, features, ["logits", pair.task.head])
    with pair.asking():
        return Cache(folder / name[:16], name, each, make, pair.progress, "teacher's answers", pair.processes)

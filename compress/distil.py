"""The stage `distil`: a student that learns a task from its teacher.

- Phase `intermediate` (TinyBERT, arXiv 1909.10351, eq. 7-9): embeddings, hidden states through learnt projections, and
  attention scores before the softmax, each student layer from its teacher layer. The teacher runs beside the student;
  its states are too many bytes to keep.
- Phase `prediction` (eq. 10): the teacher's logits, computed once for all rows and kept in the stage's folder,
  keyed by the teacher's weights, so no epoch pays for them again and a stale file is never used.
- Each phase has its own optimizer, as in the paper. Projections belong to the training and stay out of the student.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from .. import recipe, students, training
from ..errors import UsageError
from ..files import value_digest, write_bytes
from ..students.layer_map import resolve
from ..tasks.data import Data
from ..tasks.encoding import Encoder, Features
from ..tasks.task import Answers, Encoded, Task
from ..teachers import checkpoint, heads, layout
from ..teachers.teach import curve, judge
from . import attention, losses
from .soft import soft_loss


@dataclass
class Pair:
    """A teacher and its student, and what both are fed."""

    teacher: PreTrainedModel
    student: PreTrainedModel
    layers: list[int]  # teacher layer (from 1) of each student layer
    train: Encoded
    dev: Encoded
    task: Task
    pad_id: int
    seed: int
    progress: training.Progress

    @property
    def device(self) -> torch.device:
        """Where both live."""
        return torch.device(self.student.device)

    def answers(self, model: PreTrainedModel, features: Sequence[Features]) -> Answers:
        """A model's logits for every sequence."""
        return heads.answers(model, self.task.head, features, self.pad_id)

    def evaluate(self) -> training.Scores:
        """The student's dev scores."""
        return self.task.score(self.answers(self.student, self.dev.features), self.dev)


def distil(
    spec: recipe.Recipe, data: Data, task: Task, teacher_folder: Path, folder: Path, progress: training.Progress
) -> dict[str, Any]:
    """Fill `folder` with the student; gives its scores, size and training curves."""
    torch.manual_seed(spec.seed)
    teacher = heads.load(task.head, teacher_folder).to(training.device()).requires_grad_(False)
    student = students.build(teacher, spec.student, task.head).to(training.device())
    checkpoint.save_tokenizer(teacher_folder, folder)
    encoder = Encoder(folder / "tokenizer.json", spec.task.max_length)
    splits = {name: task.encode(rows, encoder) for name, rows in data.splits().items()}
    depth = layout.shape(student).layers
    layers = resolve(spec.student.layer_map, depth, layout.shape(teacher).layers)
    train = task.encode(data.train, encoder)
    pair = Pair(teacher.eval(), student, layers, train, splits["dev"], task, encoder.pad_id, spec.seed, progress)
    work, curves, rows = folder / "checkpoints", [], len(train.lengths)
    if spec.distil.intermediate and spec.distil.intermediate.epochs:
        state = learn_layers(pair, spec.distil.intermediate, work / "intermediate")
        curves.append(curve("distil", "intermediate", rows, state))
    if spec.distil.prediction.epochs:
        state = learn_answers(pair, spec.distil.prediction, work / "prediction", checkpoint.digest(teacher_folder))
        curves.append(curve("distil", "prediction", rows, state))
    student.to("cpu")
    checkpoint.save(student, folder)
    return {
        "training": curves,
        **judge(student, splits, task, encoder.pad_id),
        "rows": {name: encoded.count for name, encoded in splits.items()},
        "parameters": checkpoint.unique_parameters(student),
        "layers": layers,
    }


class Projections(nn.Module):
    """The student with the linear maps that carry its states into the teacher's width: W_e (eq. 9) and W_h (eq. 8)."""

    def __init__(self, student: PreTrainedModel, narrow: int, wide: int) -> None:
        super().__init__()
        self.student = student
        self.embedding = nn.Linear(narrow, wide, bias=False) if narrow != wide else nn.Identity()
        self.hidden = nn.Linear(narrow, wide, bias=False) if narrow != wide else nn.Identity()


def learn_layers(pair: Pair, plan: recipe.Intermediate, folder: Path) -> training.State:
    """The intermediate phase: every loss of the plan whose weight is not zero."""
    small, large = layout.shape(pair.student), layout.shape(pair.teacher)
    if plan.attention and large.heads % small.heads:
        raise UsageError(
            f"attention scores of {large.heads} heads cannot teach {small.heads}",
            where="student.heads",
            fix="use a divisor of the teacher's heads, or set distil.intermediate.attention: 0",
        )
    torch.manual_seed(pair.seed)
    model = Projections(pair.student, small.hidden, large.hidden).to(pair.device)

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        arrays = pair.train.batch(rows, pair.pad_id).inputs
        with torch.no_grad():
            teacher, teacher_scores = _states(pair, pair.teacher, arrays)
        student, student_scores = _states(pair, pair.student, arrays)
        mask = torch.from_numpy(arrays["attention_mask"]).to(pair.device)
        found: training.Losses = {}
        if plan.embedding:
            found["embedding"] = plan.embedding * losses.hidden_error(model.embedding(student[0]), teacher[0], mask)
        if plan.hidden:
            errors = [
                losses.hidden_error(model.hidden(state), teacher[layer], mask)
                for state, layer in zip(student[1:], pair.layers, strict=True)
            ]
            found["hidden"] = plan.hidden * torch.stack(errors).sum()
        if plan.attention:
            errors = [
                losses.attention_error(scores, losses.group_heads(teacher_scores[layer - 1], small.heads), mask)
                for scores, layer in zip(student_scores, pair.layers, strict=True)
            ]
            found["attention"] = plan.attention * torch.stack(errors).sum()
        return found

    checkpoint.freeze_embeddings(pair.student, plan.freeze_embeddings)
    with attention.scored(pair.teacher, pair.student):
        return training.fit(
            training.Job(
                "intermediate", model, loss, pair.train.lengths, plan, pair.seed, folder, progress=pair.progress
            )
        )


def _states(pair: Pair, model: PreTrainedModel, arrays: dict[str, Any]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Hidden states (embeddings first) and attention scores of every layer."""
    with attention.recording() as scores:
        inputs = checkpoint.tensors(arrays, checkpoint.takes(model), pair.device)
        outputs = layout.encoder(model)(**inputs, output_hidden_states=True)
    return outputs.hidden_states, scores


def learn_answers(pair: Pair, plan: recipe.Prediction, folder: Path, teacher: str) -> training.State:
    """The prediction phase: soft cross-entropy with the teacher's logits, and the true labels where asked."""
    torch.manual_seed(pair.seed + 1)
    known = teacher_answers(pair, folder / "teacher.safetensors", teacher)

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        batch = pair.train.batch(rows, pair.pad_id)
        mask = torch.from_numpy(batch.inputs["attention_mask"]).to(pair.device)
        logits = heads.feed(pair.student, pair.task.head, batch.inputs)
        found: training.Losses = {}
        if plan.soft:
            theirs = padded([known[number] for number in pair.train.sequences(rows)], logits)
            found["soft"] = plan.soft * soft_loss(pair.task, logits, theirs, mask, batch, plan.temperature)
        if plan.hard:
            hard = heads.HEADS[pair.task.head].loss(logits, mask, batch, pair.task)
            found["hard"] = plan.hard * torch.stack(list(hard.values())).sum()
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
        )
    )


def padded(answers: Answers, like: Tensor) -> Tensor:
    """The answers of a batch's sequences in the shape of the student's logits, 0 where those are padding."""
    found = torch.zeros_like(like)
    for number, values in enumerate(answers):
        found[number, : len(values)] = torch.from_numpy(values).to(like.device)
    return found


def teacher_answers(pair: Pair, path: Path, teacher: str) -> Answers:
    """The teacher's logits for every training sequence, computed once and kept at `path`."""
    features = pair.train.features
    key = value_digest([teacher, pair.pad_id, [row.input_ids for row in features]])[:16]
    if path.is_file():
        kept = load_file(path)
        if key in kept:
            return _cut(kept[key], features)
    chunks: list[Any] = []
    size = max(1024, math.ceil(len(features) / 100))
    for start in range(0, len(features), size):
        chunks += list(pair.answers(pair.teacher, features[start : start + size]))
        pair.progress("teacher's answers", min(1.0, (start + size) / len(features)), f"{len(features)} rows")
    logits = np.concatenate(chunks) if chunks[0].ndim == 2 else np.stack(chunks)
    write_bytes(path, save({key: logits}))
    return _cut(logits, features)


def _cut(logits: npt.NDArray[np.float32], features: Sequence[Features]) -> Answers:
    """Kept logits by sequence: one row each, or as many as it has pieces."""
    lengths = [len(row.input_ids) for row in features]
    return list(logits) if len(logits) == len(lengths) else np.split(logits, np.cumsum(lengths)[:-1])

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
from ..tasks.data import Data, Encoded, encode
from ..tasks.encoding import Encoder, collate
from ..tasks.text import TextTask
from ..teachers import checkpoint, layout
from ..teachers.finetune import answers, hard_loss
from ..teachers.teach import curve, score
from . import attention, losses


@dataclass
class Pair:
    """A teacher and its student, and what both are fed."""

    teacher: PreTrainedModel
    student: PreTrainedModel
    layers: list[int]  # teacher layer (from 1) of each student layer
    train: Encoded
    dev: Encoded
    task: TextTask
    pad_id: int
    seed: int
    progress: training.Progress

    @property
    def device(self) -> torch.device:
        """Where both live."""
        return torch.device(self.student.device)

    def batch(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """The arrays of a batch."""
        return collate([self.train.features[row] for row in rows], self.pad_id)

    def feed(self, model: PreTrainedModel, arrays: dict[str, Any], **options: Any) -> Any:
        """A model's outputs for a batch."""
        return model(**checkpoint.tensors(arrays, checkpoint.takes(model), self.device), **options)

    def evaluate(self) -> training.Scores:
        """The student's dev scores."""
        return self.task.score(answers(self.student, self.dev.features, self.pad_id), self.dev.targets)


def distil(
    spec: recipe.Recipe, data: Data, task: TextTask, teacher_folder: Path, folder: Path, progress: training.Progress
) -> dict[str, Any]:
    """Fill `folder` with the student; gives its scores, size and training curves."""
    torch.manual_seed(spec.seed)
    teacher = checkpoint.classifier(teacher_folder).to(training.device()).requires_grad_(False)
    student = students.build(teacher, spec.student).to(training.device())
    checkpoint.save_tokenizer(teacher_folder, folder)
    encoder = Encoder(folder / "tokenizer.json", spec.task.max_length)
    splits = {name: encode(rows, task, encoder) for name, rows in data.splits().items()}
    depth = layout.shape(student).layers
    layers = resolve(spec.student.layer_map, depth, layout.shape(teacher).layers)
    train = encode(data.train, task, encoder)
    pair = Pair(teacher.eval(), student, layers, train, splits["dev"], task, encoder.pad_id, spec.seed, progress)
    work, curves, rows = folder / "checkpoints", [], len(train.features)
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
        "scores": score(student, splits, task, encoder.pad_id),
        "rows": {name: len(encoded.features) for name, encoded in splits.items()},
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
        arrays = pair.batch(rows)
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
        outputs = pair.feed(model, arrays, output_hidden_states=True)
    return outputs.hidden_states, scores


def learn_answers(pair: Pair, plan: recipe.Prediction, folder: Path, teacher: str) -> training.State:
    """The prediction phase: soft cross-entropy with the teacher's logits, and the true labels where asked."""
    torch.manual_seed(pair.seed + 1)
    known = torch.from_numpy(teacher_answers(pair, folder / "teacher.safetensors", teacher)).to(pair.device)
    regression = pair.task.kind == "regression"

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        logits = pair.feed(pair.student, pair.batch(rows)).logits
        found: training.Losses = {}
        if plan.soft:
            theirs = known[torch.from_numpy(rows).to(pair.device)]
            soft = (
                losses.answer_error(logits, theirs)
                if regression
                else losses.soft_cross_entropy(logits, theirs, plan.temperature)
            )
            found["soft"] = plan.soft * soft
        if plan.hard:
            targets = torch.from_numpy(pair.train.targets[rows]).to(pair.device)
            found["hard"] = plan.hard * hard_loss(logits, targets)
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


def teacher_answers(pair: Pair, path: Path, teacher: str) -> npt.NDArray[np.float32]:
    """The teacher's logits for all training rows, (rows, outputs), computed once and kept at `path`."""
    key = value_digest([teacher, pair.pad_id, [row.input_ids for row in pair.train.features]])[:16]
    if path.is_file():
        kept = load_file(path)
        if key in kept:
            return np.asarray(kept[key], np.float32)
    chunks, features = [], pair.train.features
    size = max(1024, math.ceil(len(features) / 100))
    for start in range(0, len(features), size):
        chunks.append(answers(pair.teacher, features[start : start + size], pair.pad_id))
        pair.progress("teacher's answers", min(1.0, (start + size) / len(features)), f"{len(features)} rows")
    logits = np.concatenate(chunks)
    write_bytes(path, save({key: logits}))
    return logits

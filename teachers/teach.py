"""The stage `teach`: a teacher that knows the task, as a stock Hugging Face folder.

It is fine-tuned, or taken as it is where the recipe says so; either way its answers on every split are scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from .. import recipe, training
from ..errors import AttarError
from ..tasks.data import Data, Encoded, encode
from ..tasks.encoding import Encoder
from ..tasks.text import TextTask
from . import checkpoint
from .finetune import answers, finetune


def score(
    model: PreTrainedModel, splits: dict[str, Encoded], task: TextTask, pad_id: int
) -> dict[str, dict[str, float]]:
    """The model's scores on every split."""
    return {name: task.score(answers(model, rows.features, pad_id), rows.targets) for name, rows in splits.items()}


def teach(spec: recipe.Recipe, data: Data, task: TextTask, folder: Path, progress: training.Progress) -> dict[str, Any]:
    """Fill `folder` with the teacher; gives its scores, size and training curve."""
    source = checkpoint.locate(spec.teacher.model)
    checkpoint.save_tokenizer(source, folder)
    encoder = Encoder(folder / "tokenizer.json", spec.task.max_length)
    torch.manual_seed(spec.seed)
    if spec.teacher.finetune:
        dropout = spec.teacher.attention_dropout
        model = checkpoint.classifier(source, task.outputs, task.labels or None, dropout)
    else:
        model = checkpoint.classifier(source)
        if model.config.num_labels != task.outputs:
            raise AttarError(
                f"the teacher answers {model.config.num_labels} classes and the task has {task.outputs}",
                where="teacher.finetune",
                fix="set teacher.finetune: true",
            )
    limit = checkpoint.positions(model.config)
    if spec.task.max_length > limit:
        raise AttarError(f"the teacher holds {limit} pieces", where="task.max_length", fix=f"set it to {limit}")
    model.to(training.device())
    splits = {name: encode(rows, task, encoder) for name, rows in data.splits().items()}
    train = {"train": encode(data.train, task, encoder)}
    curves = []
    if spec.teacher.finetune:
        work = folder / "checkpoints"
        state = finetune(
            model,
            train["train"],
            splits["dev"],
            task,
            encoder.pad_id,
            spec.teacher.training,
            seed=spec.seed,
            folder=work,
            progress=progress,
        )
        curves.append(curve("teach", "finetune", len(data.train), state))
    model.to("cpu")
    checkpoint.save(model, folder)
    return {
        "training": curves,
        "scores": score(model, splits, task, encoder.pad_id),
        "rows": {name: len(rows.features) for name, rows in splits.items()},
        "truncated": {name: rows.truncated for name, rows in (train | splits).items()},
        "parameters": checkpoint.unique_parameters(model),
        "source": spec.teacher.model,
        "licence": checkpoint.licence(source),
        "weights": checkpoint.digest(source),
    }


def curve(stage: str, phase: str, examples: int, state: training.State) -> dict[str, Any]:
    """A phase of training as the run record holds it."""
    return {
        "stage": stage,
        "phase": phase,
        "examples": examples,
        "epochs": state.epochs,
        "kept_epoch": state.kept,
        "peak_memory": training.peak_memory(),
        "threads": torch.get_num_threads(),
    }

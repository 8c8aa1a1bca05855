"""The stage `teach`: a teacher that knows the task, as a stock Hugging Face folder.

It is fine-tuned, or taken as it is where the recipe says so; either way its answers on every split are scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from .. import recipe, training
from ..errors import AttarError, UsageError
from ..processes import ALONE, Processes
from ..tasks.data import Data
from ..tasks.encoding import Encoder
from ..tasks.task import Encoded, Task, Tuned
from . import checkpoint, gpt_transfer, heads, hub, sharing
from .finetune import finetune


def judge(model: PreTrainedModel, splits: dict[str, Encoded], task: Task, pad_id: int) -> dict[str, Any]:
    """The model's `scores` on every split, and what is `tuned` on dev where the task tunes something.

    Raises `AttarError` for a model whose answers are no numbers: nothing can be learnt from it.
    """
    answers = {name: heads.answers(model, task.head, rows.features, pad_id) for name, rows in splits.items()}
    for name, found in answers.items():
        if lost := sum(bool(np.isnan(row).any()) for row in found):
            raise AttarError(
                f"the model's answers to {lost:,} of {len(found):,} {name} texts are no numbers (NaN)",
                where=type(model).__name__,
                fix="its weights are damaged: take another checkpoint, or train it with a lower learning_rate",
            )
    judged: dict[str, Any] = {"scores": {name: task.score(answers[name], rows) for name, rows in splits.items()}}
    if isinstance(task, Tuned) and (tuned := task.tune(answers["dev"], splits["dev"])):
        judged["tuned"] = tuned
    return judged


def teach(
    spec: recipe.Recipe,
    source: Path,
    data: Data,
    task: Task,
    folder: Path,
    progress: training.Progress,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Fill `folder` with the teacher, which starts from `source`; gives its scores, size and training curve.

    Of several `processes` the first one fills the folder and has results; all are given the same.
    """
    torch.manual_seed(spec.seed)
    with processes.place(folder) as own:
        model = begin(spec.teacher, source, task, own)
        encoder = Encoder(own / "tokenizer.json", spec.task.max_length)
    if not spec.teacher.finetune and not heads.fits(model, task):
        raise AttarError(
            f"the teacher answers {model.config.num_labels} classes and the task has {task.outputs}",
            where="teacher.finetune",
            fix="set teacher.finetune: true",
        )
    limit = checkpoint.positions(model.config)
    if spec.task.max_length > limit:
        raise AttarError(f"the teacher holds {limit} pieces", where="task.max_length", fix=f"set it to {limit}")
    model.to(training.device())
    splits = {name: task.encode(rows, encoder) for name, rows in data.splits().items()}
    train = {"train": task.encode(data.train, encoder)}
    curves = []
    if spec.teacher.finetune:
        state = finetune(
            model,
            train["train"],
            splits["dev"],
            task,
            encoder.pad_id,
            spec.teacher.training,
            seed=spec.seed,
            folder=folder / "checkpoints",
            progress=progress,
            lm_weight=spec.teacher.lm_weight,
            processes=processes,
        )
        curves.append(curve("teach", "finetune", len(train["train"].lengths), state))
    if not processes.first:
        return {}
    model.to("cpu")
    heads.save(model, task.head, folder, spec.task.max_length)
    return {
        "training": curves,
        **judge(model, splits, task, encoder.pad_id),
        "rows": {name: rows.count for name, rows in splits.items()},
        "truncated": {name: rows.truncated for name, rows in (train | splits).items()},
        "remarks": data.remarks,
        "parameters": checkpoint.unique_parameters(model),
        "source": origin(spec),
        "licence": checkpoint.licence(source),
        "weights": checkpoint.digest(source),
        "revision": hub.revision(source),
    }


def origin(spec: recipe.Recipe) -> str:
    """Whose weights the teacher started from."""
    name = spec.pretrain.shape if spec.pretrain else spec.teacher.model
    if spec.teacher.start == "random":
        return f"{name}, random weights"
    name = f"{name}, pre-trained here" if spec.pretrain else name
    return f"{name}, fused with a knowledge graph here" if spec.knowledge else name


def begin(spec: recipe.Teacher, source: Path, task: Task, folder: Path) -> PreTrainedModel:
    """The model that is to be fine-tuned, or is taken as it is; its tokenizer goes to `folder`."""
    if spec.finetune and checkpoint.family(source) in checkpoint.DECODERS:
        if task.head not in ("sequence", "choice"):
            raise UsageError(
                f"a {checkpoint.family(source)} teacher does not learn {task.kind.replace('_', ' ')}",
                where="teacher.model",
                fix="take an encoder, such as minilm",
            )
        model = gpt_transfer.start(source, folder, task.outputs, task.labels or None)
        return anew(model) if spec.start == "random" else model
    checkpoint.save_tokenizer(source, folder)
    if not spec.finetune:
        return heads.load(task.head, source)
    model = heads.create(task, source, spec.attention_dropout)
    return anew(model) if spec.start == "random" else model


def anew(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same shape and head with random weights, drawn as its family draws them."""
    fresh: PreTrainedModel = type(model)(model.config)
    sharing.tie(fresh)
    return fresh


def curve(stage: str, phase: str, examples: int, state: training.State, asked: float = 0.0) -> dict[str, Any]:
    """A phase of training as the run record holds it; `asked` are seconds in which a teacher answered beforehand."""
    return {
        "stage": stage,
        "phase": phase,
        "examples": examples,
        "epochs": state.epochs,
        "kept_epoch": state.kept,
        "peak_memory": training.peak_memory(),
        "threads": torch.get_num_threads(),
        "asked_seconds": asked,
    }

"""Fine-tuning a teacher on a task of any kind: all weights learn, with the loss of the task's head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedModel

from .. import training
from ..errors import AttarError
from ..processes import ALONE, Processes
from ..recipe import Optimization
from ..tasks.task import Encoded, Task
from . import checkpoint, gpt_transfer, heads, layout


def finetune(
    model: PreTrainedModel,
    train: Encoded,
    dev: Encoded,
    task: Task,
    pad_id: int,
    plan: Optimization,
    *,
    seed: int,
    folder: Path,
    progress: training.Progress = lambda what, done, remark: None,
    lm_weight: float = 0.0,
    processes: Processes = ALONE,
) -> training.State:
    """Teach the model the task; it ends with the weights that the plan keeps.

    A decoder learns as GPT-1 did (`gpt_transfer`), whose λ is `lm_weight`: how much the language of the texts counts
    beside the task (equation 5). An encoder has none.
    """
    check_length(model, train, dev)
    decoder = layout.kind(model.config) in checkpoint.DECODERS

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        batch = train.batch(rows, pad_id)
        if decoder:
            return gpt_transfer.losses(model, task, batch, lm_weight, processes=processes)
        return heads.loss(model, task, batch, processes)

    def evaluate() -> training.Scores:
        return task.score(heads.answers(model, task.head, dev.features, pad_id), dev)

    checkpoint.freeze_embeddings(model, plan.freeze_embeddings)
    return training.fit(
        training.Job(
            "finetune",
            model,
            loss,
            train.lengths,
            plan,
            seed,
            folder,
            task.metric,
            evaluate,
            progress,
            where=train.where,
            processes=processes,
        )
    )


def check_length(model: PreTrainedModel, *splits: Encoded) -> None:
    """Refuse sequences that are longer than the model's table of positions."""
    limit = checkpoint.positions(model.config)
    longest = max((len(row.input_ids) for split in splits for row in split.features), default=0)
    if longest > limit:
        raise AttarError(f"the teacher holds {limit} pieces", where="task.max_length", fix=f"set it to {limit}")

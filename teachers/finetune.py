"""Fine-tuning a classifier on a task, and asking any model for its answers.

The loss is cross-entropy over the classes, or the squared error for a regression (BERT, arXiv 1810.04805, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from .. import training
from ..recipe import Optimization
from ..tasks import batching
from ..tasks.data import Encoded
from ..tasks.encoding import Features, collate
from ..tasks.text import TextTask
from . import checkpoint


def answers(
    model: PreTrainedModel, features: Sequence[Features], pad_id: int, batch_size: int = 64
) -> npt.NDArray[np.float32]:
    """The model's outputs for all rows, shape (rows, outputs), in the order of the rows."""
    names, device = checkpoint.takes(model), next(model.parameters()).device
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for rows in batching.ordered([len(row.input_ids) for row in features], batch_size):
            batch = collate([features[row] for row in rows], pad_id)
            logits = model(**checkpoint.tensors(batch, names, device)).logits
            found.append((rows, logits.float().cpu().numpy()))
    model.train(was_training)
    result = np.zeros((len(features), found[0][1].shape[1]), np.float32)
    for rows, logits in found:
        result[rows] = logits
    return result


def hard_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy with class indices (batch,), or squared error with values (batch,)."""
    if targets.dtype.is_floating_point:
        return F.mse_loss(logits[:, 0], targets)
    return F.cross_entropy(logits, targets)


def finetune(
    model: PreTrainedModel,
    train: Encoded,
    dev: Encoded,
    task: TextTask,
    pad_id: int,
    plan: Optimization,
    *,
    seed: int,
    folder: Path,
    progress: training.Progress,
) -> training.State:
    """Teach the model the task; it ends with the kept epoch's weights."""
    names, device = checkpoint.takes(model), next(model.parameters()).device

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        batch = checkpoint.tensors(collate([train.features[row] for row in rows], pad_id), names, device)
        return {"task": hard_loss(model(**batch).logits, torch.from_numpy(train.targets[rows]).to(device))}

    def evaluate() -> training.Scores:
        return task.score(answers(model, dev.features, pad_id), dev.targets)

    checkpoint.freeze_embeddings(model, plan.freeze_embeddings)
    return training.fit(
        training.Job("finetune", model, loss, train.lengths, plan, seed, folder, task.metric, evaluate, progress)
    )

"""The heads: which stock model carries a task, what it answers, and the loss that teaches it.

- A task names its head (`tasks.task`); here each is a stock `AutoModelFor…` class, so that every model reloads with no
  attar installed. A new head is a file with these three functions and its line in `HEADS`.
- Logits are one tensor: (sequences, outputs) or (sequences, pieces, outputs). A device gets the same tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from ...errors import UsageError
from ...processes import ALONE, Processes
from ...recipe import in_words
from ...tasks import batching
from ...tasks import task as tasks
from ...tasks.encoding import Features, collate
from ...tasks.task import Answers, Batch, Task
from .. import checkpoint, vocabulary_files
from . import choice, embedding, pooling, sequence, span, tokens

Inputs = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor, Batch, Any], dict[str, Tensor]]  # logits, mask, batch, task
POOLER = re.compile(r"(^|\.)pooler\.")


@dataclass(frozen=True)
class Head:
    """One head."""

    stock: Any  # the class of transformers
    logits: Callable[[PreTrainedModel, Inputs], Tensor]
    loss: Loss | None  # against the targets; None where rows have none
    pieces: bool  # whether each piece has logits
    families: Sequence[str] = checkpoint.ENCODERS  # for which transformers has the class
    unread: re.Pattern[str] | None = None  # weights that a checkpoint may lack, for no logits need them


HEADS: dict[tasks.Head, Head] = {
    "sequence": Head(sequence.STOCK, sequence.logits, sequence.loss, False, checkpoint.FAMILIES),
    "tokens": Head(tokens.STOCK, tokens.logits, tokens.loss, True),
    "span": Head(span.STOCK, span.logits, span.loss, True),
    "choice": Head(choice.STOCK, choice.logits, choice.loss, False),
    "embedding": Head(embedding.STOCK, embedding.logits, None, False, unread=POOLER),
}


def load(head: tasks.Head, source: Path) -> PreTrainedModel:
    """A model that has the head, as it is."""
    if head == "choice" and checkpoint.family(source) in checkpoint.DECODERS:
        head = "sequence"  # transformers has no multiple-choice head for them
    one = HEADS[head]
    model, _ = checkpoint.read(one.stock, source, families=one.families, new=one.unread)
    vocabulary_files.require_own(source, model.config)
    if head == "embedding":
        setattr(model.config, pooling.FIELD, pooling.read(source) or pooling.of(model))
    return model


def save(model: PreTrainedModel, head: tasks.Head, folder: Path, max_length: int) -> None:
    """Save a model as a stock Hugging Face folder, an embedding's with its pooling; texts are cut to `max_length`."""
    checkpoint.save(model, folder)
    if head == "embedding":
        pooling.write(model, folder, max_length)


def create(task: Task, source: Path, attention_dropout: float | None = None) -> PreTrainedModel:
    """The checkpoint's encoder with a head for the task, to be trained; new weights come from torch's random state."""
    options = {}
    if task.head == "sequence":
        options["problem_type"] = "single_label_classification" if task.labels else "regression"
    names = task.labels or [f"LABEL_{number}" for number in range(task.outputs)]
    model = checkpoint.load(
        HEADS[task.head].stock,
        source,
        families=HEADS[task.head].families,
        new=True,
        names=names,
        attention_dropout=attention_dropout,
        **options,
    )
    vocabulary_files.require_own(source, model.config)
    return model


def feed(model: PreTrainedModel, head: tasks.Head, arrays: dict[str, Any]) -> Tensor:
    """Logits of a batch, (sequences, outputs) or (sequences, pieces, outputs)."""
    device = next(model.parameters()).device
    return HEADS[head].logits(model, checkpoint.tensors(arrays, checkpoint.takes(model), device))


def gathered(logits: Tensor, mask: Tensor, processes: Processes) -> Tensor:
    """The logits of a whole batch, whose mask is (sequences, pieces), from those of this process's sequences.

    Padding has logits too, which no loss reads: 0 where the process's own sequences are shorter than the batch's.
    """
    if logits.dim() == 3:
        logits = F.pad(logits, (0, 0, 0, mask.shape[1] - logits.shape[1]))
    return processes.gather(logits, len(mask))


def width(model: PreTrainedModel, task: Task) -> int:
    """Of the model's logits: the task's outputs, or the hidden size for an embedding."""
    return int(model.config.hidden_size) if task.head == "embedding" else task.outputs


def fits(model: PreTrainedModel, task: Task) -> bool:
    """Whether a model has the outputs of the task; a choice needs one for each pair, and any vector is an embedding."""
    return task.head in ("choice", "embedding") or model.config.num_labels == task.outputs


def loss(model: PreTrainedModel, task: Task, batch: Batch, processes: Processes = ALONE) -> dict[str, Tensor]:
    """The losses that teach a model what a batch should be answered; of several processes each reads its sequences."""
    logits = feed(model, task.head, processes.share(batch.inputs)[0])
    return hard_loss(processes.gather(logits, len(batch.owner)), task, batch)


def hard_loss(logits: Tensor, task: Task, batch: Batch) -> dict[str, Tensor]:
    """The losses of a batch's logits against its targets; `UsageError` for a task whose rows have none."""
    judged = HEADS[task.head].loss
    if judged is None:
        raise UsageError(f"the rows of {in_words(task.kind)} have no labels to learn from", where="task.kind")
    mask = torch.from_numpy(batch.inputs["attention_mask"]).to(logits.device)
    return judged(logits, mask, batch, task)


def answers(
    model: PreTrainedModel, head: tasks.Head, features: Sequence[Features], pad_id: int, batch_size: int = 64
) -> Answers:
    """The model's logits for every sequence, in their order and without padding."""
    lengths = [len(row.input_ids) for row in features]
    found: dict[int, npt.NDArray[np.float32]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for rows in batching.ordered(lengths, batch_size):
            batch = collate([features[row] for row in rows], pad_id)
            logits = feed(model, head, batch).float().cpu().numpy()
            for row, values in zip(rows.tolist(), logits, strict=True):
                found[row] = values[: lengths[row]].copy() if HEADS[head].pieces else values
    model.train(was_training)
    return [found[row] for row in range(len(features))]

"""What a cut may look at to tell what a student needs: rows that it reads, and losses that it should keep low."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import AttarError
from ..students import activations
from ..tasks.encoding import Arrays
from ..tasks.task import Encoded, Task
from ..teachers import checkpoint, gpt_transfer, heads, layout

Losses = Callable[[PreTrainedModel], Iterable[Tensor]]  # of a model, one a batch, each with its graph
BATCH = 16


@dataclass(frozen=True)
class Evidence:
    """Rows as arrays, and the losses of a model on batches: from labels, or from a teacher's answers."""

    rows: Sequence[Arrays] = ()
    losses: Losses | None = None

    def needed_rows(self, why: str) -> Sequence[Arrays]:
        """The rows; `AttarError` where there are none."""
        if not self.rows:
            raise AttarError(f"{why} needs training rows, and there are none", where=why)
        return self.rows

    def needed_losses(self, why: str) -> Losses:
        """The losses; `AttarError` where none are given."""
        if self.losses is None:
            raise AttarError(f"{why} needs a loss on training rows, and the task has none", where=why)
        return self.losses


def of_task(task: Task, train: Encoded, pad_id: int, seed: int, rows: int = 256) -> Evidence:
    """Training rows drawn by the seed, and the task's own losses on so many of them; an embedding's rows have none."""

    def losses(model: PreTrainedModel) -> Iterator[Tensor]:
        decoder = layout.kind(model.config) in checkpoint.DECODERS
        order = np.random.default_rng(seed).permutation(len(train.lengths))[:rows]
        for start in range(0, len(order), BATCH):
            batch = train.batch(order[start : start + BATCH], pad_id)
            found = gpt_transfer.losses(model, task, batch, 0.0) if decoder else heads.loss(model, task, batch)
            yield sum(found.values())  # type: ignore[misc]

    taught = heads.HEADS[task.head].loss is not None
    return Evidence(activations.sample(train.features, pad_id, seed), losses if taught else None)

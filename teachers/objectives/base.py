"""What all objectives share, so that one trainer can use any of them.

- An objective is itself the module that trains: its parameters are all that learn, and calling it gives the losses, so
  a wrapper for several processes wraps it whole. `model` is the part that is saved.
- Chance is apart from computation: `prepare` draws everything random from the generator it is given, a batch goes into
  `forward` complete. Several processes can so prepare one global batch alike and take their own rows of it.
- A loss is a mean over what it counts (chosen pieces, real pieces, rows). `across` averages that count over processes:
  gradients that are averaged afterwards are then those of the whole global batch, whoever holds how many pieces.
- Batches hold `input_ids`, `attention_mask` (1 on real pieces, padding at the end) and `token_type_ids`, int64, of
  shape (batch, length), and `pair_label` of shape (batch,) where pairs are judged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...errors import UsageError
from .. import checkpoint

Batch = dict[str, Tensor]
Losses = dict[str, Tensor]
IGNORED = -100  # the label of a position that no loss looks at


@dataclass(frozen=True)
class Settings:
    """The numbers of the papers that a recipe may change."""

    mask_rate: float = 0.15  # share of the pieces that are chosen
    whole_words: bool = False
    generator_size: float = 0.25  # ELECTRA: the generator's width as a share of the discriminator's
    discriminator_weight: float = 50.0  # ELECTRA's λ
    tied: Literal["embeddings", "all"] = "embeddings"  # ELECTRA: what generator and discriminator share, or "all"


class Objective(nn.Module, ABC):
    """One way to pre-train; `model` is what remains of it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.across: Callable[[Tensor], Tensor] = _alone

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:  # noqa: ARG002 - nothing random here
        """The batch with everything that is drawn by chance in it."""
        return batch

    @abstractmethod
    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of a prepared batch, to be summed."""

    def loss(self, batch: Batch, generator: torch.Generator) -> Losses:
        """Prepare the batch and compute its weighted losses."""
        losses: Losses = self(self.prepare(batch, generator))
        return losses

    def save(self, folder: Path) -> None:
        """Save `model` as a stock Hugging Face folder."""
        checkpoint.save(self.model, folder)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of the values, shape (count,), over all processes; 0 where there is none."""
        count = self.across(torch.tensor(float(values.numel()), device=values.device))
        return values.float().sum() / torch.where(count > 0, count, torch.ones_like(count))


def _alone(count: Tensor) -> Tensor:
    return count


def uniform(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Numbers in [0, 1), drawn where the generator lives, so that they are the same for every device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device).to(device)


def require(settings: Any, families: Sequence[str], objective: str) -> None:
    """Refuse a model that the objective is not made for."""
    if settings.model_type not in families:
        raise UsageError(
            f"the objective {objective!r} does not train {settings.model_type}", fix=f"use {' or '.join(families)}"
        )

"""A phase of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .parts import Part, Positive, Weight

Precision = Literal["float32", "bfloat16", "auto"]
PRECISION = "of what the loss computes; auto is bfloat16 on hardware that multiplies in it; weights are float32 anyway"


class Optimization(Part):
    """One phase of training, with linear warm-up and linear decay."""

    epochs: int = Field(3, ge=0)
    batch_size: Positive = 32
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon moves the hidden matrices by orthogonal steps; AdamW, with the same rate, all else"
    )
    learning_rate: float = Field(5e-5, gt=0)
    weight_decay: Weight = 0.01
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    max_grad_norm: float = Field(1.0, gt=0)
    freeze_embeddings: bool = Field(False, description="keep the word embeddings as they are; saves time on a CPU")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of a moving average of the weights, which is scored and kept; 0 for none"
    )
    precision: Precision = Field("float32", description=PRECISION)
    evaluations: Positive = Field(1, description="dev scores taken in each epoch")
    keep: Literal["best", "last"] = Field(
        "best", description="which weights stay: the best by the dev score, or the last"
    )

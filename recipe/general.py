"""The part `distil.general`: what a student learns from its teacher on plain text, before any task."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .parts import Positive, Weight
from .pretraining import PlainText
from .relations import Relations
from .training import Optimization


class General(PlainText, Relations, Optimization):
    """General distillation; the weights are those that DistilBERT was trained with (arXiv 1910.01108).

    TinyBERT's (arXiv 1909.10351, section 3.2) are `embedding`, `hidden` and `attention` alone, MiniLM's `relations`,
    DistilGPT's those of DistilBERT. `keep` does nothing here: the last weights stay. With several processes
    `batch_size` counts the rows of all of them.
    """

    epochs: int = Field(1, ge=0)
    batch_size: Positive = 32
    learning_rate: float = Field(5e-4, gt=0)
    head: Optimization | None = Field(
        Optimization(epochs=1, learning_rate=1e-3, keep="last"),
        description="trains a masked-LM head over the frozen teacher where that has none and `soft` or `hard` ask it; "
        "null refuses such a teacher",
    )
    soft: Weight = Field(5.0, description="divergence from the teacher's probabilities of pieces")
    temperature: float = Field(2.0, gt=0, description="divides the logits of `soft`")
    divergence: Literal["forward", "reverse"] = Field(
        "forward", description="Kullback-Leibler of teacher from student, or of student from teacher"
    )
    soft_pieces: Literal["all", "masked"] = Field(
        "all", description="where `soft` is asked: at every piece (the paper), or at those to be guessed, for less time"
    )
    hard: Weight = Field(2.0, description="loss of the language model itself: masked, or for a GPT causal")
    cosine: Weight = Field(1.0, description="angle between the last hidden states; needs the teacher's width")
    embedding: Weight = Field(0.0, description="squared error of the embeddings (TinyBERT)")
    hidden: Weight = Field(0.0, description="squared error of the hidden states, by the layer map (TinyBERT)")
    attention: Weight = Field(0.0, description="squared error of the attention scores, by the layer map (TinyBERT)")

    @model_validator(mode="after")
    def _learns(self) -> General:
        weights = (self.soft, self.hard, self.cosine, self.embedding, self.hidden, self.attention, self.relations)
        if not any(weights):
            raise ValueError("all weights are 0, so nothing would be learnt; `general: null` leaves the stage out")
        return self

    @property
    def predicts(self) -> bool:
        """Whether a loss reads a head over the vocabulary."""
        return bool(self.soft or self.hard)

"""The part `compress`: what makes a trained student smaller, in the order in which it is written."""

from __future__ import annotations

from pydantic import Field, model_validator

from .models import Intermediate, Prediction
from .parts import Part
from .steps import Factorize, Prune, Share
from .trim import Trim

OPERATIONS = ("trim", "factorize", "share", "prune")


class Healing(Part):
    """What the smaller student learns from the teacher: the phases of `distil`, without a student of its own."""

    intermediate: Intermediate | None = None
    prediction: Prediction = Prediction(epochs=1)


class Step(Part):
    """One operation, and how the student is healed of it; of several cuts after each."""

    trim: Trim | None = None
    factorize: Factorize | None = None
    share: Share | None = None
    prune: Prune | None = None
    heal: Healing | None = Field(Healing(), description="null leaves the student as the operation left it")

    @model_validator(mode="after")
    def _one_operation(self) -> Step:
        stated = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError(f"a step is one of {', '.join(OPERATIONS)}, and has {len(stated)}")
        return self

    @property
    def operation(self) -> str:
        """What it does."""
        return next(name for name in OPERATIONS if getattr(self, name) is not None)

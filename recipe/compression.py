"""The part `compress`: what makes a trained student smaller, in the order in which it is written."""

from __future__ import annotations

from pydantic import Field, model_validator

from .export import Export
from .models import Intermediate, Prediction
from .parts import Part
from .steps import Factorize, Prune, Quantize, Share
from .trim import Trim

OPERATIONS = ("trim", "factorize", "share", "prune", "quantize")


class Healing(Part):
    """What the smaller student learns from the teacher: the phases of `distil`, without a student of its own."""

    augment: bool = Field(False, description="learn from the changed copies of `distil.augment` too")
    intermediate: Intermediate | None = None
    prediction: Prediction = Prediction(epochs=1)


class Step(Part):
    """One operation, and how the student is healed of it; of several cuts after each."""

    trim: Trim | None = None
    factorize: Factorize | None = None
    share: Share | None = None
    prune: Prune | None = None
    quantize: Quantize | None = None
    heal: Healing | None = Field(Healing(), description="null leaves the student as the operation left it")

    @model_validator(mode="after")
    def _one_operation(self) -> Step:
        stated = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError(f"a step is one of {', '.join(OPERATIONS)}, and has {len(stated)}")
        return self

    @model_validator(mode="after")
    def _learns(self) -> Step:
        phases = [self.heal.intermediate, self.heal.prediction] if self.heal else []
        if self.quantize and not any(phase and phase.epochs for phase in phases):
            raise ValueError("`quantize` is learnt while the student is healed; give `heal` a phase with epochs")
        return self

    @property
    def operation(self) -> str:
        """What it does."""
        return next(name for name in OPERATIONS if getattr(self, name) is not None)


def check_quantize(steps: list[Step], export: Export) -> None:
    """Refuse a `quantize` that later steps would undo, or whose grid no file has; raises `ValueError`."""
    found = [(number, step.quantize) for number, step in enumerate(steps, 1) if step.quantize]
    if not found:
        return
    number, plan = found[0]
    if len(found) > 1:
        raise ValueError(f"`quantize` stands {len(found)} times in `compress`; the last one alone would count")
    if number < len(steps):
        after = steps[number].operation
        raise ValueError(f"`{after}` after `quantize` would undo its rounding; make `quantize` the last step")
    if plan.bits == 8:
        if not {"int8", "int8-static"} & {*export.onnx, *export.ort, *export.tflite}:
            raise ValueError("`quantize` learns 8 bits, and no such file is made; add int8 to export.onnx")
        return
    if not {"int4", "mixed"} & {*export.onnx, *export.ort}:
        what = "`quantize` learns the 4-bit blocks of ONNX, and no such file is made"
        raise ValueError(f"{what}; add int4 to export.onnx")
    for name in ("block", "embeddings"):
        ours, theirs = getattr(plan, name), getattr(export.int4, name)
        if ours not in (None, theirs):
            raise ValueError(
                f"quantize.{name} is {ours} and export.int4.{name} {theirs}: the file would round otherwise than was "
                f"learnt; set export.int4.{name}: {ours}"
            )

"""Which artefacts a run makes, and how they are quantized."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .parts import Distinct, Part, Positive, Some

Preset = Literal["any-cpu", "dot-product"]


class Calibration(Part):
    """The training rows that static quantization finds its ranges on, and mixed precision its noise; seeded."""

    rows: Positive = Field(128, description="training rows, drawn by the recipe's seed; all where there are fewer")
    method: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax", description="which range of an activation is kept (ONNX); `minmax` keeps outliers"
    )
    percentile: float = Field(99.99, gt=50, le=100, description="percent of the values within the range")


class Int4(Part):
    """4-bit blocks."""

    block: Literal[16, 32, 64, 128, 256] = Field(32, description="weights with a scale of their own (ONNX)")
    embeddings: Literal[4, 8] = Field(8, description="bits of the embedding tables")
    tflite_block: Literal[32, 64, 128, 256] | None = Field(
        None, description="the same in .tflite, where it must divide a row; a scale per channel where not given"
    )


class Mixed(Part):
    """Mixed precision: 4-bit blocks where they do little harm, 8 bits elsewhere."""

    share: float = Field(0.25, gt=0, lt=1, description="at most this share of the weights has 8 bits")
    noise: float | None = Field(
        None,
        gt=0,
        description="no more have 8 bits than bring the noise of the others down to this share of the logits' variance",
    )


class Export(Part):
    """Which artefacts are made."""

    onnx: Distinct[Literal["fp32", "fp16", "int8", "int8-static", "int4", "mixed"]] = ["fp32", "int8"]
    ort: Distinct[Literal["fp32", "int8", "int8-static", "int4", "mixed"]] = ["int8"]
    tflite: Distinct[Literal["fp32", "fp16", "int8", "int8-static", "int4"]] = ["fp32", "int8"]
    lengths: Some[Positive] = Field([64], description="static lengths, one .tflite file each")
    processors: Some[Preset] = Field(
        ["any-cpu"],
        description="one int8 file of ONNX each: weights in 7 bits, right everywhere, or in 8 bits, for ARM and for "
        "x86 with VNNI",
    )
    calibration: Calibration = Calibration()
    int4: Int4 = Int4()
    mixed: Mixed = Mixed()
    tolerance: float = Field(
        0.5,
        gt=0,
        description="points an artefact may score away from its student; of a language model percent of the perplexity,"
        " 5 where not given",
    )

    @model_validator(mode="after")
    def _used(self) -> Export:
        """Settings of a precision that is not made would do nothing."""
        made = {*self.onnx, *self.ort, *self.tflite}
        needs = {"calibration": {"int8-static", "mixed"}, "int4": {"int4", "mixed"}, "mixed": {"mixed"}}
        for name, words in needs.items():
            if getattr(self, name) != type(self).model_fields[name].default and not made & words:
                raise ValueError(f"export.{name} is for {' and '.join(sorted(words))}, and none is made")
        return self

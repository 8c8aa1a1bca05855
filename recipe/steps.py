"""What changes a trained student: `share`, `prune`, `factorize` and `quantize`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .parts import Bytes, Part, Positive

Ratio = Annotated[float, Field(ge=0, lt=1)]


class Share(Part):
    """Let layers have the same weights, as ALBERT's do (arXiv 1909.11942, section 3.1)."""

    part: Literal["all", "attention", "ffn"] = Field("all", description="of each layer")
    groups: Positive = Field(1, description="groups of neighbouring layers that share, as many layers in each")
    start: Literal["mean", "first", "best"] = Field(
        "best",
        description="what a group starts from: the mean of its layers, its first, or the one that loses least on "
        "training rows in the place of all",
    )


class Prune(Part):
    """Cut out what does least; each ratio is the share that goes."""

    heads: Ratio = Field(0.0, description="of the attention heads")
    ffn: Ratio = Field(0.0, description="of the feed-forward neurons")
    hidden: Ratio = Field(0.0, description="of the hidden width")
    layers: Ratio = Field(0.0, description="of the layers")
    importance: Literal["magnitude", "taylor", "activation"] = Field(
        "taylor",
        description="what counts: the size of the weights, gradient × weight over batches of the task, or what is "
        "written at training rows",
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="the ratios of heads and neurons are of each layer, or of all layers together"
    )
    steps: Positive = Field(1, description="cuts, each followed by healing")

    @model_validator(mode="after")
    def _cuts(self) -> Prune:
        if not (self.heads or self.ffn or self.hidden or self.layers):
            raise ValueError("`heads`, `ffn`, `hidden` and `layers` are all 0, so nothing would be cut")
        return self


class Factorize(Part):
    """The word embedding as a product of two matrices, V × rank and rank × H."""

    rank: Positive | None = Field(None, description="at most the width of the embedding")
    bytes: Bytes | None = Field(
        None, description="the largest rank whose two float32 matrices take at most so many bytes, such as 2MB"
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Factorize:
        if (self.rank is None) == (self.bytes is None):
            raise ValueError("state one of `rank` and `bytes`")
        return self


class Quantize(Part):
    """Quantization-aware training: the student learns with the rounded weights of its quantized files."""

    bits: Literal[4, 8] = Field(description="of the weights: 8 for int8 and int8-static, 4 for int4 and mixed of ONNX")
    block: Literal[16, 32, 64, 128, 256] | None = Field(
        None, description="of 4 bits: weights with a scale of their own; it must be export.int4.block, the default"
    )
    embeddings: Literal[4, 8] | None = Field(
        None, description="beside 4 bits: those of the tables; must be export.int4.embeddings, the default"
    )
    activations: Literal[8] | None = Field(8, description="bits of what flows into matrices; null leaves it float")

    @model_validator(mode="after")
    def _used(self) -> Quantize:
        for name in ("block", "embeddings"):
            if self.bits == 8 and getattr(self, name) is not None:
                raise ValueError(f"`{name}` is for `bits: 4`, and does nothing in 8 bits; take it out")
        return self

"""The loss that reads one layer of each model: self-attention relations (MiniLM, arXiv 2002.10957 and 2012.15828)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .parts import Part, Positive, Some, Weight


class Relations(Part):
    """Which relations a student learns; any width and any heads can."""

    relations: Weight = Field(0.0, description="self-attention relations of one layer (MiniLM, MiniLMv2)")
    relation_kinds: Some[Literal["query", "key", "value", "attention"]] = Field(
        ["query", "key", "value"], description="MiniLMv2's; [attention, value] is MiniLM's"
    )
    relation_heads: Positive | None = Field(
        None, description="must divide both widths; the most up to the teacher's heads where not given"
    )
    relation_layer: Positive | None = Field(None, description="the teacher's, counted from 1; its last where not given")

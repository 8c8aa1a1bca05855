"""How a language model's next pieces are chosen, and what a way of choosing does to the text.

- Greedy takes the likeliest piece each time; a beam search keeps the likeliest few texts; a sample is drawn from all
  pieces, from the `top_k` likeliest (Fan et al., arXiv 1805.04833) or from the nucleus, the fewest pieces that hold
  `top_p` of the probability (Holtzman et al., arXiv 1904.09751, section 3.1). A temperature below 1 sharpens the
  distribution that is drawn from, before it is cut.
- Diversity and repetition are counted over pieces: they compare ways of one model, not models of different tokenizers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from ..recipe import Part, Positive

READS = {"beams": "beam", "temperature": "sample", "top_k": "sample", "top_p": "sample"}  # field -> method


class Decoding(Part):
    """A way to choose the next pieces."""

    method: Literal["greedy", "beam", "sample"] = "greedy"
    beams: int = Field(4, ge=2, description="texts that a beam search keeps")
    temperature: float = Field(1.0, gt=0, description="logits are divided by it before a piece is drawn")
    top_k: Positive | None = Field(None, description="draw from so many of the likeliest pieces")
    top_p: float | None = Field(
        None, gt=0, le=1, description="draw from the fewest pieces with this share of the probability"
    )

    @model_validator(mode="after")
    def _read(self) -> Decoding:
        wrong = next((name for name, method in READS.items() if self._given(name) and method != self.method), None)
        if wrong:
            raise ValueError(f"`{wrong}` is of the method {READS[wrong]}, and this is {self.method}")
        return self

    def _given(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).model_fields[name].default)

    @property
    def name(self) -> str:
        """What tables call it."""
        if self.method != "sample":
            return f"beam {self.beams}" if self.method == "beam" else "greedy"
        cuts = [f"top-k {self.top_k}"] if self.top_k else []
        cuts += [f"nucleus {self.top_p:g}"] if self.top_p else []
        plain = self.temperature == 1 and cuts
        return ", ".join([*cuts, *([] if plain else [f"temperature {self.temperature:g}"])])


def distinct(texts: Sequence[Sequence[Hashable]], n: int) -> float:
    """Different n-grams over all n-grams of all texts (Li et al., arXiv 1510.03055, distinct-n); 0 where none is."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / max(1, len(grams))


def repetition(texts: Sequence[Sequence[Hashable]], n: int = 4) -> float:
    """Mean over texts of 1 − different n-grams / n-grams of the text (Welleck et al., arXiv 1908.04319, seq-rep-n).

    A text without an n-gram repeats nothing: 0.
    """
    shares = [1 - len(set(grams)) / max(1, len(grams)) for grams in (_grams(text, n) for text in texts) if grams]
    return float(np.sum(shares)) / max(1, len(texts))


def _grams(text: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]

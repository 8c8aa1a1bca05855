"""The operation `trim`: which pieces of the vocabulary a student keeps."""

from __future__ import annotations

from pydantic import Field

from .parts import Part, Positive
from .pretraining import Corpus


class Trim(Part):
    """Keep the pieces that the texts need, and their embeddings."""

    coverage: float = Field(
        1.0, gt=0, le=1, description="share of the pieces' occurrences that is kept, the most frequent ones first"
    )
    pieces: Positive | None = Field(None, description="keep no more than so many")
    leading: Positive | None = Field(
        None,
        description="keep the vocabulary's first words and parts of words too, so many of at least two letters or "
        "digits: tokenizers, BERT's among them, list pieces by frequency",
    )
    corpus: Corpus | None = Field(
        None, description="texts of your users, in which pieces are counted beside those of the training rows"
    )

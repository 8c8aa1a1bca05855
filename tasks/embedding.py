"""Sentence embeddings: one vector for each text, and how much two texts mean the same is the cosine of theirs.

- The training rows are single texts without labels (`unlabelled`): a student learns its teacher's vectors. The rows of
  dev and test are pairs with a score, each two sequences, so a vector never depends on what it is compared with.
- Scored as STS-B is: the rank correlation of the cosines with the scores (Reimers and Gurevych, arXiv 1908.10084,
  section 4.1 says why not the linear one, which is given beside it).
- The model's own width is the number of its outputs, and no label has a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import recipe
from . import metrics
from .encoding import Encoder
from .table import Example
from .task import Answers, Head
from .text import EncodedTexts, number


class EmbeddingTask:
    """What is learnt: vectors whose cosines go with the scores."""

    head: Head = "embedding"
    kind = "embedding"
    labels: list[str] = []  # noqa: RUF012 - no output has a name
    pair = False  # the model reads one text at a time
    outputs = 0  # as many as the model is wide

    def __init__(self, spec: recipe.Task, train: Sequence[Example], labels: Sequence[str] = ()) -> None:  # noqa: ARG002
        self.metric: str = spec.metric or "spearman"

    def follow(self, names: Sequence[str]) -> None:
        """No output has a name."""

    def check(self, rows: Sequence[Example]) -> None:
        """Raise `AttarError` for a pair whose score is no number."""
        for row in rows:
            number(row)

    def encode(self, rows: Sequence[Example], encoder: Encoder) -> EncodedTexts:
        """Pairs as two sequences each, with their scores; single texts as one each, with none."""
        places = [row.where for row in rows]
        if rows[0].text_pair is None:
            nothing = np.full(len(rows), np.nan, np.float32)
            return EncodedTexts(encoder.encode([(row.text, None) for row in rows]), nothing, 1, places)
        texts = [(text, None) for row in rows for text in (row.text, row.text_pair or "")]
        return EncodedTexts(encoder.encode(texts), np.array([number(row) for row in rows], np.float32), 2, places)

    def score(self, answers: Answers, encoded: EncodedTexts) -> dict[str, float]:
        """Spearman and Pearson of the cosines of pairs, answers of shape (2 x pairs, width), with their scores."""
        vectors = np.asarray(answers, np.float64).reshape(len(encoded.targets), 2, -1)
        found, truth = cosine(vectors[:, 0], vectors[:, 1]), encoded.targets.astype(np.float64)
        return {"spearman": metrics.spearman(found, truth), "pearson": metrics.pearson(found, truth)}


def cosine(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cosine of each pair of vectors, (..., width) both to (...); 0 where one has no length."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    products = (first * second).sum(-1)
    found: npt.NDArray[np.float64] = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return found

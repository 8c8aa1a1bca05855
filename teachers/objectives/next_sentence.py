"""Next-sentence prediction, together with masked language modelling: does the second text follow the first?

- BERT, arXiv 1810.04805, section 3.1, task 2, and A.2: half of the time the second text is what follows in the document
  (label 0), half of the time text from elsewhere (label 1); the state of [CLS] is judged; the two losses are added.
- The span of a row is split after a random sentence; what follows the split is the true second text, and a false one
  begins at a random sentence of another document, as long as the room that the first leaves.
- Both kinds are as long: a false text has whole sentences until it reaches what the true one was to reach, so that a
  row's length, short for one in ten, tells nothing.
- Unlike BERT's code, a span always has two sentences or more, so that even chance is even, and what a false row leaves
  of its span waits for the next epoch's split instead of beginning the next row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F
from transformers import AlbertForPreTraining, BertForPreTraining, PreTrainedModel

from ...errors import AttarError
from . import heads, segments
from .base import Batch, Losses, Settings, require
from .mlm import MaskedLanguageModelling, Masking, piece_errors
from .pieces import Pieces
from .segments import Documents, Row, Span

NEXT, RANDOM = 0, 1


def row(documents: Documents, span: Span, pieces: Pieces, max_length: int, rng: np.random.Generator) -> Row:
    """A row of at most `max_length` pieces from a span of two sentences or more."""
    split = int(rng.integers(span.start + 1, span.stop))
    first, second = (segments.text(documents, Span(*ends)) for ends in ((span.start, split), (split, span.stop)))
    room, label = max_length - 3, NEXT
    if rng.random() < 0.5:
        # The span ended with the sentence that reached its aim, which lies anywhere in it.
        aim = len(second) - int(rng.integers(int(documents.lengths([span.stop - 1])[0])))
        label, second = RANDOM, elsewhere(documents, span.start, max(1, min(aim, room - len(first))), rng)
    return segments.pair(*segments.truncate(first, second, room, rng), label, pieces)


def elsewhere(documents: Documents, sentence: int, room: int, rng: np.random.Generator) -> list[int]:
    """Sentences from a random place of another document than `sentence`'s, until `room` pieces are there or it ends.

    Raises `AttarError` where the corpus is one document.
    """
    own = documents.document(int(documents.document_of(sentence)))
    others = documents.sentences - len(own)
    if others < 1:
        raise AttarError(
            "next-sentence prediction needs several documents, the corpus is one",
            where="corpus",
            fix="divide the corpus into documents, or use the objective mlm",
        )
    number = int(rng.integers(others))
    number += len(own) if number >= own.start else 0  # step over the own document
    end = documents.document(int(documents.document_of(number))).stop
    found: list[int] = []
    while len(found) < room and number < end:
        found += segments.text(documents, Span(number, number + 1))
        number += 1
    return found


class PairObjective(MaskedLanguageModelling):
    """Masked language modelling and a judgement over the pair, whose loss has the name `judgement`."""

    def __init__(self, model: PreTrainedModel, masking: Masking, judgement: str) -> None:
        super().__init__(model, masking)
        self.judgement = judgement

    def forward(self, batch: Batch) -> Losses:
        """The losses `mlm` and the judgement's."""
        outputs = heads.encode(self.model, batch)
        errors, _ = piece_errors(self.model, outputs.last_hidden_state, batch["labels"])
        judged = pair_errors(heads.pair_logits(self.model, outputs.pooler_output), batch["pair_label"])
        return {"mlm": self.mean(errors), self.judgement: self.mean(judged)}


def pair_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the judgement of each pair: (batch, 2), (batch,) -> (batch,)."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def build_pair(config: Any, pieces: Pieces, settings: Settings, judgement: str) -> PairObjective:
    """A BERT or ALBERT with random weights and both pre-training heads."""
    require(config, ("bert", "albert"), judgement)
    masking = Masking(pieces, settings.mask_rate, whole_words=settings.whole_words)
    kind = BertForPreTraining if config.model_type == "bert" else AlbertForPreTraining
    return PairObjective(kind(config), masking, judgement)


def build(config: Any, pieces: Pieces, settings: Settings) -> PairObjective:
    """A model with random weights that learns by masked language modelling and next-sentence prediction."""
    return build_pair(config, pieces, settings, "next_sentence")

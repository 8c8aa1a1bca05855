"""One question to a model that finds answers in a text (BERT, arXiv 1810.04805, sections 4.2 and 4.3).

How such a model is taught, scored and distilled is that of every task: `tasks.reading`, `teachers.heads.span`.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from ..errors import AttarError
from ..tasks import spans, windows
from ..tasks.encoding import Encoder
from ..tasks.spans import Prediction
from ..tasks.squad import Question
from . import checkpoint, heads


def answer(
    model: PreTrainedModel,
    encoder: Encoder,
    question: str,
    context: str,
    *,
    stride: int = 128,
    max_question: int = 64,
    n_best: int = 20,
    max_length: int = 30,
) -> Prediction:
    """What the model says to one question: the best spans with their characters in the context, and the null score.

    `stride` and `max_question` are pieces, as is `max_length`, the most of an answer. Raises `AttarError` where the
    encoder's windows are longer than the model holds.
    """
    asked = [Question("", question, context)]
    rows = windows.encode(asked, encoder, stride, max_question)
    limit, longest = checkpoint.positions(model.config), max(len(row.features.input_ids) for row in rows)
    if longest > limit:
        raise AttarError(f"the model holds {limit} pieces", where="max_length", fix=f"set it to {limit}")
    logits = heads.answers(model, "span", [row.features for row in rows], encoder.pad_id)
    return spans.predict(asked, rows, logits, n_best, max_length)[0]

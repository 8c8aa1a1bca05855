"""The pre-training heads of each family behind one name.

The vocabulary head is asked for chosen positions alone: over a vocabulary of 30,000 it costs more than a small encoder,
and six of seven positions of masked language modelling have no loss.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ...errors import UsageError
from .. import checkpoint
from .base import Batch


def encode(model: PreTrainedModel, batch: Batch) -> Any:
    """The base model's outputs: `last_hidden_state` (batch, length, hidden) and, where it pools, `pooler_output`."""
    names = checkpoint.takes(model)
    return model.base_model(**{name: batch[name] for name in names if name in batch})


def piece_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits over the vocabulary for hidden states: (positions, hidden) -> (positions, vocabulary).

    Raises `UsageError` for a family whose head is not known.
    """
    kind = model.config.model_type
    if kind == "bert":
        logits = model.cls.predictions(hidden)
    elif kind == "albert":
        logits = model.predictions(hidden)
    elif kind == "electra":
        logits = model.generator_lm_head(model.generator_predictions(hidden))
    elif kind == "distilbert":
        logits = model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))
    elif kind in ("roberta", "xlm-roberta", *checkpoint.DECODERS):
        logits = model.lm_head(hidden)
    else:
        raise UsageError(f"no vocabulary head is known for {kind}")
    return logits  # type: ignore[no-any-return]


def pair_logits(model: PreTrainedModel, pooled: Tensor) -> Tensor:
    """Logits of a judgement over a pair: (batch, hidden) -> (batch, 2)."""
    head = model.cls.seq_relationship if model.config.model_type == "bert" else model.sop_classifier
    return head(pooled)  # type: ignore[no-any-return]

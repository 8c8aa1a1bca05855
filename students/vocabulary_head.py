"""The masked-LM head of a general student, started from its teacher's.

- A dense layer, a layer norm, and a bias over the vocabulary; the output matrix is the word embeddings, which the
  encoder brings. Families name the three differently, and compute the same.
- A narrower student reads the units that it kept (`narrow`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..teachers import layout

ROBERTA = ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
PLACES = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
}


class Parts(NamedTuple):
    """The weights of a masked-LM head without its output matrix."""

    dense: nn.Linear
    norm: nn.LayerNorm
    bias: nn.Parameter


def parts(model: PreTrainedModel) -> Parts | None:
    """Where a model keeps its masked-LM head, if it has one."""
    dense, norm, bias = PLACES.get(layout.kind(model.config), ("", "", ""))
    if not dense or not hasattr(model, dense.partition(".")[0]):
        return None
    return Parts(model.get_submodule(dense), model.get_submodule(norm), model.get_parameter(bias))


def copy(teacher: PreTrainedModel, student: PreTrainedModel, units: Tensor | None = None) -> None:
    """Start the student's head, where both have one, from its teacher's, of which a narrower student kept `units`."""
    theirs, ours = parts(teacher), parts(student)
    if theirs is None or ours is None:
        return
    kept = torch.arange(len(ours.dense.bias)) if units is None else units
    with torch.no_grad():
        ours.dense.weight.copy_(theirs.dense.weight[kept][:, kept])
        ours.dense.bias.copy_(theirs.dense.bias[kept])
        ours.norm.weight.copy_(theirs.norm.weight[kept])
        ours.norm.bias.copy_(theirs.norm.bias[kept])
        ours.bias.copy_(theirs.bias)

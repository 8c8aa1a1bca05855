"""A BERT whose layers are equal, in groups, as the stock ALBERT that computes the same.

- ALBERT maps its embeddings into the hidden width by a matrix of its own; where both widths are equal it starts as the
  identity, hidden² weights that healing may use. Its norm of the embeddings is BERT's, for it comes before that.
- Its other differences are names: BERT's pooler is ALBERT's, and the heads above are the same layers.
- What a stock ALBERT cannot hold is left to `teachers.compact`: heads that do not make up the hidden width, a
  factorized embedding (BERT's norm comes behind it), DistilBERT's and RoBERTa's heads.
"""

from __future__ import annotations

import re

import torch
import transformers
from transformers import AlbertConfig, PreTrainedModel

from ..teachers import compact
from ..teachers.blocks import NAMES
from ..teachers.heads import pooling

SAME = ("vocab_size", "max_position_embeddings", "type_vocab_size", "hidden_act", "layer_norm_eps", "initializer_range",
        "hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_size", "num_hidden_layers", "intermediate_size",
        "num_attention_heads", "pad_token_id", "id2label", "label2id", "problem_type")  # fmt: skip
HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice")
LAYER = re.compile(r"(.*)encoder\.layer\.(\d+)\.(.+)\.(weight|bias)$")
COMMON = {place: name for name, place in NAMES["bert"].items()}


def holds(model: PreTrainedModel) -> bool:
    """Whether a stock ALBERT can hold a model whose layers are equal."""
    return _stock(model) in {f"Bert{head}" for head in HEADS} and compact.shape(model).stock


def _stock(model: PreTrainedModel) -> str:
    """The name of a model's stock class."""
    return str(getattr(type(model), "stock", type(model)).__name__)


def of(model: PreTrainedModel, groups: int) -> PreTrainedModel:
    """The ALBERT of a BERT whose layers are equal within each of `groups` groups of neighbours."""
    config = model.config
    options = {name: getattr(config, name) for name in SAME}
    if hasattr(config, pooling.FIELD):
        options[pooling.FIELD] = getattr(config, pooling.FIELD)
    if config.classifier_dropout is None:
        options["classifier_dropout_prob"] = config.hidden_dropout_prob
    else:
        options["classifier_dropout_prob"] = config.classifier_dropout
    stock = getattr(transformers, _stock(model).replace("Bert", "Albert"))
    made: PreTrainedModel = stock(AlbertConfig(embedding_size=config.hidden_size, num_hidden_groups=groups, **options))
    if model.base_model.pooler is None:
        made.base_model.pooler = None
    state = {_name(name, config.num_hidden_layers // groups): weight for name, weight in model.state_dict().items()}
    mapping = f"{'' if made.base_model is made else 'albert.'}encoder.embedding_hidden_mapping_in"
    state[f"{mapping}.weight"] = torch.eye(config.hidden_size)
    state[f"{mapping}.bias"] = torch.zeros(config.hidden_size)
    made.load_state_dict(state)
    return made.to(model.device).train(model.training)


def _name(name: str, size: int) -> str:
    """ALBERT's name of a weight of BERT's; layers of one group have one name."""
    found = LAYER.match(name)
    if found:
        before, number, module, part = found.groups()
        place = f"encoder.albert_layer_groups.{int(number) // size}.albert_layers.0"
        name = f"{before}{place}.{NAMES['albert'][COMMON[module]]}.{part}"
    return re.sub(r"^bert\.", "albert.", name).replace("pooler.dense.", "pooler.")

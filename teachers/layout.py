"""One set of names for the weights of every encoder family.

- `read` gives a model's encoder weights under common names; `write` puts such weights into a model of any family.
  Students are started, and later compressed, without knowing which family the teacher is of.
- Names: `word`, `position`, `segment`, `norm.{weight,bias}`, and per layer `{i}.query`, `{i}.key`, `{i}.value`,
  `{i}.output`, `{i}.attention_norm`, `{i}.up`, `{i}.down`, `{i}.output_norm`, each with `.weight` and `.bias`.
- Positions are given from 0 (RoBERTa's table starts after its padding index).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import AttarError

BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
DISTILBERT_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}


@dataclass(frozen=True)
class Family:
    """Where a family keeps its layers."""

    layers: str
    names: dict[str, str]


FAMILIES = {
    "bert": Family("encoder.layer", BERT_LAYER),
    "electra": Family("encoder.layer", BERT_LAYER),
    "roberta": Family("encoder.layer", BERT_LAYER),
    "xlm-roberta": Family("encoder.layer", BERT_LAYER),
    "distilbert": Family("transformer.layer", DISTILBERT_LAYER),
}
COMPACT = "attar_"  # what the model types of `compact` begin with
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """The sizes of an encoder or decoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    segments: int


def encoder(model: PreTrainedModel) -> Any:
    """The encoder below the task's head."""
    return model.base_model


def kind(config: Any) -> str:
    """The family of a configuration, which a compact model (`compact`) shares with the stock one it was cut from."""
    return str(config.model_type).removeprefix(COMPACT)


def family(model: PreTrainedModel) -> Family:
    """The model's layout; ALBERT's shared layers and decoders have none here."""
    name = kind(model.config)
    if name not in FAMILIES:
        raise AttarError(f"a student cannot be made from a {name} teacher", fix=f"use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def layers(model: PreTrainedModel) -> nn.ModuleList:
    """The layers in the order they run; ALBERT's run several times each."""
    others = {"albert": "encoder.albert_layer_groups", "gpt2": "h", "openai-gpt": "h"}
    found: nn.ModuleList = encoder(model).get_submodule(others.get(kind(model.config)) or family(model).layers)
    return found


def linear(model: PreTrainedModel, layer: int, name: str) -> nn.Module:
    """A module of a layer, counted from 0, by its common name."""
    return layers(model)[layer].get_submodule(family(model).names[name])


def shape(model: PreTrainedModel) -> Shape:
    """The model's sizes, whatever its config calls them; of uneven layers the most heads and neurons."""
    config = model.config
    if kind(config) == "distilbert":
        sizes = (config.n_layers, config.dim, config.n_heads, config.hidden_dim)
    elif kind(config) in ("gpt2", "openai-gpt"):
        inner = getattr(config, "n_inner", None) or 4 * config.n_embd
        sizes = (config.n_layer, config.n_embd, config.n_head, inner)
    else:
        sizes = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size)
    offset = position_offset(config)
    segments = getattr(config, "type_vocab_size", 0)
    return Shape(*sizes, config.vocab_size, config.max_position_embeddings - offset, segments)


def activation(model: PreTrainedModel) -> str:
    """The feed-forward layers' activation, whatever the config calls it."""
    return str(getattr(model.config, "hidden_act", None) or model.config.activation)


def position_offset(config: Any) -> int:
    """Where position 0 stands in the table: RoBERTa's starts after its padding index."""
    return config.pad_token_id + 1 if kind(config) in ("roberta", "xlm-roberta") else 0


def _places(model: PreTrainedModel) -> dict[str, str]:
    """Common name -> name of the parameter in the encoder."""
    layout = family(model)
    places = {"word": "embeddings.word_embeddings.weight", "position": "embeddings.position_embeddings.weight"}
    if hasattr(encoder(model).embeddings, "token_type_embeddings"):
        places["segment"] = "embeddings.token_type_embeddings.weight"
    for part in ("weight", "bias"):
        places[f"norm.{part}"] = f"embeddings.LayerNorm.{part}"
        for number in range(shape(model).layers):
            for name, place in layout.names.items():
                places[f"{number}.{name}.{part}"] = f"{layout.layers}.{number}.{place}.{part}"
    return places


def read(model: PreTrainedModel) -> Weights:
    """Copies of the encoder's weights under common names."""
    if hasattr(encoder(model), "embeddings_project"):
        raise AttarError("a teacher with factorized embeddings cannot start a student", fix="set student.start: random")
    if model.config.model_type.startswith(COMPACT):
        raise AttarError(
            "a teacher with layers of several shapes cannot start a student", fix="set student.start: random"
        )
    found = dict(encoder(model).named_parameters(remove_duplicate=False))
    weights = {name: found[place].detach().clone() for name, place in _places(model).items()}
    weights["position"] = weights["position"][position_offset(model.config) :]
    return weights


def write(model: PreTrainedModel, weights: Weights) -> None:
    """Put weights into the encoder; a name the model has and `weights` lacks keeps its value."""
    found = dict(encoder(model).named_parameters())
    offset = position_offset(model.config)
    with torch.no_grad():
        for name, place in _places(model).items():
            if name in weights:
                target = found[place][offset:] if name == "position" else found[place]
                target.copy_(weights[name])

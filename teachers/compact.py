"""The model types of what no stock configuration can hold: heads and neurons that differ from layer to layer, a hidden
width that its heads do not make up, a factorized word embedding, layers that share some of their weights.

- A compact model is the stock class of its family and head, built and then reshaped as `attar_shape` and
  `attar_sharing` in config.json say, before any weight is loaded. So every head, the attention functions, saving and
  loading are the library's own, and the names of the weights are the stock ones.
- transformers' `per_layer_config` does not help: BERT, DistilBERT, ALBERT and GPT-2 build all layers from the one
  configuration, and all of them ask for heads that make up the hidden width.
- `attar_bert`, `attar_distilbert`, `attar_albert` and `attar_gpt2` are registered with the `AutoModel` classes when
  this file is imported, which any import of `attar.students` or `attar.teachers.checkpoint` does. No remote code.
- `like` takes the stock class wherever that holds the shape.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import AttarError
from . import layout, sharing
from .blocks import blocks

FIELD = "attar_shape"
FAMILIES = {"bert": "Bert", "distilbert": "DistilBert", "albert": "Albert", "gpt2": "GPT2"}
AUTO = ("", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice",
        "ForMaskedLM", "ForCausalLM")  # fmt: skip
INNER = {"distilbert": "hidden_dim", "gpt2": "n_inner"}  # what the others call `intermediate_size`


@dataclass(frozen=True)
class Shape:
    """The sizes of a model whose layers may differ."""

    hidden: int
    depth: int  # layers as they run; ALBERT's run several times each
    head_size: int
    layers: tuple[tuple[int, int], ...]  # heads and neurons of each layer with weights of its own
    rank: int | None = None  # of the word embedding

    @property
    def stock(self) -> bool:
        """Whether a stock configuration holds it."""
        return self.rank is None and len(set(self.layers)) == 1 and self.layers[0][0] * self.head_size == self.hidden


class FactorizedEmbedding(nn.Module):
    """A word embedding of rank r: ids (...) to (..., hidden) by a table (pieces, r) and a matrix (hidden, r).

    ALBERT, arXiv 1909.11942, section 3.1: V × E + E × H weights in place of V × H.
    """

    def __init__(self, table: nn.Embedding, rank: int) -> None:
        super().__init__()
        self.table = nn.Embedding(table.num_embeddings, rank, padding_idx=table.padding_idx)
        self.project = nn.Linear(rank, table.embedding_dim, bias=False)

    @property
    def weight(self) -> Tensor:
        """The table, which is what stands for the words."""
        return self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings of pieces."""
        found: Tensor = self.project(self.table(ids))
        return found


class Compact:
    """What a compact class does beside its stock class: it reshapes itself while it is built."""

    stock: type[PreTrainedModel]

    def __init__(self, config: Any, *args: Any, **options: Any) -> None:
        with _one_head(config):
            super().__init__(config, *args, **options)  # type: ignore[call-arg]
        model: Any = self
        reshape(model)
        sharing.tie(model)
        model.post_init()  # once more: it starts new weights, and notes which are tied


@contextlib.contextmanager
def _one_head(config: Any) -> Iterator[None]:
    """Let a stock class be built whose heads do not make up its hidden width."""
    stated = config.num_attention_heads
    config.num_attention_heads = 1
    try:
        yield
    finally:
        config.num_attention_heads = stated


def reshape(model: PreTrainedModel) -> None:
    """Give a model just built the shape that its configuration states. Raises `AttarError` where that is none."""
    stated: Any = getattr(model.config, FIELD, None)
    try:
        head_size, sizes, rank = stated["head_size"], stated["layers"], stated.get("rank")
        for block, (heads, neurons) in zip(blocks(model), sizes, strict=True):
            if min(heads, head_size, neurons) < 1:
                raise ValueError(f"{heads} heads of {head_size} and {neurons} neurons")
            block.resize(heads, head_size, neurons)
        if rank is not None:
            model.set_input_embeddings(FactorizedEmbedding(model.get_input_embeddings(), rank))
    except (TypeError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        raise AttarError(f"{FIELD} of the configuration fits no {model.config.model_type}: {error}") from None


def shape(model: PreTrainedModel) -> Shape:
    """The sizes that a model has, stock or compact."""
    own = blocks(model)
    words = model.get_input_embeddings()
    return Shape(
        hidden=layout.shape(model).hidden,
        depth=layout.shape(model).layers,
        head_size=own[0].head_size,
        layers=tuple((block.heads, block.neurons) for block in own),
        rank=words.project.in_features if isinstance(words, FactorizedEmbedding) else None,
    )


def like(model: PreTrainedModel, wanted: Shape, shared: dict[str, Any] | None = None) -> PreTrainedModel:
    """A model of the family and head of `model` in another shape, its weights new; `shared` layers as `sharing` says.

    It is of the stock class where that holds the shape. Raises `AttarError` for a head that no model type holds.
    """
    stock: Any = getattr(type(model), "stock", type(model))
    if stock not in CLASSES:
        raise AttarError(
            f"a {stock.__name__} cannot be cut", fix=f"use one of {', '.join(FAMILIES)} with a task's head"
        )
    kind: Any = stock if wanted.stock and shared is None else CLASSES[stock]
    config = kind.config_class(**_settings(model.config))
    config.hidden_size, config.num_hidden_layers = wanted.hidden, wanted.depth
    config.num_attention_heads = max(heads for heads, _ in wanted.layers)
    inner = INNER.get(layout.kind(config), "intermediate_size")
    setattr(config, inner, max(neurons for _, neurons in wanted.layers))
    if kind is not stock:
        told = {"head_size": wanted.head_size, "layers": [list(sizes) for sizes in wanted.layers], "rank": wanted.rank}
        setattr(config, FIELD, told)
        if shared is not None:
            setattr(config, sharing.FIELD, shared)
    made: PreTrainedModel = kind(config)
    if getattr(model.base_model, "pooler", True) is None:
        made.base_model.pooler = None
    return made.to(model.device).train(model.training)


def filled(model: PreTrainedModel, state: dict[str, Tensor], **changes: Any) -> PreTrainedModel:
    """A model like `model` with these weights; `changes` are of its shape, or `shared`.

    Layers that share stay so, unless `shared` says otherwise.
    """
    shared = changes.pop("shared", getattr(model.config, sharing.FIELD, None))
    made = like(model, replace(shape(model), **changes), shared)
    made.load_state_dict(state)
    return made


def _settings(config: Any) -> dict[str, Any]:
    """What a configuration says beside its shape."""
    dropped = {"model_type", "architectures", "transformers_version", FIELD, sharing.FIELD}
    return {name: value for name, value in config.to_dict().items() if name not in dropped}


def _register() -> dict[type, type]:
    """Make the compact classes and tell the library; gives them by their stock class."""
    made: dict[type, type] = {}
    for family, prefix in FAMILIES.items():
        stated = getattr(transformers, f"{prefix}Config")
        config: Any = type(
            f"Compact{prefix}Config", (stated,), {"model_type": layout.COMPACT + family, "__module__": __name__}
        )
        transformers.AutoConfig.register(config.model_type, config, exist_ok=True)
        for head in AUTO:
            auto = getattr(transformers, f"AutoModel{head}")
            causal = head == "ForCausalLM"
            if causal != (family == "gpt2" and causal) or stated not in auto._model_mapping:
                continue
            stock = auto._model_mapping[stated]
            fields = {"stock": stock, "config_class": config, "__module__": __name__}
            made[stock] = type(f"Compact{stock.__name__}", (Compact, stock), fields)
            auto.register(config, made[stock], exist_ok=True)
    return made


CLASSES = _register()

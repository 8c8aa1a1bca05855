"""Named shapes: the papers' sizes, and `mini` ones that train on a laptop, as stock transformers configurations.

- A shape states sizes only; `config` turns it into the family's own configuration (for `gpt1`: `openai-gpt`).
- Sources: BERT (arXiv 1810.04805, section 3); GPT-1 (Radford et al. 2018, section 4.1); GPT-2 (Radford et al. 2019,
  table 2); ALBERT (arXiv 1909.11942, table 1; 4H wide feed-forward layers and H/64 heads, section 3.1); ELECTRA (arXiv
  2003.10555, table 6); bert-mini (arXiv 1908.08962). The other `mini` shapes are as deep and as wide as bert-mini.
- A width that is overridden takes the rest with it, 64 to a head and four times as wide inside, unless that is given.
- Random weights are transformers' own. It draws them as the papers say, from N(0, 0.02²), and scales GPT-2's residual
  projections by 1/√N with N twice the depth (Radford et al. 2019, section 2.3): another scaling would be one too many.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    ElectraConfig,
    GPT2Config,
    OpenAIGPTConfig,
    PretrainedConfig,
)

from ..errors import UsageError, nearest

HEAD = 64  # width of an attention head in every one of these papers


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; `embedding_size` (factorized) and `groups` (of shared layers) where the family has it."""

    family: Literal["bert", "albert", "electra", "gpt1", "gpt2"]
    layers: int
    hidden_size: int
    heads: int
    intermediate_size: int
    positions: int
    vocabulary: int
    embedding_size: int | None = None
    groups: int | None = None


@dataclass(frozen=True)
class Special:
    """The tokenizer's ids that a configuration states; one that the vocabulary lacks is None."""

    pad: int | None = None
    start: int | None = None
    end: int | None = None


def _bert(layers: int, hidden: int) -> Shape:
    return Shape("bert", layers, hidden, hidden // HEAD, 4 * hidden, 512, 30522)


def _albert(layers: int, hidden: int) -> Shape:
    return Shape("albert", layers, hidden, hidden // HEAD, 4 * hidden, 512, 30000, 128, 1)


def _electra(layers: int, hidden: int, embedding: int) -> Shape:
    return Shape("electra", layers, hidden, hidden // HEAD, 4 * hidden, 512, 30522, embedding)


def _gpt1(layers: int, hidden: int) -> Shape:
    return Shape("gpt1", layers, hidden, hidden // HEAD, 4 * hidden, 512, 40478)


def _gpt2(layers: int, hidden: int) -> Shape:
    return Shape("gpt2", layers, hidden, hidden // HEAD, 4 * hidden, 1024, 50257)


SHAPES = {
    "bert-mini": _bert(4, 256),
    "bert-base": _bert(12, 768),
    "bert-large": _bert(24, 1024),
    "albert-mini": _albert(4, 256),
    "albert-base": _albert(12, 768),
    "albert-large": _albert(24, 1024),
    "albert-xlarge": _albert(24, 2048),  # the released weights were trained with 16 heads, the paper's rule gives 32
    "albert-xxlarge": _albert(12, 4096),
    "electra-mini": _electra(4, 256, 128),
    "electra-small": _electra(12, 256, 128),
    "electra-base": _electra(12, 768, 768),
    "electra-large": _electra(24, 1024, 1024),
    "gpt1": _gpt1(12, 768),
    "gpt1-mini": _gpt1(4, 256),
    "gpt2": _gpt2(12, 768),
    "gpt2-mini": _gpt2(4, 256),
    "gpt2-medium": _gpt2(24, 1024),
    "gpt2-large": _gpt2(36, 1280),
    "gpt2-xl": _gpt2(48, 1600),
}


def shape(name: str, **sizes: int | None) -> Shape:
    """The named shape with some sizes of one's own; a size of None is the shape's.

    Raises `UsageError` for an unknown name, a size the family cannot have, or heads that do not divide the width.
    """
    if name not in SHAPES:
        raise UsageError(f"no shape is called {name!r}", fix=nearest(name, SHAPES))
    base = SHAPES[name]
    given = {key: value for key, value in sizes.items() if value is not None}
    for key, value in given.items():
        known = [size for size, default in asdict(base).items() if size != "family" and default is not None]
        if key not in known:
            raise UsageError(f"{base.family} has no size {key!r}", where=name, fix=nearest(key, known))
        if value < 1:
            raise UsageError(f"{key} is {value}, it must be at least 1", where=name)
    if "hidden_size" in given:
        width = given["hidden_size"]
        given = {"heads": max(1, width // HEAD), "intermediate_size": 4 * width} | given
        if base.family == "electra" and base.embedding_size == base.hidden_size:
            given = {"embedding_size": width} | given
    found = replace(base, **given)  # type: ignore[arg-type]  # every size is an int
    _check(found, name)
    return found


def _check(sizes: Shape, name: str) -> None:
    """Refuse what no model of the family can hold."""
    if sizes.hidden_size % sizes.heads:
        raise UsageError(
            f"{sizes.heads} heads do not divide a width of {sizes.hidden_size}", where=name, fix="set heads"
        )
    if sizes.family == "gpt1" and sizes.intermediate_size != 4 * sizes.hidden_size:
        raise UsageError("gpt1's feed-forward layers are always four times its width", where=name)
    if sizes.groups is not None and sizes.groups > sizes.layers:
        raise UsageError(f"{sizes.groups} groups are more than {sizes.layers} layers", where=name, fix="set groups")


DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob", "resid_pdrop", "embd_pdrop",
    "attn_pdrop",
)  # fmt: skip


def config(
    sizes: Shape,
    special: Special | None = None,
    *,
    dropout: float | None = None,
    attention_dropout: float | None = None,
) -> PretrainedConfig:
    """The stock configuration of a shape; a dropout of None is the family's own."""
    special = special or Special()
    ids = {"pad_token_id": special.pad, "bos_token_id": special.start, "eos_token_id": special.end}
    if sizes.family in ("gpt1", "gpt2"):
        return _decoder(sizes, ids, dropout, attention_dropout)
    extra: dict[str, Any] = {} if dropout is None else {"hidden_dropout_prob": dropout}
    if dropout is not None and sizes.family == "albert":
        extra["classifier_dropout_prob"] = dropout  # also of its sentence-order head; the others follow the hidden one
    if attention_dropout is not None:
        extra["attention_probs_dropout_prob"] = attention_dropout
    if sizes.embedding_size is not None:
        extra["embedding_size"] = sizes.embedding_size
    if sizes.groups is not None:
        extra["num_hidden_groups"] = sizes.groups
    kinds = {"bert": BertConfig, "albert": AlbertConfig, "electra": ElectraConfig}
    return kinds[sizes.family](
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.positions,
        **ids,
        **extra,
    )


def own_dropout(config: PretrainedConfig) -> None:
    """Let a configuration have its family's own dropout, whatever it was built with."""
    own = type(config)()
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, getattr(own, name))


def _decoder(
    sizes: Shape, ids: dict[str, int | None], dropout: float | None, attention_dropout: float | None
) -> PretrainedConfig:
    extra: dict[str, Any] = {} if dropout is None else {"resid_pdrop": dropout, "embd_pdrop": dropout}
    if attention_dropout is not None:
        extra["attn_pdrop"] = attention_dropout
    if sizes.family == "gpt2":
        extra["n_inner"] = sizes.intermediate_size
    return (GPT2Config if sizes.family == "gpt2" else OpenAIGPTConfig)(
        vocab_size=sizes.vocabulary,
        n_embd=sizes.hidden_size,
        n_layer=sizes.layers,
        n_head=sizes.heads,
        n_positions=sizes.positions,
        **ids,
        **extra,
    )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is drawn inside follows from the seed, and the generator goes on outside as if nothing had been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def save_untrained(name: str, labels: int, folder: Path) -> None:
    """Save a classifier of a named shape with random weights: what it costs to run needs no training."""
    torch.manual_seed(0)
    found = config(shape(name))
    found.num_labels = labels
    AutoModelForSequenceClassification.from_config(found).save_pretrained(folder)

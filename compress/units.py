"""The units that can be cut, and how much each matters. `importance` measures them, `pruning` chooses among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ..teachers import layout
from ..teachers.blocks import Block, blocks

READERS = {"heads": "output", "neurons": "down"}  # the matrix that reads what they computed, and so writes for them


@dataclass
class Scores:
    """The more, the more it matters."""

    heads: list[Tensor]  # of each attention with weights of its own, (heads,)
    neurons: list[Tensor]  # of each feed-forward part with weights of its own, (neurons,)
    hidden: Tensor  # (hidden,)
    layers: Tensor  # (layers with weights of their own,)

    def __add__(self, other: Scores) -> Scores:
        heads = [mine + theirs for mine, theirs in zip(self.heads, other.heads, strict=True)]
        neurons = [mine + theirs for mine, theirs in zip(self.neurons, other.neurons, strict=True)]
        return Scores(heads, neurons, self.hidden + other.hidden, self.layers + other.layers)


def owners(own: Iterable[Block], name: str) -> list[Block]:
    """Of the layers that share the weights of a module the first, in order."""
    found: dict[int, Block] = {}
    for block in own:
        found.setdefault(id(block.get(name).weight), block)
    return list(found.values())


def norms(work: PreTrainedModel) -> list[Any]:
    """The layer norms that every hidden unit goes through."""
    encoder, kind = layout.encoder(work), layout.kind(work.config)
    first = {"gpt2": "ln_f", "albert": ""}.get(kind, "embeddings.LayerNorm")  # ALBERT's is before the hidden width
    own = blocks(work)
    found = [block.get(name) for name in ("attention_norm", "output_norm") for block in owners(own, name)]
    return [*([encoder.get_submodule(first)] if first else []), *found]


def of_heads(values: Tensor, block: Block) -> Tensor:
    """The sums over each head of (heads × head size,)."""
    return values.view(-1, block.head_size).sum(1)

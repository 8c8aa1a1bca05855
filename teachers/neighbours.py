"""A start from which an encoder looks at neighbouring pieces, for short pre-trainings.

- From random weights masked language modelling first learns how frequent pieces are, and stays there for long. Here the
  pieces beside a place are at hand from the first step.
- Positions start as sinusoids (Vaswani et al. 2017, section 3.5), twice as strong as the words: from each position to
  the one beside it then leads one rotation for all. Waves are shorter than there, so that neighbours differ.
- The first four heads, counted through the layers, start with queries that are rotated against their keys by −1, 1, −2
  and 2 positions. Random attention is made alike to a trained one in "Mimetic initialization" (arXiv 2305.09828).
- Where embeddings are factorized, their projection starts as the identity beside its random values.
- These are weights of stock models, and all of them learn.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import UsageError
from . import checkpoint, layout

FASTEST, BASE = 2.5, 30.0  # radians a position of the shortest wave, and how much longer the longest is
AMPLITUDE = 0.057  # of the sinusoids; words are drawn from N(0, 0.02²)
GAIN = 2.0  # of queries and keys
OFFSETS = (-1, 1, -2, 2)


@torch.no_grad()
def start(model: PreTrainedModel) -> None:
    """Let a BERT, ALBERT or ELECTRA with random weights begin so; raises `UsageError` for a decoder."""
    if layout.kind(model.config) in checkpoint.DECODERS:
        raise UsageError("a decoder has the piece before it at hand", where="pretrain.start", fix="set it to random")
    encoder = layout.encoder(model)
    positions = encoder.embeddings.position_embeddings.weight
    positions.copy_(AMPLITUDE * sinusoids(*positions.shape))
    for name in ("embeddings_project", "encoder.embedding_hidden_mapping_in"):
        if name in dict(encoder.named_modules()):
            weight = encoder.get_submodule(name).weight
            weight.add_(torch.eye(*weight.shape))
    heads = model.config.num_attention_heads
    width = model.config.hidden_size // heads
    for number, offset in enumerate(OFFSETS):
        layer, head = divmod(number, heads)
        if layer < len(layout.layers(model)):
            _look(model, layer, head * width, rotation(width, positions.shape[1], offset))


def sinusoids(count: int, width: int) -> Tensor:
    """Sine and cosine in turns, from the shortest wave: (count, width)."""
    angles = torch.arange(count)[:, None] * _frequencies(width)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)


def rotation(width: int, of: int, offset: int) -> Tensor:
    """The matrix (width, width) that leads from a position to the one at `offset`, in the first waves `of` so many."""
    angles = offset * _frequencies(of)[: width // 2]
    turns = [torch.tensor([[a.cos(), a.sin()], [-a.sin(), a.cos()]]) for a in angles]
    found: Tensor = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    return found


def _frequencies(width: int) -> Tensor:
    return FASTEST * torch.exp(-math.log(BASE) * torch.arange(width // 2) / (width // 2))


def _look(model: PreTrainedModel, layer: int, first: int, turn: Tensor) -> None:
    """Let a head, whose queries and keys begin at the row `first`, look at the position that `turn` leads to."""
    attention: Any = layout.layers(model)[layer]
    if layout.kind(model.config) == "albert":
        attention = attention.albert_layers[0].attention
    else:
        attention = attention.attention.self
    width = len(turn)
    attention.query.weight[first : first + width, :width] += GAIN * turn
    attention.key.weight[first : first + width, :width] += GAIN * torch.eye(width)

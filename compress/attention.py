"""Attention scores before the softmax, from any Hugging Face encoder.

- `attentions` of the library are after the softmax, and None under the fused kernels. Here an attention function
  registered with the library computes scores, keeps them while a recording is open, and goes on as `eager` does.
- The scores are kept before the mask is added, so padded positions hold plain products and the loss leaves them out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "attar_scores"
_open: list[list[Tensor]] = []


def scored_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(Q K' / sqrt(d) + mask) V; inputs (batch, heads, length, d), output (batch, length, heads, d)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.transpose(-1, -2) * scale
    if _open:
        _open[-1].append(scores)
    if attention_mask is not None:
        scores = scores + attention_mask[..., : key.shape[-2]]
    weights = F.dropout(F.softmax(scores, -1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(NAME, scored_attention)
AttentionMaskInterface.register(NAME, eager_mask)


@contextlib.contextmanager
def recording() -> Iterator[list[Tensor]]:
    """Collect the scores, (batch, heads, length, length) a layer, of the models that run inside."""
    scores: list[Tensor] = []
    _open.append(scores)
    try:
        yield scores
    finally:
        _open.pop()


@contextlib.contextmanager
def scored(*models: Any) -> Iterator[None]:
    """Let models use the scored attention, and give them back their own afterwards."""
    before = [model.config._attn_implementation for model in models]
    try:
        for model in models:
            model.set_attn_implementation(NAME)
        yield
    finally:
        for model, name in zip(models, before, strict=True):
            model.set_attn_implementation(name)

"""What a loss reads inside a model: hidden states, attention scores, and queries, keys and values of single layers.

- Nothing else is kept: a list of all hidden states would hold every layer of the student in memory for its gradient,
  and every layer of the teacher for nothing.
- Nothing above the highest layer that is read needs to run: `run` ends the pass there, so a teacher whose middle layer
  teaches costs half, and no pooler or head is computed.
- The highest hidden state of a decoder is what its encoder gives, as in the library: GPT-2 has a norm above its layers,
  and heads read what that leaves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..teachers import checkpoint, layout
from . import attention

Layers = frozenset[int]
NONE: Layers = frozenset()


@dataclass(frozen=True)
class Wanted:
    """The layers that a loss reads, counted from 1; hidden state 0 is what the embeddings give."""

    hidden: Layers = NONE
    scores: Layers = NONE
    vectors: Layers = NONE  # queries, keys and values

    @property
    def highest(self) -> int:
        """The last layer that has to run."""
        return max(self.hidden | self.scores | self.vectors, default=0)

    @property
    def recorded(self) -> bool:
        """Whether the attention has to be recorded."""
        return bool(self.scores or self.vectors)

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(self.hidden | other.hidden, self.scores | other.scores, self.vectors | other.vectors)


@dataclass
class Seen:
    """What a model computed, by layer."""

    hidden: dict[int, Tensor] = field(default_factory=dict)  # (batch, length, hidden)
    scores: dict[int, Tensor] = field(default_factory=dict)  # (batch, heads, length, length), before the softmax
    vectors: dict[int, Tensor] = field(default_factory=dict)  # (batch, 3, heads, length, d): query, key, value


class _Enough(Exception):  # noqa: N818 - it ends a forward pass, and is no error
    """The highest layer that is read has run."""


def run(model: PreTrainedModel, inputs: dict[str, Tensor], wanted: Wanted) -> Seen:
    """Run the encoder as far as the wanted layers need it. Where attention is recorded, the model is `recordable`."""
    with watching(model, wanted, stop=True) as seen, contextlib.suppress(_Enough):
        layout.encoder(model)(**inputs)
    return seen


@contextlib.contextmanager
def watching(model: PreTrainedModel, wanted: Wanted, *, stop: bool = False) -> Iterator[Seen]:
    """Keep what is wanted of the one forward pass inside; with `stop` end it, by `_Enough`, after the highest layer."""
    seen, layer, modules = Seen(), 0, layout.layers(model)
    top = len(modules) if layout.kind(model.config) in checkpoint.DECODERS else None

    def before(module: nn.Module, args: Any) -> None:  # noqa: ARG001 - torch's interface
        if layer == 0 and 0 in wanted.hidden:
            seen.hidden[0] = args[0]
        if stop and wanted.highest == 0:
            raise _Enough

    def after(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001 - torch's interface
        nonlocal layer
        layer += 1
        if layer in wanted.hidden:
            seen.hidden[layer] = output[0] if isinstance(output, (tuple, list)) else output
        if stop and layer == wanted.highest and not (layer == top and layer in wanted.hidden):
            raise _Enough

    def above(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001 - torch's interface
        if top in wanted.hidden:
            seen.hidden[top] = output[0]

    hooks = [module.register_forward_pre_hook(before) for module in modules]
    hooks += [module.register_forward_hook(after) for module in modules]
    hooks += [layout.encoder(model).register_forward_hook(above)] if top else []
    try:
        with attention.recording(wanted.scores, wanted.vectors) as record:
            seen.scores, seen.vectors = record.scores, record.vectors
            yield seen
    finally:
        for hook in hooks:
            hook.remove()

"""What the units of a model write at real pieces of rows: the importance `activation`.

- Neurons: E|a|² · |column|². Heads: E|W_h a_h|². Hidden units: the variance behind each norm, in the norm's own spread
  (as `students.activations` chooses them). Layers: 1 - the cosine of what goes in and what comes out (Block Influence,
  arXiv 2403.03853, eq. 1).
- Sums are kept, not states, so memory does not grow with the rows. A module that runs several times is summed over all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..teachers import checkpoint, layout
from ..teachers.blocks import Block, blocks
from .evidence import Evidence
from .units import Scores, norms, owners

Summed = Callable[[Tensor, Tensor], Tensor]  # of what real pieces read and wrote, (pieces, width) each


def activation(work: PreTrainedModel, evidence: Evidence) -> Scores:
    """By what is written at the real pieces of rows. Raises `AttarError` where there are none."""
    own, seen = blocks(work), Sums()
    for block in owners(own, "output"):
        seen.watch("heads", block.get("output"), _grams(block.head_size))
    for block in owners(own, "down"):
        seen.watch("neurons", block.get("down"), lambda read, _: read.pow(2).sum(0))
    for norm in norms(work):
        seen.watch("hidden", norm, lambda _, wrote: torch.stack([wrote.sum(0), wrote.pow(2).sum(0)]))
    for block in own:
        seen.watch("layers", block.module, lambda read, wrote: (1 - F.cosine_similarity(read, wrote, -1)).sum())
    seen.run(work, evidence)
    return Scores(
        heads=[_of_heads(block, seen.mean("heads", block.get("output"))) for block in owners(own, "output")],
        neurons=[
            seen.mean("neurons", block.get("down")) * _weight(block.get("down")).pow(2).sum(0)
            for block in owners(own, "down")
        ],
        hidden=torch.stack([_spread(*seen.mean("hidden", norm)) for norm in norms(work)]).sum(0),
        layers=torch.stack([seen.mean("layers", block.module) for block in own]),
    )


class Sums:
    """What goes through modules at real pieces, summed while a model runs."""

    def __init__(self) -> None:
        self.mask = torch.ones(0, dtype=torch.bool)  # of the batch that runs, (batch, pieces)
        self.sums: dict[tuple[str, nn.Module], Tensor] = {}
        self.pieces: dict[tuple[str, nn.Module], int] = {}
        self.hooks: list[Any] = []

    def watch(self, kind: str, module: nn.Module, summed: Summed) -> None:
        """Sum what a module reads and writes, under a name."""

        def see(module: nn.Module, args: Any, output: Any) -> None:
            wrote = output[0] if isinstance(output, tuple) else output
            found = summed(args[0][self.mask].double(), wrote[self.mask].double())
            place = kind, module
            self.sums[place] = self.sums[place] + found if place in self.sums else found
            self.pieces[place] = self.pieces.get(place, 0) + int(self.mask.sum())

        self.hooks.append(module.register_forward_hook(see))

    def run(self, work: PreTrainedModel, evidence: Evidence) -> None:
        """Let the encoder read the rows, once; then nothing is watched any more."""
        try:
            for arrays in evidence.needed_rows("prune.importance: activation"):
                taken = checkpoint.tensors(arrays, checkpoint.takes(work), work.device)
                self.mask = taken["attention_mask"].bool()
                with torch.no_grad():
                    layout.encoder(work)(**taken)
        finally:
            for hook in self.hooks:
                hook.remove()

    def mean(self, kind: str, module: nn.Module) -> Tensor:
        """The mean over real pieces."""
        return self.sums[kind, module] / self.pieces[kind, module]


def _grams(size: int) -> Summed:
    """Sums of a a' of each head: (pieces, heads × size) to (heads, size, size)."""

    def summed(read: Tensor, wrote: Tensor) -> Tensor:  # noqa: ARG001 - one interface
        split = read.view(len(read), -1, size)
        return torch.einsum("phd,phe->hde", split, split)

    return summed


def _of_heads(block: Block, grams: Tensor) -> Tensor:
    """E|W_h a_h|², the trace of W_h E[a a'] W_h': (heads,)."""
    weight = _weight(block.get("output"))
    split = weight.view(len(weight), -1, block.head_size)
    return torch.einsum("ohd,hde,ohe->h", split, grams, split)


def _spread(mean: Tensor, square: Tensor) -> Tensor:
    """The variances of hidden units, relative to their mean."""
    variance = square - mean.pow(2)
    return variance / variance.mean()


def _weight(module: nn.Module) -> Tensor:
    return module.weight.detach().double()  # type: ignore[operator]

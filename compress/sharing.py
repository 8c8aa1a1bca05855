"""ALBERT-style sharing of a trained student (arXiv 1909.11942, section 3.1): its layers, or parts of them, become one.

- All of a BERT's layers, or groups of them, become a stock ALBERT that computes exactly the same (`albert`). Attention
  or feed-forward alone, and what ALBERT cannot hold, become a compact model with tied layers (`teachers.compact`).
- What a group starts from: `mean` of its layers; `first`; or `best`, the layer that in the place of its whole group
  (the other groups as they were) gives the lowest mean loss on training rows. Healing is the caller's.
- A norm belongs to the block that it ends, as in `teachers.sharing`, which ties.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..teachers import compact, layout, sharing
from ..teachers.blocks import Block, blocks
from . import albert
from .evidence import Evidence, Losses

Layer = dict[str, Tensor]  # the weights of the shared part of a layer


def share(model: PreTrainedModel, spec: recipe.Share, evidence: Evidence) -> PreTrainedModel:
    """A student whose layers share as the spec says; `model` stays as it is, and `evidence` is for `start: best`.

    Raises `UsageError` for a model whose layers are shared already, groups that are not equal, and layers of several
    shapes in one group.
    """
    size = _group_size(model, spec)
    work = copy.deepcopy(model).eval()
    own = blocks(work)
    groups = [own[first : first + size] for first in range(0, len(own), size)]
    chosen = [_start(work, group, spec, evidence) for group in groups]
    for group, layer in zip(groups, chosen, strict=True):
        for block in group:
            _put(block, layer)
    if spec.part == "all" and albert.holds(work):
        return albert.of(work, spec.groups)
    return compact.filled(model, work.state_dict(), shared={"part": spec.part, "group": size}).requires_grad_(True)


def _group_size(model: PreTrainedModel, spec: recipe.Share) -> int:
    """How many layers a group has."""
    kind, where = layout.kind(model.config), "share"
    if kind == "albert" or getattr(model.config, sharing.FIELD, None):
        raise UsageError("the student's layers are shared already", where=where)
    if kind not in layout.FAMILIES:
        raise UsageError(f"the layers of {kind} cannot be shared", where=where, fix="use a distilbert or a tinybert")
    shape = compact.shape(model)
    size, rest = divmod(shape.depth, spec.groups)
    if rest or size < 2:
        what = f"{shape.depth} layers are not {spec.groups} groups of as many layers, two or more"
        able = [str(count) for count in range(1, shape.depth // 2 + 1) if shape.depth % count == 0]
        fix = f"use {' or '.join(able)}" if able else "leave `share` out"
        raise UsageError(what, where="share.groups", fix=fix)
    part = {"all": slice(0, 2), "attention": slice(0, 1), "ffn": slice(1, 2)}[spec.part]
    for first in range(0, shape.depth, size):
        if len({sizes[part] for sizes in shape.layers[first : first + size]}) > 1:
            what = f"the layers {first + 1} to {first + size} have several shapes and cannot share"
            raise UsageError(what, where=where, fix="share before you prune, or prune with `scope: layer`")
    return size


def _start(work: PreTrainedModel, group: list[Block], spec: recipe.Share, evidence: Evidence) -> Layer:
    """What a group's layers are to be."""
    layers = [dict(_weights(block, spec.part)) for block in group]
    if spec.start == "mean":
        return {name: torch.stack([layer[name] for layer in layers]).mean(0) for name in layers[0]}
    if spec.start == "first":
        return layers[0]
    losses = evidence.needed_losses("share.start: best")
    found = [_loss_with(work, group, layers, layer, losses) for layer in layers]
    return layers[min(range(len(found)), key=found.__getitem__)]


def _loss_with(work: PreTrainedModel, group: list[Block], layers: list[Layer], layer: Layer, losses: Losses) -> float:
    """The mean loss of the model with one layer in the place of all of its group."""
    for block in group:
        _put(block, layer)
    with torch.no_grad():
        found = [float(loss) for loss in losses(work)]
    for block, before in zip(group, layers, strict=True):
        _put(block, before)
    if not found:
        raise UsageError("there is no batch to compare layers on", where="share.start: best")
    return sum(found) / len(found)


def _weights(block: Block, part: sharing.Part) -> Iterator[tuple[str, Tensor]]:
    """Copies of the weights of a layer that are to be shared."""
    for name in sharing.BLOCKS[part]:
        for kind, weight in block.get(name).named_parameters():
            yield f"{name}.{kind}", weight.detach().clone()


def _put(block: Block, layer: Layer) -> None:
    """Give a layer these weights."""
    with torch.no_grad():
        for name, weight in layer.items():
            module, _, kind = name.rpartition(".")
            block.get(module).get_parameter(kind).copy_(weight)

"""Structured pruning: attention heads, feed-forward neurons, hidden units and whole layers are cut out of a student.

- `goals` states the sizes after each of the recipe's steps, and `cut` takes a student to one of them, so that a caller
  heals in between: `for goal in goals(student, spec): student = heal(cut(student, goal, spec, evidence).student)`.
- What is chosen: `importance`. What goes with it: `dependencies`. What holds the rest: the stock class where that can,
  else a compact model (`teachers.compact`); both reload, and their weights are those that were kept, unchanged.
- Every layer keeps a head and a neuron, whatever the ratios. Across layers (`scope: global`) a share of what an average
  layer has is to stay; where the layers that stay have fewer, all of theirs do.
- Across layers (`scope: global`) Taylor scores are compared as they are, for all are changes of one loss; norms and
  energies relative to their layer's mean.
- ALBERT's depth is how often its layers run: whole layers save time and no bytes there, and no measure tells the runs
  apart. The first of each group stay: those of the first group compute what they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..teachers import compact, layout, sharing
from ..teachers.blocks import Block, blocks
from . import importance
from .dependencies import Dependencies
from .evidence import Evidence
from .plain import joined, plain
from .units import READERS, Scores, owners

Counts = tuple[int, ...] | int | None  # of each layer with weights of its own, or of all together; None: as they are


@dataclass(frozen=True)
class Goal:
    """The sizes that a student is to have."""

    layers: int  # as they run
    hidden: int
    heads: Counts
    neurons: Counts


class Cut(NamedTuple):
    """A student that was cut, which of its layers stayed, from 1, and which heads of each of those, from 0."""

    student: PreTrainedModel
    layers: list[int]
    heads: list[list[int]]


def goals(model: PreTrainedModel, spec: recipe.Prune) -> list[Goal]:
    """The sizes after each step, each cutting as much as the others; the last ones are those of the ratios.

    Raises `UsageError` for a ratio that leaves nothing, or that takes nothing away.
    """
    shape, own = compact.shape(model), blocks(model)
    heads = [block.heads for block in owners(own, READERS["heads"])]
    neurons = [block.neurons for block in owners(own, READERS["neurons"])]
    found = []
    for step in range(1, spec.steps + 1):
        part = step / spec.steps
        layers = _left(shape.depth, spec.layers * part, "layers")
        among = layers / shape.depth
        found.append(
            Goal(
                layers,
                _left(shape.hidden, spec.hidden * part, "hidden"),
                _counts(heads, spec.heads * part, spec.scope, among if len(heads) == shape.depth else 1.0),
                _counts(neurons, spec.ffn * part, spec.scope, among if len(neurons) == shape.depth else 1.0),
            )
        )
    _cuts(found[-1], spec, shape, heads, neurons)
    return found


def _cuts(goal: Goal, spec: recipe.Prune, shape: compact.Shape, heads: list[int], neurons: list[int]) -> None:
    """Raise `UsageError` for a ratio so small that all there is would stay."""
    counts = {"layers": (shape.depth,), "hidden": (shape.hidden,), "heads": tuple(heads), "ffn": tuple(neurons)}
    left = {"layers": (goal.layers,), "hidden": (goal.hidden,), "heads": goal.heads, "ffn": goal.neurons}
    for name, own in counts.items():
        if getattr(spec, name) and left[name] in (own, sum(own)):
            number = f"{max(own)} in each layer" if isinstance(left[name], tuple) and own[1:] else f"{sum(own)}"
            what = f"{getattr(spec, name)} of {number} cuts nothing"
            raise UsageError(what, where=f"prune.{name}", fix="cut more, or leave it out")


def _left(count: int, ratio: float, name: str) -> int:
    left = round(count * (1 - ratio))
    if left < 1:
        raise UsageError(f"{ratio} of {count} leaves nothing", where=f"prune.{name}", fix="cut less")
    return left


def _counts(counts: list[int], ratio: float, scope: str, among: float) -> Counts:
    """What is left of each, or of all of the share `among` of the layers that stay; one in each layer at least."""
    if not ratio:
        return None
    if scope == "layer":
        return tuple(max(1, round(count * (1 - ratio))) for count in counts)
    return max(round(round(sum(counts) * among) * (1 - ratio)), round(len(counts) * among))


def _within(counts: Counts, scores: list[Tensor]) -> Counts:
    """The counts, no more than there are units in the layers that stayed."""
    return min(counts, sum(map(len, scores))) if isinstance(counts, int) else counts


def cut(model: PreTrainedModel, goal: Goal, spec: recipe.Prune, evidence: Evidence) -> Cut:
    """A student of the goal's sizes, with the weights of `model` that matter most by the spec's importance.

    `model` stays as it is. Raises `UsageError` for a goal that the model is below already, or whose layers are not its.
    """
    work = plain(model)
    scores = importance.measure(work, spec.importance, evidence)
    shared = getattr(model.config, sharing.FIELD, None)
    depth = layout.shape(model).layers
    stay = list(range(1, depth + 1))
    if goal.layers != depth:
        stay = _staying(work, goal.layers, scores)
        shared = _drop_layers(work, stay, scores, shared)
    if spec.layers:  # with this cut, or with one before it
        goal = replace(goal, heads=_within(goal.heads, scores.heads), neurons=_within(goal.neurons, scores.neurons))
    heads = _cut_units(work, goal, scores, comparable=spec.importance == "taylor")
    own = blocks(work)
    sizes = tuple((block.heads, block.neurons) for block in own)
    student = compact.filled(model, joined(work), hidden=goal.hidden, depth=goal.layers, layers=sizes, shared=shared)
    return Cut(student.requires_grad_(True), stay, [heads[run * len(own) // len(stay)] for run in range(len(stay))])


def _staying(work: PreTrainedModel, left: int, scores: Scores) -> list[int]:
    """The layers that stay, from 1, as they run: those that matter most, of an ALBERT the first of each group."""
    depth, where, modules = layout.shape(work).layers, "prune.layers", layout.layers(work)
    if left > depth:
        raise UsageError(f"the student has {depth} layers and not {left}", where=where)
    if layout.kind(work.config) != "albert":
        return sorted((scores.layers.argsort()[depth - left :] + 1).tolist())
    groups = len(modules)
    if left % groups:
        what = f"{groups} groups of layers cannot run {left} layers"
        raise UsageError(what, where=where, fix=f"leave a multiple of {groups}")
    size = depth // groups
    return [group * size + run for group in range(groups) for run in range(1, left // groups + 1)]


def _drop_layers(
    work: PreTrainedModel, stay: list[int], scores: Scores, shared: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Leave these layers, from 1; gives what of them is still shared. An ALBERT's weights are those of all its runs."""
    if layout.kind(work.config) == "albert":
        return shared
    depth, modules, before = layout.shape(work).layers, layout.layers(work), blocks(work)
    if shared and shared["group"] != depth:
        what = "layers that share in groups cannot be cut"
        raise UsageError(what, where="prune.layers", fix="prune them before `share`")
    for number in sorted(set(range(1, depth + 1)) - set(stay), reverse=True):
        del modules[number - 1]
    for kind, found in (("heads", scores.heads), ("neurons", scores.neurons)):
        left = {block.get(READERS[kind]) for block in blocks(work)}
        known = zip(owners(before, READERS[kind]), list(found), strict=True)
        found[:] = [score for block, score in known if block.get(READERS[kind]) in left]
    return shared | {"group": len(stay)} if shared and len(stay) > 1 else None


def _cut_units(work: PreTrainedModel, goal: Goal, scores: Scores, comparable: bool) -> list[list[int]]:
    """Cut heads, neurons and hidden units of a model whose layers are those that stay; gives the heads left of each."""
    graph, own = Dependencies(work), blocks(work)
    readers = [id(block.get(READERS["heads"]).weight) for block in own]  # the same where layers share it
    left = {reader: list(range(block.heads)) for reader, block in zip(readers, own, strict=True)}
    for block, stay in _chosen(owners(own, READERS["heads"]), scores.heads, goal.heads, "heads", comparable):
        size = block.head_size
        channels = torch.arange(size * block.heads).view(-1, size)
        graph.cut(block.get("query"), channels[~stay].flatten().tolist())
        left[readers[own.index(block)]] = stay.nonzero().flatten().tolist()
    for block, stay in _chosen(owners(own, READERS["neurons"]), scores.neurons, goal.neurons, "ffn", comparable):
        graph.cut(block.get("up"), (~stay).nonzero().flatten().tolist())
    hidden = len(scores.hidden)
    if goal.hidden > hidden:
        raise UsageError(f"the student is {hidden} wide and not {goal.hidden}", where="prune.hidden")
    dropped = sorted(scores.hidden.argsort()[: hidden - goal.hidden].tolist())
    for module in graph.hidden:
        graph.cut(module, dropped)
    return [left[reader] for reader in readers]


def _chosen(
    own: Sequence[Block], scores: list[Tensor], counts: Counts, name: str, comparable: bool
) -> list[tuple[Block, Tensor]]:
    """Each layer with which of its units stay, (units,) of bool."""
    where = f"prune.{name}"
    if counts is None:
        return []
    if isinstance(counts, int):
        if not comparable:
            scores = [score / score.mean() for score in scores]
        stay = most(scores, counts, where)
    else:
        if len(set(counts)) > 1 and len(counts) != len(scores):
            what = "layers of several sizes are cut, and whole layers with them"
            raise UsageError(what, where=where, fix="cut whole layers in a step of their own")
        stay = [most([score], count, where)[0] for score, count in zip(scores, counts[: len(scores)], strict=True)]
    return list(zip(own, stay, strict=True))


def most(scores: list[Tensor], count: int, where: str = "") -> list[Tensor]:
    """Which units stay, bool of the scores' shapes: the best of each layer, and then the best of all, `count` together.

    Raises `UsageError` where there are fewer units than that.
    """
    every = torch.cat([score.double() for score in scores])
    if not len(scores) <= count <= len(every):
        raise UsageError(f"{count} of {len(every)} in {len(scores)} layers cannot stay", where=where)
    first, order = 0, every.clone()
    for score in scores:
        order[first + int(score.argmax())] = torch.inf
        first += len(score)
    stay = torch.zeros(len(every), dtype=torch.bool)
    stay[order.topk(count).indices.cpu()] = True
    return list(torch.split(stay, [len(score) for score in scores]))

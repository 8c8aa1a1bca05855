"""Which part and layer of a model a constant belongs to: embeddings, attention, feed-forward, head; layer 3.

- Exporters fold and rename weights. A constant whose name says nothing belongs to the part of the first named
  thing that its result meets (`val_83` → MatMul → Add of `…attention.self.query.bias`: attention).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from .graphs import Constant, Graph, Node

PARTS = {  # the first pattern that is found in a name decides
    "embeddings": r"embed|\bwte\b|\bwpe\b",
    "head": r"pooler|classifier|lm_head|\bscore\b|\bcls\b|qa_outputs|predictions",
    "feed-forward": r"intermediate|ffn|\bmlp\b|\blin[12]\b|feed.?forward|(?<!attention)[./]output[./]"
    r"|bertoutput|(?<!sa_)output_layer_norm|full_layer_layer_norm",
    "attention": r"attention|attn|[qkv]_lin|out_lin|sa_layer_norm",
}
LAYER = re.compile(r"(?:^|[./_])(?:layers?|h|block)[./_](\d+)(?=[./_]|$)")
SCALES = re.compile(r"_(scales?|zeros?|zero_points?|zp)$")
IN_LAYERS = ("attention", "feed-forward")
OTHER = "other constants"
HOPS = 6  # int8 matrix product, cast, two multiplications, addition: further away a name says nothing


class Place(NamedTuple):
    """Where in a model something is."""

    part: str
    layer: int | None = None  # from 1; None outside of the layers


class Resolver:
    """Gives each constant of a graph its place."""

    def __init__(self, graph: Graph) -> None:
        self.constants = {constant.name for constant in graph.constants}
        self.users: dict[str, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self.users[name].append(node)

    def __call__(self, constant: Constant) -> Place:
        """The place of one of the graph's constants."""
        if named := place_of(constant.name):
            return named
        if constant.elements <= 8 and not SCALES.search(constant.name):
            return Place(OTHER)  # shapes, axes, the mask's value
        front = [constant.name]
        for _ in range(HOPS):
            nodes = [node for name in front for node in self.users[name]]
            for node in nodes:
                if node.op.upper() in ("GATHER", "EMBEDDING_LOOKUP") and constant.elements > 64:
                    return Place("embeddings")
                others = [name for name in node.inputs if name in self.constants and name not in front]
                for name in [node.name, *others]:
                    if named := place_of(name):
                        return named
            front = [name for node in nodes for name in node.outputs]
        return Place(OTHER)


def place_of(name: str) -> Place | None:
    """The place that a tensor's name speaks of, None where it says nothing."""
    part = part_of(name)
    if part is None:
        return None
    layer = LAYER.search(_own(name)) if part in IN_LAYERS else None
    return Place(part, int(layer[1]) + 1 if layer else None)


def part_of(name: str) -> str | None:
    """The part that a tensor's name speaks of, None where it says nothing."""
    own = _own(name)
    return next((part for part, pattern in PARTS.items() if re.search(pattern, own)), None)


def _own(name: str) -> str:
    """A .tflite name lists its sources, its own last."""
    return name.rstrip(";").rsplit(";", 1)[-1].lower()

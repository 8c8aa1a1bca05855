"""Where every byte and every millisecond of a model file is, layer by layer.

- Bytes are those of the file itself: each constant counts for the layer whose name it or its neighbours bear (`parts`),
  and what is no constant is a row of its own, so the rows add up to the file.
- Milliseconds are those of the runtime's nodes. A node that reads a weight is where the weight is; one that reads none
  (scores times values, a softmax, an activation) is where what it reads was made. The rows add up to the profile.
- What scales an activation for an 8-bit product belongs to the product that reads it first.
- A layer that is shared holds its bytes once, and takes the time of all its uses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from .graphs import Graph, Node
from .inspection import held
from .parts import OTHER, Place, Resolver
from .profile import Profile
from .record import LayerPart

NOWHERE = Place("inputs and masks")  # nodes that read neither a weight nor what a layer made
SCALING = ("DynamicQuantizeLinear", "QuantizeLinear")
ORDER = ("embeddings", "attention", "feed-forward", "head")


def parts(path: Path, found: Profile | None = None) -> list[LayerPart]:
    """The parts of a model file in the order in which a text meets them; times where it was profiled."""
    sizes = held(path)
    times = _times(found) if found else {}
    return [
        LayerPart(
            layer=place.layer,
            part=place.part,
            parameters=sizes[place].parameters if place in sizes else 0,
            bytes=sizes[place].bytes if place in sizes else 0,
            ms=times.get(place, 0.0) if found else None,
        )
        for place in sorted({*sizes, *times}, key=_order)
    ]


def _times(found: Profile) -> dict[Place, float]:
    """Milliseconds by place."""
    where, times = places(found.graph), defaultdict[Place, float](float)
    for (name, _), ms in found.times.items():
        times[where.get(name, NOWHERE)] += ms
    return times


def places(graph: Graph) -> dict[str, Place]:
    """Where each named node of a graph is."""
    resolve, constants = Resolver(graph), {constant.name: constant for constant in graph.constants}
    made: dict[str, Place] = {}  # tensor -> where it was made
    found: dict[str, Place] = {}
    for node in _in_order(graph.nodes):
        read = sorted((constants[name] for name in node.inputs if name in constants), key=lambda one: -one.bytes)
        own = [place for constant in read if (place := resolve(constant)).part != OTHER]
        before = [made[name] for name in node.inputs if name in made]
        place = own[0] if own else max(before, key=_reached, default=NOWHERE)
        found[node.name] = place
        made.update(dict.fromkeys(node.outputs, place))
    for node in graph.nodes:
        if node.op in SCALING:
            readers = (found[one.name] for one in graph.nodes if {*one.inputs} & {*node.outputs})
            found[node.name] = next(readers, found[node.name])
    return found


def _in_order(nodes: Sequence[Node]) -> list[Node]:
    """The nodes so that each stands behind what it reads; an `.ort` file keeps them in another order."""
    makers = {name: number for number, node in enumerate(nodes) for name in node.outputs if name}
    before = {n: [makers[name] for name in node.inputs if name in makers] for n, node in enumerate(nodes)}
    return [nodes[number] for number in TopologicalSorter(before).static_order()]


def _reached(place: Place) -> tuple[bool, int, int]:
    """How far into the model a place is."""
    return place != NOWHERE, *_order(place)[:2]


def _order(place: Place) -> tuple[int, int, str]:
    """Embeddings, the layers, the head, and the rest."""
    if place.layer is not None:
        return place.layer, ORDER.index(place.part), ""
    known = ORDER.index(place.part) if place.part in ORDER else len(ORDER)
    return (0 if place.part == "embeddings" else 10_000), known, place.part

"""Multiply-accumulates (MACs) of one inference, counted on the graph of a model file.

- A product with a weight of n elements is n MACs a piece of text; the products of attention, which have none, are
  length² × width each: scores from queries and keys, and their weighted values (Vaswani et al. 2017, section 3.2.1).
- A weight that several layers share is counted at each use; so are 4-bit weights, with the padding of their blocks.
- A sequence classifier's pooler and classifier read one piece; `whole` says that the head reads all of them.
- Additions, norms and activations are not counted: they are a few percent, and memory decides their time.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from . import graphs
from .graphs import Constant, Graph
from .parts import Resolver

WEIGHTED = {
    "MatMul",
    "Gemm",
    "MatMulInteger",
    "MatMulNBits",
    "DynamicQuantizeMatMul",
    "FULLY_CONNECTED",
    "BATCH_MATMUL",
}
VIEWS = {"DequantizeLinear", "QuantizeLinear", "Transpose", "Cast", "Reshape", "Identity", "DEQUANTIZE", "TRANSPOSE"}
ROWS_FIRST = {"FULLY_CONNECTED", "MatMulNBits", "Gemm"}  # the weight's first dimension is what comes out
HEAD = "head"


def count(path: Path, length: int, *, whole: bool = False) -> dict[str, int]:
    """MACs by part for one text of `length` pieces."""
    graph = graphs.read(path)
    part_of, weight_of = Resolver(graph), _Weights(graph)
    found: dict[str, int] = defaultdict(int)
    width = 0
    for node in graph.nodes:
        if node.op not in WEIGHTED:
            continue
        weight = weight_of(node.inputs)
        if weight is None:
            found["attention"] += length * length * width
            continue
        elements = weight.elements * (2 if node.op == "MatMulNBits" else 1)  # two in a byte
        part = part_of(weight)
        found[part] += elements * (length if part != HEAD or whole else 1)
        if part == "attention" and len(weight.shape) > 1:
            width = weight.shape[0] if node.op in ROWS_FIRST else weight.shape[-1]
            width //= 3 if width == 3 * min(weight.shape) else 1  # GPT-2's queries, keys and values at once
    return dict(found)


class _Weights:
    """The weight that a product reads, through what only shows it otherwise."""

    def __init__(self, graph: Graph) -> None:
        self.constants = {constant.name: constant for constant in graph.constants}
        self.makers = {name: node for node in graph.nodes if node.op in VIEWS for name in node.outputs}

    def __call__(self, inputs: tuple[str, ...]) -> Constant | None:
        found = [constant for name in inputs if (constant := self._behind(name))]
        return max(found, key=lambda constant: constant.elements, default=None)

    def _behind(self, name: str) -> Constant | None:
        while name not in self.constants and name in self.makers:
            name = self.makers[name].inputs[0]
        constant = self.constants.get(name)
        return constant if constant and len(constant.shape) > 1 else None

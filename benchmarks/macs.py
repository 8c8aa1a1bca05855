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
from .graphs import Constant, Graph, Node
from .parts import Resolver

FUSED = {"FusedMatMul", "FusedGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}  # ONNX Runtime's own, in .ort
WEIGHTED = {"MatMul", "Gemm", "MatMulInteger", "MatMulNBits", "FULLY_CONNECTED", "BATCH_MATMUL"} | FUSED
VIEWS = {"DequantizeLinear", "QuantizeLinear", "Transpose", "Cast", "Reshape", "Identity", "DEQUANTIZE", "TRANSPOSE"}
ROWS_FIRST = {"FULLY_CONNECTED", "MatMulNBits", "Gemm"}  # the weight's first dimension is what comes out
HEAD = "head"


def count(path: Path, length: int, *, whole: bool = False) -> dict[str, int]:
    """MACs by part for one text of `length` pieces."""
    graph = graphs.read(path)
    place_of, weights = Resolver(graph), _Weights(graph)
    found: dict[str, int] = defaultdict(int)
    for node in graph.nodes:
        if node.op not in WEIGHTED:
            continue
        weight = weights.of(node)
        if weight is None:
            found["attention"] += length * length * weights.width(node)
            continue
        elements = weight.elements * (2 if node.op == "MatMulNBits" else 1)  # two in a byte
        part = place_of(weight).part
        found[part] += elements * (length if part != HEAD or whole else 1)
    return dict(found)


def weights(path: Path) -> int:
    """Bytes of the weights that the products of one inference read, once for each product: tables are looked up."""
    graph = graphs.read(path)
    found = _Weights(graph)
    return sum(weight.bytes for node in graph.nodes if node.op in WEIGHTED and (weight := found.of(node)))


class _Weights:
    """Which weight a product reads, and how wide what it makes is."""

    def __init__(self, graph: Graph) -> None:
        self.constants = {constant.name: constant for constant in graph.constants}
        self.makers = {name: node for node in graph.nodes for name in node.outputs}

    def of(self, node: Node) -> Constant | None:
        """The weight, through what only shows it otherwise; None for a product of two activations."""
        found = [constant for name in node.inputs if (constant := self._behind(name))]
        return max(found, key=lambda constant: constant.elements, default=None)

    def width(self, node: Node) -> int:
        """Width of the queries, keys or values that a product without a weight comes from."""
        front, seen = list(node.inputs), set(node.inputs)
        while front:
            maker = self.makers.get(front.pop(0))
            if maker is None:
                continue
            weight = self.of(maker) if maker.op in WEIGHTED else None
            if weight:
                width = weight.shape[0] if maker.op in ROWS_FIRST else weight.shape[-1]
                return width // 3 if width == 3 * min(weight.shape) else width  # GPT-2's three stand side by side
            front += [name for name in maker.inputs if name not in seen]
            seen.update(maker.inputs)
        return 0

    def _behind(self, name: str) -> Constant | None:
        while name not in self.constants and name in self.makers and self.makers[name].op in VIEWS:
            name = self.makers[name].inputs[0]
        constant = self.constants.get(name)
        return constant if constant and len(constant.shape) > 1 else None

"""What every quantizer of ONNX files reads of a graph: its matrices, and whether it is quantized already.

- A matrix that several layers share stands there once, and no Transpose before it, where no quantizer would find it:
  `export.single_copies` has seen to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AttarError

# Operators that only a quantized graph has.
QUANTIZED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearMatMul", "MatMulNBits"),
    *("GatherBlockQuantized", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention", "QGemm"),
}
FLOAT32, FLOAT16 = 1, 10  # of onnx.TensorProto


@dataclass(frozen=True)
class Matrix:
    """A float32 matrix of the weights; layers that share it are one matrix."""

    name: str  # of the initializer
    title: str  # of the module, as Hugging Face names it
    nodes: tuple[str, ...]  # that multiply by it, or look pieces up in it
    elements: int
    table: bool  # an embedding: looked up, not multiplied


def load(path: Path) -> Any:
    """The float32 ONNX model of a file, each matrix a constant that stands there once; refuses a quantized one."""
    import onnx

    if not path.is_file():
        raise AttarError("no such model file", where=str(path))
    try:
        model = onnx.load(path)
    except Exception as error:
        raise AttarError("not an ONNX file", where=str(path)) from error
    found = sorted({node.op_type for node in model.graph.node} & QUANTIZED)
    found += ["float16"] * any(tensor.data_type == FLOAT16 for tensor in model.graph.initializer)
    if found:
        what = f"the model is quantized already: {found[0]}"
        raise AttarError(what, where=str(path), fix="quantize the float32 file that it was made from")
    return model


def parted(model: Any) -> Any:
    """The model with each Gemm as a MatMul and an Add."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    whole = ONNXModel(model)
    whole.replace_gemm_with_matmul()
    return whole.model


def matrices(model: Any) -> list[Matrix]:
    """The matrices that a graph multiplies by or looks pieces up in, in the order of their first use."""
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer if one.data_type == FLOAT32}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        place = {"MatMul": 1, "Gather": 0}.get(node.op_type)
        if place is not None and len(shapes.get(node.input[place], ())) == 2:
            readers.setdefault(node.input[place], []).append(node)
    biases = {
        node.input[0]: name
        for node in model.graph.node
        if node.op_type == "Add"
        for name in node.input
        if name in shapes
    }
    found = []
    for name, nodes in readers.items():
        title = name if name.endswith(".weight") else biases.get(nodes[0].output[0], name)
        title = title.removeprefix("model.").removesuffix(".weight").removesuffix(".bias")
        rows, columns = shapes[name]
        table = all(node.op_type == "Gather" for node in nodes)
        found.append(Matrix(name, title, tuple(node.name for node in nodes), rows * columns, table))
    return found


def save(model: Any) -> bytes:
    """The bytes of a quantized model without what the runtime infers itself; raises for a bad graph."""
    import onnx

    del model.graph.value_info[:]
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))

"""The constants and operators of a model file, read without running it and without heavy libraries.

- ONNX is protobuf: the few fields that are needed are declared here and read by the `protobuf` library; the
  rest of the file is skipped. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
- `.ort` and `.tflite` are flatbuffers; their classes come with onnxruntime and ai-edge-litert.
- `.safetensors` opens with a JSON header that names every tensor; it has no operators.
- A constant that several operators or tensors share is counted once.
- What flows in and out is read of `.onnx` and `.tflite`: whether the file is for one length, and answers each piece.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AttarError

# bytes of one element by ONNX's TensorProto.DataType
WIDTHS = {1: 4.0, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2, 17: 1, 18: 1,
          19: 1, 20: 1, 21: 0.5, 22: 0.5}  # fmt: skip
# ONNX messages: field name -> (number, kind); a kind is a scalar or one of these messages, `*` means repeated
MESSAGES = {
    "Model": {"graph": (7, "Graph")},
    "Graph": {
        "node": (1, "*Node"),
        "initializer": (5, "*Tensor"),
        "input": (11, "*Value"),
        "output": (12, "*Value"),
    },
    "Value": {"type": (2, "Type")},
    "Type": {"tensor_type": (1, "TensorType")},
    "TensorType": {"shape": (2, "Shape")},
    "Shape": {"dim": (1, "*Dim")},
    "Dim": {"dim_value": (1, "int64")},
    "Node": {
        "input": (1, "*string"),
        "output": (2, "*string"),
        "name": (3, "string"),
        "op_type": (4, "string"),
        "attribute": (5, "*Attribute"),
    },
    "Attribute": {"t": (5, "Tensor")},
    "Tensor": {"dims": (1, "*int64"), "data_type": (2, "int32"), "name": (8, "string")},
}


@dataclass(frozen=True)
class Constant:
    """A weight or another fixed tensor."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    scales: int = 0  # bytes of the scales and zero points that `.tflite` keeps with the tensor, and not as constants

    @property
    def elements(self) -> int:
        """How many numbers it holds; bytes of packed ones."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """An operator."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A whole model."""

    constants: list[Constant]
    nodes: list[Node]
    inputs: tuple[tuple[int, ...], ...] = ()  # their shapes; a size that may vary is 0
    outputs: tuple[tuple[int, ...], ...] = ()

    @property
    def length(self) -> int | None:
        """Pieces of a text where the file is for one length, from its first input, (batch, length)."""
        return (self.inputs[0][1] or None) if self.inputs and len(self.inputs[0]) == 2 else None

    @property
    def whole(self) -> bool:
        """Whether it answers each piece: its first output is (batch, length, outputs)."""
        return bool(self.outputs) and len(self.outputs[0]) == 3


def read(path: Path) -> Graph:
    """Read an `.onnx`, `.ort`, `.tflite` or `.safetensors` file."""
    if path.suffix not in READERS:
        raise AttarError("not a model file", where=str(path), fix="known endings: " + ", ".join(READERS))
    try:
        graph = READERS[path.suffix](path.read_bytes())
    except AttarError as error:
        raise AttarError(error.what, where=str(path), fix=error.fix) from None
    except OSError as error:
        raise AttarError(error.strerror or "cannot be read", where=str(path)) from None
    except ImportError as error:
        fix = "install onnxruntime" if path.suffix != ".tflite" else "install ai-edge-litert"
        raise AttarError(f"no reader for {path.suffix} files: {error}", where=str(path), fix=fix) from None
    except (struct.error, LookupError, AttributeError, TypeError, ValueError, MemoryError):
        graph = Graph([], [])
    if not graph.nodes and not (path.suffix == ".safetensors" and graph.constants):
        raise AttarError(f"not a whole {path.suffix} model", where=str(path))
    return graph


_classes: dict[str, Any] = {}


def message_class(package: str, messages: Mapping[str, Mapping[str, tuple[int, str]]]) -> Any:
    """The protobuf class of the message `Model`, with these fields alone; made once for each `package`."""
    if package in _classes:
        return _classes[package]
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, words) in fields.items():
            kind = words.lstrip("*")
            label = kinds.LABEL_REPEATED if words.startswith("*") else kinds.LABEL_OPTIONAL
            if kind in messages:
                typed = {"type": kinds.TYPE_MESSAGE, "type_name": f".{package}.{kind}"}
            else:
                typed = {"type": f"TYPE_{kind.upper()}"}
            message.field.add(name=field, number=number, label=label, **typed)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    _classes[package] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Model"))
    return _classes[package]


def _onnx(data: bytes) -> Graph:
    from google.protobuf.message import DecodeError

    model = message_class("attar_onnx", MESSAGES)()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise AttarError("not a whole .onnx model") from None
    constants = [_constant(t.name, t.dims, t.data_type) for t in model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            values = [attribute.t for attribute in node.attribute if attribute.HasField("t")]
            constants += [_constant(node.output[0], t.dims, t.data_type) for t in values]
    nodes = [Node(n.op_type, n.name, tuple(n.input), tuple(n.output)) for n in model.graph.node]
    inputs, outputs = (
        tuple(tuple(size.dim_value for size in one.type.tensor_type.shape.dim) for one in values)
        for values in (model.graph.input, model.graph.output)
    )
    return Graph(constants, nodes, inputs, outputs)


def _ort(data: bytes) -> Graph:
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise ImportError("onnxruntime is not installed")
    folder = str(Path(found.origin).parent / "tools" / "ort_format_model")
    sys.path.insert(0, folder)  # the classes import each other from here; onnxruntime.tools imports torch
    try:
        session = importlib.import_module("ort_flatbuffers_py.fbs.InferenceSession").InferenceSession
    finally:
        sys.path.remove(folder)
    if not session.InferenceSessionBufferHasIdentifier(data, 0):
        raise AttarError("not a whole .ort model")
    graph = session.GetRootAs(data, 0).Model().Graph()
    constants = [
        _constant(_text(t.Name()), t.DimsAsNumpy() if t.DimsLength() else [], t.DataType())
        for t in _each(graph.InitializersLength(), graph.Initializers)
    ]
    nodes = [
        Node(
            _text(n.OpType()),
            _text(n.Name()),
            tuple(_text(name) for name in _each(n.InputsLength(), n.Inputs)),
            tuple(_text(name) for name in _each(n.OutputsLength(), n.Outputs)),
        )
        for n in _each(graph.NodesLength(), graph.Nodes)
    ]
    return Graph(constants, nodes)


def _tflite(data: bytes) -> Graph:
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise AttarError("not a whole .tflite model")
    operators = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(data, 0)
    constants: dict[int, Constant] = {}
    nodes: list[Node] = []
    for number, graph in enumerate(_each(model.SubgraphsLength(), model.Subgraphs)):
        for index, tensor in enumerate(_each(graph.TensorsLength(), graph.Tensors)):
            buffer = model.Buffers(tensor.Buffer())
            if size := buffer.DataLength() or (buffer.Size() if buffer.Offset() > 1 else 0):
                shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else []
                name = f"{number}/{index} {_text(tensor.Name())}"
                constants.setdefault(
                    tensor.Buffer(), Constant(name, tuple(int(n) for n in shape), size, _scales(tensor))
                )
        names = [  # operators name tensors by index; tensors that share a buffer share its constant's name
            constants[tensor.Buffer()].name if tensor.Buffer() in constants else f"{number}/{index}"
            for index, tensor in enumerate(_each(graph.TensorsLength(), graph.Tensors))
        ]
        for operator in _each(graph.OperatorsLength(), graph.Operators):
            code = model.OperatorCodes(operator.OpcodeIndex())
            inputs = tuple(names[i] for i in _each(operator.InputsLength(), operator.Inputs) if i >= 0)
            outputs = tuple(names[i] for i in _each(operator.OutputsLength(), operator.Outputs))
            label = operators[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            nodes.append(Node(label, "", inputs, outputs))
    whole = model.Subgraphs(0)
    flowing = (
        tuple(tuple(int(size) for size in whole.Tensors(int(index)).ShapeAsNumpy()) for index in indices)
        for indices in (whole.InputsAsNumpy(), whole.OutputsAsNumpy())
    )
    return Graph(list(constants.values()), nodes, *flowing)


def _scales(tensor: Any) -> int:
    """Bytes of a tensor's quantization: float32 scales, int64 zero points."""
    found = tensor.Quantization()
    return 4 * found.ScaleLength() + 8 * found.ZeroPointLength() if found else 0


def _safetensors(data: bytes) -> Graph:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    constants = []
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        if end > len(data) - 8 - length:
            raise AttarError("not a whole .safetensors model")
        constants.append(Constant(name, tuple(tensor["shape"]), end - start))
    return Graph(constants, [])


READERS: dict[str, Callable[[bytes], Graph]] = {
    ".onnx": _onnx,
    ".ort": _ort,
    ".tflite": _tflite,
    ".safetensors": _safetensors,
}


def _constant(name: str, dims: Any, kind: int) -> Constant:
    shape = tuple(int(size) for size in dims)
    return Constant(name, shape, math.ceil(math.prod(shape) * WIDTHS.get(kind, 0)))


def _each(count: int, get: Callable[[int], Any]) -> Iterator[Any]:
    return (get(index) for index in range(count))


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")

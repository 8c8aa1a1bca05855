"""The floor under a latency: what this machine could do at the very best, measured in the same run.

- Peak is the best of many large matrix products in ONNX Runtime, in float32 and in 8 bits (uint8 × int8, what its int8
  models do): the fastest kernels that a user here has, not a number from a data sheet.
- A model's floor is its MACs at that peak. Small matrices, norms, activations and the runtime's own steps are what lies
  between; the share that is reached tells what is left to win.
- Bandwidth is that of one thread that reads memory. It bounds the first inference, and models that no cache holds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from .graphs import message_class
from .worker import Worker

ROWS, INNER, COLUMNS = 256, 1024, 4096  # 1.07 GMAC; reading the input and reducing the output are a thousandth of it
REPEATS = 15
INT64, FLOAT, UINT8, INT8 = 7, 1, 2, 3  # ONNX's TensorProto.DataType
MESSAGES = {
    "Model": {"ir_version": (1, "int64"), "graph": (7, "Graph"), "opset_import": (8, "*Opset")},
    "Opset": {"domain": (1, "string"), "version": (2, "int64")},
    "Graph": {
        "node": (1, "*Node"),
        "name": (2, "string"),
        "initializer": (5, "*Tensor"),
        "input": (11, "*Value"),
        "output": (12, "*Value"),
    },
    "Node": {
        "input": (1, "*string"),
        "output": (2, "*string"),
        "op_type": (4, "string"),
        "attribute": (5, "*Attribute"),
    },
    "Attribute": {"name": (1, "string"), "i": (3, "int64"), "type": (20, "int32")},
    "Tensor": {"dims": (1, "*int64"), "data_type": (2, "int32"), "name": (8, "string"), "raw_data": (9, "bytes")},
    "Value": {"name": (1, "string"), "type": (2, "Type")},
    "Type": {"tensor_type": (1, "Shaped")},
    "Shaped": {"elem_type": (1, "int32"), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "*Dimension")},
    "Dimension": {"dim_value": (1, "int64")},
}


class Floor(BaseModel):
    """What the machine can do; MACs a second by number of threads."""

    fp32: dict[int, float]
    int8: dict[int, float]
    bandwidth: float  # bytes a second, one thread that reads

    def least_ms(self, macs: int, precision: str, threads: int) -> float:
        """The least time of so many MACs; everything of 8 bits or fewer at the 8-bit peak."""
        peak = self.fp32 if precision in ("fp32", "fp16") else self.int8
        return 1e3 * macs / peak[threads]


def measure(threads: Sequence[int]) -> Floor:
    """Measure the peaks with so many threads each; some seconds."""
    found: dict[str, dict[int, float]] = {}
    query = {"x": np.arange(ROWS * INNER, dtype=np.int64).reshape(ROWS, INNER) % 251}
    with tempfile.TemporaryDirectory() as folder:
        for kind, number in (("fp32", FLOAT), ("int8", UINT8)):
            path = Path(folder) / f"{kind}.onnx"
            path.write_bytes(_product(number))
            with Worker(path, "onnxruntime") as worker:
                worker.keep([query])
                for count in threads:
                    worker.load(count)
                    least = min(worker.time(0) for _ in range(REPEATS))
                    found.setdefault(kind, {})[count] = ROWS * INNER * COLUMNS / (least / 1e9)
    return Floor(fp32=found["fp32"], int8=found["int8"], bandwidth=_bandwidth())


def _product(kind: int) -> bytes:
    """An ONNX file: the greatest number of `x` (int64, cast to `kind`) times a constant."""
    draw = np.random.default_rng(0)
    if kind == FLOAT:
        weight = draw.standard_normal((INNER, COLUMNS), np.float32)
    else:
        weight = draw.integers(-128, 128, (INNER, COLUMNS)).astype(np.int8)
    nodes = [
        {"op_type": "Cast", "input": ["x"], "output": ["a"], "attribute": [{"name": "to", "i": kind, "type": 2}]},
        {"op_type": "MatMul" if kind == FLOAT else "MatMulInteger", "input": ["a", "w"], "output": ["y"]},
        {
            "op_type": "ReduceMax",
            "input": ["y"],
            "output": ["greatest"],
            "attribute": [{"name": "keepdims", "i": 0, "type": 2}],
        },
    ]
    constant = {
        "name": "w",
        "dims": [INNER, COLUMNS],
        "data_type": FLOAT if kind == FLOAT else INT8,
        "raw_data": weight.tobytes(),
    }
    made = FLOAT if kind == FLOAT else 6  # int32
    graph = {
        "name": "peak",
        "node": nodes,
        "initializer": [constant],
        "input": [_value("x", INT64, [ROWS, INNER])],
        "output": [_value("greatest", made, [])],
    }
    model = message_class("peak", MESSAGES)(ir_version=8, opset_import=[{"domain": "", "version": 13}], graph=graph)
    return bytes(model.SerializeToString())


def _value(name: str, kind: int, shape: Sequence[int]) -> dict[str, Any]:
    sizes = {"dim": [{"dim_value": size} for size in shape]}
    return {"name": name, "type": {"tensor_type": {"elem_type": kind, "shape": sizes}}}


def _bandwidth(size: int = 256_000_000) -> float:
    """Bytes a second that one thread reads, at its best."""
    data = np.ones(size // 8, np.int64)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        data.max()
        times.append(time.perf_counter() - start)
    return data.nbytes / min(times)

"""The floor under a latency: what this machine could do at the very best, measured in the same run.

- Peak is the best of many large matrix products in ONNX Runtime, in float32 and in 8 bits (uint8 × int8, what its int8
  models do): the fastest kernels that a user here has, not a number from a data sheet.
- A model's floor is its MACs at that peak, or the reading of its weights where that takes longer: what the last cache
  does not hold comes from memory at each inference (Williams et al., Roofline, 2009). Small matrices, norms,
  activations and the runtime's own steps are what lies between; the share that is reached tells what is left to win.
- Bandwidth is the best of threads that read memory, each its own part.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from . import machine
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
    bandwidths: dict[int, float] = {}  # the same by number of threads
    cache: int | None = None  # bytes of the last cache, where the system tells; None: no bound by memory is known

    def least_ms(self, macs: int, precision: str, threads: int, weights: int = 0) -> float:
        """The least time of so many MACs with `weights` in bytes; 8 bits or fewer are at the 8-bit peak."""
        peak = self.fp32 if precision in ("fp32", "fp16") else self.int8
        beyond = max(0, weights - self.cache) if self.cache is not None else 0
        return 1e3 * max(macs / peak[threads], beyond / self.bandwidths.get(threads, self.bandwidth))


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
    rates = {count: _bandwidth(count) for count in {1, *threads}}
    return Floor(
        fp32=found["fp32"], int8=found["int8"], bandwidth=rates[1], bandwidths=rates, cache=machine.last_cache()
    )


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


def _bandwidth(threads: int, size: int = 256_000_000) -> float:
    """Bytes a second that so many threads read, at their best; numpy lets go of the interpreter while it reads."""
    data = np.ones(size // 8, np.int64)
    parts = np.array_split(data, threads)
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(7):
            start = time.perf_counter()
            list(pool.map(np.max, parts))
            times.append(time.perf_counter() - start)
    return data.nbytes / min(times)

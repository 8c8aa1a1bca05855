"""LiteRT on the CPU: `.tflite` files of a fixed length, batch 1; also the shared part of its predecessor's runner.

- The interpreter is driven by the names in the file's signature, never by the order of its tensors.
- A batch runs row by row, which is what a phone does; shorter rows are padded with a mask of 0.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...errors import AttarError
from . import Arrays

LIBRARY = "ai_edge_litert.interpreter"
ORDER = ("input_ids", "attention_mask", "token_type_ids")


class StaticRunner:
    """An interpreter of a static graph; see `Runner`."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        interpreter.allocate_tensors()
        signature = interpreter.get_signature_runner()
        self._details = signature.get_input_details()
        self._output = signature.get_output_details()["logits"]["index"]
        self.inputs = [name for name in ORDER if name in self._details]
        shapes = {tuple(int(size) for size in entry["shape"]) for entry in self._details.values()}
        if set(self.inputs) != set(self._details) or len(shapes) != 1:
            raise ValueError(f"inputs {sorted(self._details)} of shapes {sorted(shapes)}")
        (shape,) = shapes
        self.length: int | None = shape[1]

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits, (batch, outputs) or (batch, fixed length, outputs); rows longer than that length are refused."""
        if missing := [name for name in self.inputs if name not in arrays]:
            raise AttarError(f"the model needs the input {missing[0]}")
        fed = {name: fitted(arrays, name, cast(int, self.length)) for name in self.inputs}
        rows = [self._row(fed, number) for number in range(len(fed["input_ids"]))]
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def _row(self, arrays: dict[str, npt.NDArray[np.int64]], number: int) -> npt.NDArray[np.float32]:
        """Logits of one row, shape (1, outputs) or (1, fixed length, outputs)."""
        for name in self.inputs:
            entry = self._details[name]
            self._interpreter.set_tensor(entry["index"], arrays[name][number : number + 1].astype(entry["dtype"]))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output), np.float32)


def fitted(arrays: Arrays, name: str, length: int) -> npt.NDArray[np.int64]:
    """One input, padded with 0 or cut (padding only) to the fixed length."""
    mask, values = arrays["attention_mask"], arrays[name]
    if mask[:, length:].any():
        longest = int((np.nonzero(mask.any(axis=0))[0])[-1]) + 1
        raise AttarError(
            f"a text of {longest} pieces does not fit into the model's length {length}",
            fix=f"cut texts to {length} pieces, or choose a longer model",
        )
    values = values[:, :length]
    return np.pad(values, ((0, 0), (0, length - values.shape[1])))


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Hold back what C++ writes to stderr while loading; what matters comes as an exception."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device, not a file
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def open_interpreter(interpreter: Any, path: Path, threads: int, name: str) -> StaticRunner:
    """Load a file with an `Interpreter` class of either package."""
    try:
        with _silenced():
            return StaticRunner(interpreter(model_path=str(path), num_threads=threads))
    except Exception as error:  # noqa: BLE001 - both packages raise ValueError, RuntimeError and others
        raise AttarError(f"{name} cannot load this file: {error}", where=str(path)) from None


def load(path: Path, threads: int) -> StaticRunner:
    """Open a `.tflite` file with so many threads."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise AttarError(f"the package ai-edge-litert does not load: {error}", fix="pip install attar") from None
    return open_interpreter(Interpreter, path, threads, "LiteRT")

"""ONNX Runtime on the CPU: `.onnx` and `.ort`, any batch and length.

- The sequence of operators runs in order; only the work inside an operator is spread over threads.
- Arrays are given in the types the file asks for; a file that asks for anything but integers is not one of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...errors import AttarError
from . import Arrays

LIBRARY = "onnxruntime"
DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OrtRunner:
    """An ONNX Runtime session; see `Runner`."""

    length: int | None = None

    def __init__(self, session: Any, path: Path) -> None:
        self._session = session
        self._dtypes = {entry.name: DTYPES.get(entry.type) for entry in session.get_inputs()}
        self.inputs = list(self._dtypes)
        if None in self._dtypes.values():
            raise AttarError("an input does not take integers", where=str(path), fix="name a model made by attar")

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits of shape (batch, outputs) or (batch, length, outputs)."""
        if missing := [name for name in self.inputs if name not in arrays]:
            raise AttarError(f"the model needs the input {missing[0]}")
        feed = {name: np.asarray(arrays[name], dtype) for name, dtype in self._dtypes.items()}
        try:
            logits = self._session.run(None, feed)[0]
        except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
            raise AttarError(f"ONNX Runtime failed: {error}") from None
        return cast("npt.NDArray[np.float32]", np.asarray(logits, np.float32))


def load(path: Path, threads: int) -> OrtRunner:
    """Open a file with so many threads."""
    return OrtRunner(session(path, threads), path)


def session(path: Path, threads: int) -> Any:
    """ONNX Runtime's own session of a file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise AttarError(f"the package onnxruntime does not load: {error}", fix="pip install attar") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A waiting thread sleeps: spinning drains a phone's battery, and steals time from whatever else is measured.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong comes as an exception; the log would repeat it
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
        raise AttarError(f"ONNX Runtime cannot load this file: {error}", where=str(path)) from None

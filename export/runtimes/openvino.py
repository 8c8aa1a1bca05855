"""OpenVINO on the CPU: an `.xml` graph, whose weights lie beside it in a `.bin` file; any batch and length.

- For what OpenVINO itself made of a student, in its own environment; no bundle holds such a file.
- Products are in float32 where the graph's are: on processors that have it, OpenVINO would otherwise take bfloat16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...errors import AttarError
from . import Arrays

LIBRARY = "openvino"


class OpenVinoRunner:
    """A compiled model; see `Runner`."""

    length: int | None = None

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.inputs = [str(entry.get_any_name()) for entry in compiled.inputs]

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits of shape (batch, outputs) or (batch, length, outputs)."""
        if missing := [name for name in self.inputs if name not in arrays]:
            raise AttarError(f"the model needs the input {missing[0]}")
        try:
            found = self._request.infer({name: arrays[name] for name in self.inputs})
        except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
            raise AttarError(f"OpenVINO failed: {error}") from None
        return cast("npt.NDArray[np.float32]", np.array(found[0], np.float32))


def load(path: Path, threads: int) -> OpenVinoRunner:
    """Open a file with so many threads."""
    try:
        import openvino
    except ImportError as error:
        raise AttarError(f"the package openvino does not load: {error}", fix="pip install openvino") from None
    asked = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        return OpenVinoRunner(openvino.Core().compile_model(str(path), "CPU", asked))
    except Exception as error:  # noqa: BLE001 - the library raises RuntimeError and others
        raise AttarError(f"OpenVINO cannot load this file: {error}", where=str(path)) from None

"""The runtimes that load artefacts; adding one is a file here and its line in the registry.

- A runtime's file has `load(path, threads) -> Runner`, and `LIBRARY`, the module whose import is the runtime's cost.
- A bundle's artefacts are of the runtimes in `DISTRIBUTIONS`. The others run what stands beside a bundle in
  `attar bench`: PyTorch a model's own folder, OpenVINO and ExecuTorch what those programs made, each in an environment
  of its own.

A runner takes int64 arrays of shape (batch, length) by input name and gives logits of shape (batch, outputs), or
(batch, length, outputs) where each piece has its own, float32. A static graph gives those of its own length.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from ...errors import AttarError, nearest

Arrays = Mapping[str, npt.NDArray[np.int64]]

REGISTRY = {
    "onnxruntime": ".ort",
    "litert": ".litert",
    "tflite-runtime": ".tflite",
    "torch": ".torch_eager",
    "torch-compiled": ".torch_compiled",
    "openvino": ".openvino",
    "executorch": ".executorch",
}
DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
OTHERS = ("torch", "transformers", "openvino", "executorch")  # distributions of what runs beside a bundle


class Runner(Protocol):
    """A loaded artefact."""

    inputs: list[str]  # names, in the order of the model
    length: int | None  # fixed length, None for any

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits of shape (batch, outputs) or (batch, length, outputs)."""


def library(runtime: str) -> str:
    """The module that the runtime's file loads, absolute or relative to this package."""
    return cast(str, importlib.import_module(REGISTRY[runtime], __name__).LIBRARY)


def unpadded(logits: npt.NDArray[np.float32], pieces: int) -> npt.NDArray[np.float32]:
    """The logits of a single row, (outputs,) or (pieces, outputs): what a padded place answers means nothing."""
    return logits[0] if logits.ndim == 2 else logits[0, :pieces]


def open_model(path: Path, runtime: str, threads: int = 1) -> Runner:
    """Load an artefact in its runtime with so many threads."""
    if runtime not in REGISTRY:
        raise AttarError(f"unknown runtime {runtime!r}", fix=nearest(runtime, REGISTRY))
    if not path.is_file():
        raise AttarError("no such model file", where=str(path))
    module = importlib.import_module(REGISTRY[runtime], __name__)
    return cast(Runner, module.load(path, threads))

"""tflite-runtime 2.14: LiteRT's predecessor, still inside many shipped apps.

- Wheels exist for CPython up to 3.11 and need numpy 1, so the package is an extra.
- It dies on some files that LiteRT runs: load files that nobody checked through `isolated.py`.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import AttarError
from .litert import StaticRunner, open_interpreter

LIBRARY = "tflite_runtime.interpreter"


def load(path: Path, threads: int) -> StaticRunner:
    """Open a `.tflite` file with so many threads."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise AttarError(
            f"the package tflite-runtime does not load: {error}",
            fix='pip install "attar[tflite]" with Python 3.11 or older',
        ) from None
    return open_interpreter(Interpreter, path, threads, "tflite-runtime")

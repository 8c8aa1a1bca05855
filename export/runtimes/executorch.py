"""ExecuTorch on the CPU: `.pte` programs of a fixed length, batch 1.

- For what ExecuTorch itself made of a student, in its own environment; no bundle holds such a file.
- Inputs have no names in a program: they stand in the usual order.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ...errors import AttarError
from . import Arrays
from .litert import ORDER, fitted

LIBRARY = "executorch.runtime"


class ExecuTorchRunner:
    """A loaded program; see `Runner`."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self._tensor = importlib.import_module("torch").from_numpy  # ExecuTorch's Python takes and gives tensors
        self.inputs = list(ORDER[: method.metadata.num_inputs()])
        self.length: int | None = int(method.metadata.input_tensor_meta(0).sizes()[1])

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits, (batch, outputs) or (batch, fixed length, outputs); rows longer than that length are refused."""
        if missing := [name for name in self.inputs if name not in arrays]:
            raise AttarError(f"the model needs the input {missing[0]}")
        fed = [fitted(arrays, name, cast(int, self.length)) for name in self.inputs]
        try:
            rows = [
                self._method.execute([self._tensor(np.ascontiguousarray(one[row : row + 1])) for one in fed])[0]
                for row in range(len(fed[0]))
            ]
        except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
            raise AttarError(f"ExecuTorch failed: {error}") from None
        return np.concatenate([np.asarray(one.numpy(), np.float32) for one in rows])


def load(path: Path, threads: int) -> ExecuTorchRunner:
    """Open a file with so many threads."""
    try:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
        from executorch.runtime import Runtime
    except ImportError as error:
        raise AttarError(f"the package executorch does not load: {error}", fix="pip install executorch") from None
    try:
        _unsafe_reset_threadpool(threads)  # there is no other way from Python; no program is loaded yet that uses it
        return ExecuTorchRunner(Runtime.get().load_program(path).load_method("forward"))
    except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
        raise AttarError(f"ExecuTorch cannot load this file: {error}", where=str(path)) from None

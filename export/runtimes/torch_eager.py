"""PyTorch as it is: a student's or teacher's own folder, to be timed beside what was exported from it.

- The model file is the folder's `model.safetensors`; the configuration is read from beside it.
- Nothing of PyTorch is loaded before such a model is opened (`export.pytorch`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import not_installed

if TYPE_CHECKING:
    from ..pytorch import TorchRunner

LIBRARY = "...export.pytorch"  # and with it torch and transformers


def load(path: Path, threads: int, *, compiled: bool = False) -> TorchRunner:
    """Open the model of a Hugging Face folder with so many threads."""
    try:
        from ..pytorch import TorchRunner
    except ModuleNotFoundError as error:
        raise not_installed(error.name or "torch") from None
    return TorchRunner(path.parent, threads, compiled=compiled)

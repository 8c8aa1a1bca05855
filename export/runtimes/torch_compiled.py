"""PyTorch compiled: the same folder through `torch.compile`, which writes C++ and needs a compiler for it.

- It compiles at the first inference of each kind of input, so that its first one takes as long as it takes.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import AttarError
from . import torch_eager

if TYPE_CHECKING:
    from ..pytorch import TorchRunner

LIBRARY = torch_eager.LIBRARY


def load(path: Path, threads: int) -> TorchRunner:
    """Open the model of a Hugging Face folder; raises `AttarError` where no C++ compiler is found."""
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as torch looks for it
    if shutil.which(compiler) is None:
        raise AttarError(f"torch.compile needs the C++ compiler {compiler}", fix="install it, or name one in CXX")
    return torch_eager.load(path, threads, compiled=True)

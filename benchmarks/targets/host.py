"""What runs a worker: this machine, another one, or one that is emulated.

- A host says how a worker is started there and where a file is; everything else goes through the worker's pipe, so
  that models on any host take turns in the same way.
- Files are brought to the host once, and what was brought is removed when the target is closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

WORKER = "attar.benchmarks.worker"
# like `-m`, but a file of the current folder shadows no library; PYTHONSAFEPATH says that from Python 3.11 on
START = "import sys, runpy; sys.path[:] = filter(None, sys.path); runpy.run_module('{}', run_name='__main__')"


class Host(Protocol):
    """A machine that runs workers."""

    def command(self) -> Sequence[str]:
        """Starts a worker there that answers on the command's own stdin and stdout."""

    def environment(self) -> Mapping[str, str]:
        """The environment of that command."""

    def path(self, file: Path) -> str:
        """The file's path there; it is brought there first."""

    def ended(self, code: int, said: str) -> str:
        """What the command's exit code and last line say of the host; empty where the worker itself ended so."""


class Here:
    """This machine; see `Host`."""

    def command(self) -> Sequence[str]:
        """This interpreter."""
        return [sys.executable, "-c", START.format(__name__.removesuffix("targets.host") + "worker")]

    def environment(self) -> Mapping[str, str]:
        """Ours."""
        return os.environ

    def path(self, file: Path) -> str:
        """Where it is."""
        return str(file.resolve())

    def ended(self, code: int, said: str) -> str:  # noqa: ARG002 - one interface
        """Nothing: the worker's end is its own."""
        return ""


HERE = Here()

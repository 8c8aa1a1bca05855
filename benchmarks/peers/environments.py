"""An environment of its own for each peer, built on first use, and the worker that runs in it.

- A peer's requirements may contradict ours or another's, so none is installed beside attar. `NAME.txt` beside this file
  lists what a peer needs; versions that it shares with attar come from the project's constraints file, so that a
  comparison compares programs and not releases of torch. One that cannot live with them opens with `# own versions`.
- What does not install is not an error of the comparison: it is a row of the table that says why.
- A peer whose runtime is its own is timed in its environment: this package's light files need no more of it than numpy
  and packaging, and are found there through a link that has nothing else beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import AttarError
from ...files import file_digest, write_text
from ..targets.host import WORKER, Here

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
SECONDS = 1800


@dataclass(frozen=True)
class Inside(Here):
    """This machine with a peer's interpreter; see `Host`."""

    interpreter: Path
    light: Path  # a folder that holds a link to this package, named attar

    def command(self) -> Sequence[str]:
        """The worker."""
        return [str(self.interpreter), "-m", WORKER]

    def environment(self) -> Mapping[str, str]:
        """Ours, with the light files alone on the search path."""
        return os.environ | {"PYTHONPATH": str(self.light), "PYTHONSAFEPATH": "1"}


def python(name: str, folder: Path = Path(".peers")) -> Path:
    """The interpreter of a peer's environment; raises `AttarError` with pip's last line where it does not install."""
    place = folder.resolve() / name
    interpreter, mark = place / "bin" / "python", place / ".ready"
    if not (mark.is_file() and mark.read_text() == stated(name) and interpreter.is_file()):
        _run([sys.executable, "-m", "venv", "--clear", str(place)], name)
        own = (HERE / f"{name}.txt").read_text("utf-8").startswith("# own versions")
        constrained = ["-c", str(CONSTRAINTS)] if CONSTRAINTS.is_file() and not own else []
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *constrained, "-r", str(HERE / f"{name}.txt")], name)
        write_text(mark, stated(name))
    return interpreter


def stated(name: str) -> str:
    """The digests of what the environment is made from."""
    return file_digest(HERE / f"{name}.txt") + (file_digest(CONSTRAINTS) if CONSTRAINTS.is_file() else "")


def _run(words: list[str], name: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise AttarError(f"{name} was not installed within {SECONDS} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise AttarError(f"{name} does not install: {said[-1] if said else 'pip says nothing'}")

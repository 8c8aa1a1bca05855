"""Another machine that has a shell: what `ssh` and `adb` share.

- Into a new folder there go this package's light files and the models; the folder is removed at the end.
- The worker is that of this machine, run by the Python there, with its stdin and stdout brought here: whatever is
  measured here can be measured there, models in turns and all.
- Nothing is installed there. What is missing is one line with the command that adds it.
- A shell gives 128 and the signal's number where a worker was killed; ssh gives 255 where the connection is lost.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...errors import AttarError
from .arm import PACKAGE
from .host import WORKER

LIGHT = ("*.py", "benchmarks/*.py", "benchmarks/targets/*.py", "export/*.py", "export/runtimes/*.py")
PATIENCE_S = 60.0  # for a short command
PUSH_S = 1800.0  # for a file
# Python's own words for what the worker needs there; exit code 3: too old, and the missing ones on stdout.
PROBE = """
import importlib.util as u, sys
if sys.version_info < (3, 10): sys.exit(3)
print(*(n for n in ("numpy", "packaging", "onnxruntime", "ai_edge_litert", "tflite_runtime") if not u.find_spec(n)))
"""
NEEDED = {"numpy", "packaging"}
RUNTIMES = {"onnxruntime", "ai_edge_litert", "tflite_runtime"}


class Link(Protocol):
    """How a shell there is reached."""

    @property
    def name(self) -> str:
        """For the user."""

    @property
    def python(self) -> str:
        """The interpreter there."""

    @property
    def folders(self) -> str:
        """Where a new folder may be made."""

    def lost(self, code: int, said: str) -> bool:
        """Whether this end of the command says that the connection is lost."""

    def shell(self, script: str) -> list[str]:
        """The command that runs a script of the shell there, with our stdin and stdout."""

    def push(self, file: Path, there: str) -> tuple[list[str], bool]:
        """The command that brings a file there, and whether it reads the file from stdin."""


@dataclass
class Remote:
    """A machine behind a link, with its folder; see `Host`."""

    link: Link
    folder: str = ""
    _pushed: dict[Path, str] = field(default_factory=dict)

    def command(self) -> Sequence[str]:
        """The worker, under a shell that lives on to tell how it ended."""
        place, python = shlex.quote(self.folder), shlex.quote(self.link.python)
        return self.link.shell(f"cd {place} && PYTHONPATH={place} PYTHONSAFEPATH=1 {python} -m {WORKER}; exit $?")

    def environment(self) -> Mapping[str, str]:
        """Ours: the link may need its agent."""
        return os.environ

    def path(self, file: Path) -> str:
        """Its place in the folder there; it is brought there the first time."""
        file = file.resolve()
        if file not in self._pushed:
            suffix = file.suffix if file.suffix[1:].isalnum() and file.suffix.isascii() else ""  # a bundle's words
            there = f"{self.folder}/{len(self._pushed)}{suffix}"
            self.push(file, there)
            self._pushed[file] = there
        return self._pushed[file]

    def ended(self, code: int, said: str) -> str:
        """Whether the connection is lost."""
        return "the connection is lost" if self.link.lost(code, said) else ""

    def run(self, script: str) -> str:
        """What a script prints there. Raises `AttarError` with its last words where it fails."""
        return self._call(self.link.shell(script), PATIENCE_S)

    def push(self, file: Path, there: str) -> None:
        """Bring a file there."""
        command, by_stdin = self.link.push(file, there)
        with file.open("rb") as stream:
            self._call(command, PUSH_S, stream.fileno() if by_stdin else None)

    def _call(self, command: Sequence[str], timeout: float, stdin: int | None = None) -> str:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except FileNotFoundError:
            raise AttarError(f"{command[0]} is not installed", where=self.link.name) from None
        except subprocess.TimeoutExpired:
            raise AttarError(f"no answer in {timeout:g} s", where=self.link.name) from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            what = said[-1].strip()[:200] if said else f"exit code {done.returncode}"
            raise AttarError(what, where=self.link.name)
        return done.stdout.decode("utf-8", "replace")


@contextlib.contextmanager
def opened(link: Link) -> Iterator[Remote]:
    """The machine with its folder made and filled; it is removed at the end, if the machine still answers."""
    remote = Remote(link)
    remote.folder = remote.run(f"mktemp -d {link.folders}/attar.XXXXXX").strip()
    if not remote.folder.startswith(f"{link.folders}/attar.") or len(remote.folder.split()) != 1:
        raise AttarError(
            "its shell prints more than it is asked for", where=link.name, fix="silence its start-up files"
        )
    try:
        _probe(remote)
        with tempfile.TemporaryDirectory(prefix="attar-") as name:
            archive = Path(name) / "light.tar.gz"
            pack(archive)
            there = f"{remote.folder}/light.tar.gz"
            remote.push(archive, there)
        place = shlex.quote(remote.folder)
        remote.run(f"cd {place} && tar -xzf light.tar.gz && rm light.tar.gz")
        yield remote
    finally:
        with contextlib.suppress(AttarError):
            remote.run(f"rm -rf {shlex.quote(remote.folder)}")


def pack(archive: Path) -> None:
    """The light files that a worker imports, as the package `attar`."""
    with tarfile.open(archive, "w:gz") as found:
        for file in sorted({path for pattern in LIGHT for path in PACKAGE.glob(pattern)}):
            found.add(file, f"attar/{file.relative_to(PACKAGE).as_posix()}", recursive=False)


def _probe(remote: Remote) -> None:
    """Raise `AttarError` where the Python there is missing or too old, or no runtime is installed for it."""
    python = remote.link.python
    try:
        missing = set(remote.run(f"{shlex.quote(python)} -c {shlex.quote(PROBE)}").split())
    except AttarError as error:
        fix = "Python 3.10 or newer is needed there; name it behind the host, as in …/usr/bin/python3"
        raise AttarError(f"{python} does not do there: {error.what}", where=remote.link.name, fix=fix) from None
    if missing & NEEDED or missing >= RUNTIMES:
        names = sorted((missing & NEEDED) | (RUNTIMES & missing if missing >= RUNTIMES else set()))
        fix = f"there: {python} -m pip install numpy packaging onnxruntime ai-edge-litert"
        raise AttarError(f"{python} lacks {', '.join(names)}", where=remote.link.name, fix=fix)

"""`adb:SERIAL/path/to/python`: a phone by Android's adb; the Python may be left out where `python3` is in its path.

- A phone has no Python of its own. One that a shell may run (copied to /data/local/tmp, say) with numpy, packaging
  and a runtime runs the same worker as everywhere.
- adb ends with 1 and says `device '…' not found`, `device offline` or `error: closed` where the phone is unplugged.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from .host import Host
from .remote import opened

MEASURES = "time"
GONE = re.compile(r"device .*not found|device (offline|unauthorized)|no devices|error: closed", re.ASCII)
WORD = re.compile(r"(?P<serial>[A-Za-z0-9][\w.:-]*)(?P<python>/[^\s]+)?/?", re.ASCII)


@dataclass(frozen=True)
class Adb:
    """See `remote.Link`."""

    serial: str
    python: str = "python3"
    folders: str = "/data/local/tmp"

    @property
    def name(self) -> str:
        """As adb lists it."""
        return self.serial

    def lost(self, code: int, said: str) -> bool:
        """Its exit codes are those of the program there, too, so its own words decide."""
        return code in (1, 255) and GONE.search(said) is not None

    def shell(self, script: str) -> list[str]:
        """Without a terminal, which would change what passes; the exit code comes back (Android 7 and newer)."""
        return ["adb", "-s", self.serial, "shell", "-T", script]

    def push(self, file: Path, there: str) -> tuple[list[str], bool]:
        """By adb's own command."""
        return ["adb", "-s", self.serial, "push", str(file), there], False


def parse(rest: str) -> Adb:
    """`SERIAL/python`; `UsageError` for anything else."""
    match = WORD.fullmatch(rest)
    if match is None:
        raise UsageError(f"'adb:{rest}' names no device", where="--target", fix="a serial number of `adb devices`")
    return Adb(match["serial"], match["python"] or "python3")


def check(rest: str) -> None:
    """`UsageError` for a word that names no device."""
    parse(rest)


@contextlib.contextmanager
def open_target(rest: str) -> Iterator[Host]:
    """The phone, if it is there and has Python with a runtime."""
    with opened(parse(rest)) as remote:
        yield remote

"""`ssh://user@host:port/path/to/python`: another machine by ssh; user, port and Python may be left out.

- What ssh needs beyond that (a key, a jump host) stands in the user's own ~/.ssh/config.
- It never asks: a host that wants a password, or is not known, is one line.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from .host import Host
from .remote import opened

MEASURES = "time"
# A name never begins with a hyphen: ssh would take it for an option.
WORD = re.compile(
    r"//(?:(?P<user>[\w.][\w.-]*)@)?(?P<host>[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?P<python>/[^\s]+)?/?",
    re.ASCII,
)
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
}


@dataclass(frozen=True)
class Ssh:
    """See `remote.Link`."""

    host: str
    user: str = ""
    port: int | None = None
    python: str = "python3"
    folders: str = "/tmp"

    @property
    def name(self) -> str:
        """As the user would say it."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def lost(self, code: int, said: str) -> bool:  # noqa: ARG002 - one interface
        """ssh's own exit code."""
        return code == 255

    def shell(self, script: str) -> list[str]:
        """One connection for each script."""
        options = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
        options += ["-p", str(self.port)] if self.port else []
        options += ["-l", self.user] if self.user else []
        return ["ssh", "-T", *options, "--", self.host, script]

    def push(self, file: Path, there: str) -> tuple[list[str], bool]:  # noqa: ARG002 - it comes by stdin
        """By the shell's own `cat`: some boards have no sftp."""
        return self.shell(f"cat > {shlex.quote(there)}"), True


def parse(rest: str) -> Ssh:
    """`//user@host:port/python`; `UsageError` for anything else."""
    match = WORD.fullmatch(rest)
    if match is None or not int(match["port"] or 22) < 65536:
        raise UsageError(f"'ssh:{rest}' names no host", where="--target", fix="such as ssh://user@host:22")
    port = int(match["port"]) if match["port"] else None
    return Ssh(match["host"].strip("[]"), match["user"] or "", port, match["python"] or "python3")


def check(rest: str) -> None:
    """`UsageError` for a word that names no host."""
    parse(rest)


@contextlib.contextmanager
def open_target(rest: str) -> Iterator[Host]:
    """The host, if it answers and has Python with a runtime."""
    with opened(parse(rest)) as remote:
        yield remote

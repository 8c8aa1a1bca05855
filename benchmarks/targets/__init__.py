"""Targets: where `attar bench` measures, by the word that names them.

- A word is `KIND` or `KIND:REST`: `local`, `arm:cortex-a76`, `ssh://user@host:port`, `adb:SERIAL`.
- A target is opened for a while and gives a `Host`. Real machines give times; an emulated processor gives counted
  instructions or nothing, never a time. All of them give answers, whose errors and scores are compared.
- A new target is a file here, with `check` and `open_target`, and its line in the registry.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

from ...errors import UsageError, nearest
from .host import Host

if TYPE_CHECKING:  # a worker elsewhere has no pydantic
    from ..record import Measures

REGISTRY = {"local": ".local", "arm": ".arm", "x86": ".x86", "ssh": ".ssh", "adb": ".adb"}
EXAMPLES = "local, arm:cortex-a76, x86:haswell, ssh://user@host, adb:SERIAL"


@dataclass(frozen=True)
class Target:
    """A word that names a target, taken apart."""

    word: str
    kind: str  # a key of the registry
    rest: str  # what stands behind the kind

    @property
    def measures(self) -> Measures:
        """What its cost is given in; `answers`: it has none."""
        return cast("Measures", _module(self.kind).MEASURES)

    def open(self) -> AbstractContextManager[Host]:
        """Make it ready. Raises `AttarError` where it cannot be reached or lacks something."""
        return cast("AbstractContextManager[Host]", _module(self.kind).open_target(self.rest))


def parse(words: Sequence[str]) -> list[Target]:
    """The targets of these words, each once, in their order; `UsageError` names a word that is none."""
    found: list[Target] = []
    for word in dict.fromkeys(words):
        kind, colon, rest = word.partition(":")
        if kind not in REGISTRY:
            near = nearest(kind, REGISTRY)
            raise UsageError(f"unknown target {word!r}", where="--target", fix=f"{near}; such as {EXAMPLES}")
        if bool(rest) != (kind != "local") or bool(colon) != (kind != "local"):
            raise UsageError(f"{word!r} does not name a target", where="--target", fix=f"such as {EXAMPLES}")
        _module(kind).check(rest)
        found.append(Target(word, kind, rest))
    return found


def _module(kind: str) -> ModuleType:
    return importlib.import_module(REGISTRY[kind], __name__)

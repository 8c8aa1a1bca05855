"""What is installed, what this processor can do, and what is missing: `attar doctor`.

- The lists come from attar's own package metadata, so they cannot disagree with what pip installs.
- A runtime counts as whole when its import succeeds in a process of its own: a wheel can be installed and be
  broken all the same (tflite-runtime with numpy 2).
- The light core must be whole; everything else is optional and comes with the command that adds it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from ..export import runtimes
from . import machine

PURPOSE = {
    "": "light core: to run, measure, report",
    "compress": "compress: to make models",
    "tflite": "tflite: runtime of older apps",
    "minilm": "minilm: teacher without download",
}
MEANING = {
    "avx2": "vector arithmetic; without vnni, signed int8 weights can saturate",
    "avx512": "wide vector arithmetic",
    "vnni": "int8 dot products: int8 models are faster than fp32",
    "amx": "int8 matrix tiles",
    "bf16": "bfloat16 products: `precision: auto` trains in them",
    "neon": "vector arithmetic",
    "dotprod": "int8 dot products: int8 models are faster than fp32",
    "i8mm": "int8 matrix products",
    "fp16": "half precision arithmetic",
}
ON_ARM = ("neon", "dotprod", "i8mm", "fp16")
ON_X86 = ("avx2", "avx512", "vnni", "amx", "bf16")


@dataclass(frozen=True)
class Item:
    """One library."""

    group: str  # the extra that brings it, "" for the light core
    name: str
    needed: str  # version specifier, such as ">=1.20"
    version: str | None  # None: not installed
    problem: str = ""  # why it does not do, empty where it does


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found."""

    items: list[Item]
    machine: dict[str, Any]
    features: dict[str, bool]

    @property
    def whole(self) -> bool:
        """Whether the light core can work."""
        core = [item for item in self.items if not item.group]
        return bool(core) and not any(item.problem for item in core)

    def commands(self) -> list[str]:
        """What adds the missing groups."""
        groups = dict.fromkeys(item.group for item in self.items if item.problem)
        return [install(group) for group in groups]

    def document(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        items = [asdict(item) for item in self.items]
        return {
            "whole": self.whole,
            "items": items,
            "commands": self.commands(),
            "features": self.features,
            "machine": self.machine,
        }


def examine() -> Diagnosis:
    """Look at libraries, runtimes and processor."""
    items = [_item(group, asked) for group, several in machine.requirements().items() for asked in several]
    if not items:
        items = [Item("", "attar", "", None, "not installed as a package, so its needs are unknown")]
    arm = platform.machine().lower().startswith(("arm", "aarch64"))
    found = machine.features()
    return Diagnosis(items, machine.describe(), {name: name in found for name in (ON_ARM if arm else ON_X86)})


def install(group: str) -> str:
    """The command that installs attar with one group, from the clone where it was installed from one."""
    extra = f"[{group}]" if group else ""
    try:
        origin = json.loads(metadata.distribution("attar").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install -c constraints.txt -e '.{extra}'"
    return f"pip install 'attar{extra}'"


def _item(group: str, asked: Requirement) -> Item:
    found = machine.version(asked.name)
    if found is None:
        problem = "not installed"
    elif not asked.specifier.contains(found, prereleases=True):
        problem = f"attar needs {asked.specifier}"
    else:
        problem = _broken(asked.name)
    return Item(group, asked.name, str(asked.specifier), found, problem)


def _broken(name: str) -> str:
    """Why an installed runtime cannot be imported, empty where it can."""
    runtime = next((one for one, distribution in runtimes.DISTRIBUTIONS.items() if distribution == name), None)
    if runtime is None:
        return ""
    command = [sys.executable, "-c", f"import {runtimes.library(runtime)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else f"import fails: {lines[-1] if lines else done.returncode}"

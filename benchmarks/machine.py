"""The machine that figures were measured on, without anything that names its owner.

- Versions and requirements come from the packages' metadata: describing a machine imports no runtime.
- Only the processor features that decide how fast int8 and fp32 run, and whether `precision: auto` trains in bfloat16,
  are kept, under one name on x86 and ARM.
- No host name, no user name, no path: the description goes into `run.json` and the report.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from ..export.runtimes import DISTRIBUTIONS

# what this project calls a feature: the names Linux gives it in /proc/cpuinfo (x86 `flags`, ARM `Features`)
FEATURES = {
    "avx2": {"avx2"},
    "avx512": {"avx512f"},
    "vnni": {"avx512_vnni", "avx_vnni"},
    "amx": {"amx_int8"},
    "bf16": {"avx512_bf16", "amx_bf16"},
    "neon": {"asimd", "neon"},
    "dotprod": {"asimddp"},
    "i8mm": {"i8mm"},
    "fp16": {"asimdhp", "avx512_fp16"},
}
EXTRAS = ("compress", "tflite", "minilm")


def describe() -> dict[str, Any]:
    """Processor, features, cores, memory (bytes), system, Python, versions, load average and governor."""
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "features": features(),
        "cores": cores(),
        "memory": memory(),
        "system": system(),
        "python": platform.python_version(),
        "versions": versions(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "governor": governor(),
    }


def processor() -> str:
    """The processor's model name; on ARM, where Linux gives none, its implementer and part numbers."""
    info = _read("/proc/cpuinfo")
    if match := re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", info, re.MULTILINE):
        return " ".join(match.group(1).split())
    part = re.search(r"^CPU part\s*:\s*(\w+)$", info, re.MULTILINE)
    maker = re.search(r"^CPU implementer\s*:\s*(\w+)$", info, re.MULTILINE)
    if part and maker:
        return f"{platform.machine()} implementer {maker.group(1)} part {part.group(1)}"
    return platform.processor() or platform.machine()


def said(words: Mapping[str, Any]) -> str:
    """A described machine's processor with its features, which tell apart what clouds give one name."""
    has = " ".join(words.get("features") or ())
    return f"{words.get('processor') or ''} ({has})" if has else str(words.get("processor") or "")


def features() -> list[str]:
    """The features of `FEATURES` that this processor has."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    found = set(match.group(1).split()) if match else set()
    return [name for name, words in FEATURES.items() if words & found]


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def last_cache() -> int | None:
    """Bytes of the last cache, as Linux tells; None elsewhere."""
    found: dict[int, int] = {}
    for place in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, size = (_read(str(place / name)).strip() for name in ("level", "size"))
        if level.isdigit() and (match := re.fullmatch(r"(\d+)([KMG])", size)):
            found[int(level)] = int(match.group(1)) << {"K": 10, "M": 20, "G": 30}[match.group(2)]
    return found[max(found)] if found else None


def memory() -> int:
    """Physical memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def system() -> str:
    """Operating system and kernel version."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read("/etc/os-release"), re.MULTILINE)
    kernel = f"{platform.system()} {platform.release().split('-')[0]}"  # a build's suffix may name its owner
    return f"{match.group(1)}, {kernel}" if match else kernel


def governor() -> str | None:
    """The frequency governor of the first core, None where it cannot be read (virtual machines)."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None


def requirements() -> dict[str, list[Requirement]]:
    """What attar asks for, by extra; "" is the light core. Read from the package's own metadata."""
    found: dict[str, list[Requirement]] = {}
    try:
        lines = metadata.requires("attar") or []
    except metadata.PackageNotFoundError:
        return found
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        light = marker is None or marker.evaluate({"extra": ""})
        for extra in [""] if light else EXTRAS:
            if marker is None or marker.evaluate({"extra": extra}):
                found.setdefault(extra, []).append(requirement)
    return found


def versions() -> dict[str, str]:
    """Version of every distribution that attar asks for and that is installed."""
    names = {requirement.name for group in requirements().values() for requirement in group}
    return {name: found for name in sorted(names) if (found := version(name))}


def runtime_version(words: Mapping[str, Any], runtime: str) -> str:
    """The version of a runtime in a machine's description; nothing where it is not told."""
    versions = words.get("versions")
    return str(versions.get(DISTRIBUTIONS.get(runtime, runtime), "")) if isinstance(versions, Mapping) else ""


def version(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""

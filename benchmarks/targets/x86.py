"""`x86:CPU`: an x86 processor without VNNI, emulated by qemu in user mode; for its answers alone.

- Without VNNI the products of uint8 and int8 are added in pairs into 16 bits, which saturate. Who exports on a machine
  with VNNI never sees that. Here this machine's own Python and runtimes run with the instructions of the older
  processor and no others: they choose their kernels, and saturate, as they would on it.
- Neither time nor instructions are taken: the classes of `instructions.c` are ARM's.
- The emulator is the one that `attar arm-setup` fetches. Only an x86-64 machine has the Python and the runtimes for it.
"""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import debian
from ...errors import AttarError, UsageError, nearest
from ...files import write_text
from . import arm
from .host import START, WORKER, Here

MEASURES = "answers"
SSE = "fpu tsc cx8 cmov mmx fxsr sse sse2 ht syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt"
# word -> qemu's model, and what Linux tells of its features (of those that qemu 7.2 emulates)
CPUS = {
    "nehalem": ("Nehalem", SSE),
    "haswell": ("Haswell", f"{SSE} avx f16c fma movbe abm bmi1 bmi2 avx2"),
}


@dataclass(frozen=True)
class Emulated(Here):
    """A processor of `CPUS`, which sees this machine's files and environment; see `Host`."""

    cpu: str
    folder: Path  # of `attar arm-setup`
    view: Path  # files that the emulated program sees in the place of this system's
    emulator: str = "qemu-x86_64 7.2"

    def command(self) -> Sequence[str]:
        """The emulator with this interpreter."""
        model = [*debian.program(self.folder / "host", "qemu-x86_64"), "-cpu", CPUS[self.cpu][0], "-L", str(self.view)]
        return [*model, sys.executable, "-c", START.format(WORKER)]


def check(rest: str) -> None:
    """`UsageError` for a processor that is not emulated."""
    if rest not in CPUS:
        raise UsageError(f"unknown processor {rest!r}", where="--target", fix=nearest(rest, CPUS))


@contextlib.contextmanager
def open_target(rest: str) -> Iterator[Emulated]:
    """The emulated processor, on an x86-64 machine where `attar arm-setup` has been run."""
    from . import arm_setup

    if platform.machine() != "x86_64":
        raise AttarError(f"this machine is {platform.machine()}", where=f"x86:{rest}", fix="use an x86-64 machine")
    if not arm_setup.whole(arm.home()):
        raise AttarError("the emulator is not set up", where=str(arm.home()), fix="run: attar arm-setup")
    with tempfile.TemporaryDirectory(prefix="attar-") as view:
        write_text(Path(view) / "proc" / "cpuinfo", cpuinfo(rest))
        yield Emulated(rest, arm.home(), Path(view))


def cpuinfo(cpu: str) -> str:
    """`/proc/cpuinfo` of one core: what the emulated instructions are, which this machine's own file does not tell."""
    name, flags = CPUS[cpu]
    return (
        f"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel name\t: {name}\nphysical id\t: 0\n"
        f"siblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t: {flags}\n\n"
    )

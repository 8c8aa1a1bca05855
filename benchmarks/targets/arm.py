"""`arm:CPU`: an ARM processor, emulated by qemu in user mode.

- The aarch64 builds of Python and of the runtimes run with the instructions of that processor and no others, and
  choose their kernels as they would on it: `/proc/cpuinfo` is that processor's, too. What they answer is what such a
  phone answers.
- Time under emulation means nothing, and none is taken. Executed instructions are counted, by class, by a plugin
  (`instructions.c`). They are a proxy of time, not cycles: an instruction that loads costs more than one that adds.
- `max` is not offered: under qemu 7.2 it gives wrong int8 products. Nor is a64fx, whose vector instructions (SVE) the
  classes do not know.
- `attar arm-setup` makes the folder; see `arm_setup`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import debian
from ...errors import AttarError, UsageError, nearest
from ...files import file_digest
from .host import WORKER, Host

MEASURES = "instructions"
PACKAGE = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("instructions.c")


@dataclass(frozen=True)
class Processor:
    """What Linux tells of a processor: from its technical reference manual, register MIDR_EL1."""

    part: int
    variant: int
    revision: int
    dotprod: bool  # Armv8.2 with the integer dot product

    def cpuinfo(self) -> str:
        """`/proc/cpuinfo` of one core."""
        features = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
        later = " atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" if self.dotprod else " cpuid"
        return (
            f"processor\t: 0\nBogoMIPS\t: 48.00\nFeatures\t: {features}{later}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: {self.variant:#x}\nCPU part\t: {self.part:#x}\n"
            f"CPU revision\t: {self.revision}\n\n"
        )


CPUS = {
    "cortex-a35": Processor(0xD04, 0, 4, dotprod=False),
    "cortex-a53": Processor(0xD03, 0, 4, dotprod=False),
    "cortex-a57": Processor(0xD07, 1, 0, dotprod=False),
    "cortex-a72": Processor(0xD08, 0, 3, dotprod=False),
    "cortex-a76": Processor(0xD0B, 4, 1, dotprod=True),
    "neoverse-n1": Processor(0xD0C, 4, 1, dotprod=True),
}


def home() -> Path:
    """The folder that `attar arm-setup` makes: `$ATTAR_ARM`, or `attar/arm` in the user's cache."""
    return debian.home("ATTAR_ARM", "arm")


def qemu(folder: Path) -> list[str]:
    """The emulator of such a folder."""
    return debian.program(folder / "host", "qemu-aarch64")


def plugin(folder: Path) -> Path:
    """The compiled plugin; another version of its source is another file."""
    return folder / f"instructions-{file_digest(SOURCE)[:12]}.so"


@dataclass(frozen=True)
class Emulated:
    """A processor of `CPUS`; see `Host`."""

    cpu: str
    folder: Path
    light: Path  # holds our package alone: a neighbour of it may be a library for this machine
    counts: Path | None = None  # where the plugin writes; None: nothing is counted
    emulator: str = "qemu-aarch64 7.2"

    def command(self) -> Sequence[str]:
        """The emulator with an aarch64 Python."""
        counting = ["-plugin", f"{plugin(self.folder)},out={self.counts}"] if self.counts else []
        view = ["-cpu", self.cpu, "-L", str(self.folder / "cpus" / self.cpu)]
        return [*qemu(self.folder), *view, *counting, str(self.folder / "root/usr/bin/python3.11"), "-m", WORKER]

    def environment(self) -> Mapping[str, str]:
        """Nothing of ours but the search path: counts must not depend on who asks."""
        places = [self.folder / "site", self.light]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            "PYTHONSAFEPATH": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),  # nothing of ours is written to
            "OMP_NUM_THREADS": "1",
        }

    def path(self, file: Path) -> str:
        """Where it is: the emulated program sees this machine's files."""
        return str(file.resolve())

    def ended(self, code: int, said: str) -> str:  # noqa: ARG002 - one interface
        """Nothing: the emulator ends as its program ends."""
        return ""


def check(rest: str) -> None:
    """`UsageError` for a processor that is not emulated."""
    if rest not in CPUS:
        raise UsageError(f"unknown processor {rest!r}", where="--target", fix=nearest(rest, CPUS))


@contextlib.contextmanager
def open_target(rest: str) -> Iterator[Host]:
    """The emulated processor, if `attar arm-setup` has been run."""
    from . import arm_setup

    folder = home()
    if not arm_setup.whole(folder):
        raise AttarError("the emulated ARM is not set up", where=str(folder), fix="run: attar arm-setup")
    arm_setup.refresh(folder)
    with tempfile.TemporaryDirectory(prefix="attar-") as light:
        (Path(light) / "attar").symlink_to(PACKAGE)
        yield Emulated(rest, folder, Path(light))

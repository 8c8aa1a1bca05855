"""`attar arm-setup`: everything that `arm:CPU` needs, in one folder, without root.

- Debian's packages come as `debian.py` tells, of bookworm, so that the emulator is qemu 7.2 and Python 3.11 everywhere.
- The aarch64 wheels come by pip, in the versions that are installed here: then what differs between this machine and
  ARM is the processor. Without an installed version it is the newest.
- Each part is made beside its place and renamed, and a part that is there is kept: a run that was stopped goes on.
  `setup.json`, written last, says what was fetched, with sizes and digests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import debian
from ...debian import Say
from ...errors import AttarError
from ...files import explain_os_errors, locked, read_json, replace_folder, write_json, write_text
from .. import machine
from .arm import CPUS, SOURCE, plugin

FORMAT, SUITE = 1, "bookworm"
COMMAND = "attar arm-setup"
GUEST = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")  # with all that they depend on
HOST = ("qemu-user",)
RUNTIMES = ("onnxruntime", "ai-edge-litert", "tflite-runtime")
GLIBC = 36  # bookworm's is 2.36: wheels for it and for older ones
SEEN = ("lib", "usr", "etc", "bin")  # what an emulated program sees of the unpacked system, beside /proc and /sys


def whole(folder: Path) -> bool:
    """Whether the set-up has come to its end there."""
    return debian.whole(folder, FORMAT)


def make(folder: Path, say: Say) -> dict[str, Any]:
    """Make what is missing in the folder, and say what is fetched; gives what `setup.json` holds.

    Raises `AttarError` in one line where apt-get, gcc, pip or the network is missing.
    """
    _need_tools()
    with locked(folder):
        fetched: dict[str, dict[str, Any]] = {}
        architecture = debian.architecture(COMMAND)
        for part, packages, wanted in (("root", GUEST, "arm64"), ("host", HOST, architecture)):
            fetched |= debian.fetch(folder, part, packages, wanted, SUITE, COMMAND, say)
        fetched |= _wheels(folder, say)
        refresh(folder)
        found = {"format": FORMAT, "suite": SUITE, "mirror": debian.MIRROR, "fetched": fetched}
        write_json(folder / debian.NAME, found)
        shutil.rmtree(folder / "fetched", ignore_errors=True)
    return found


def refresh(folder: Path) -> None:
    """What comes from this package alone: the plugin, what each processor tells of itself."""
    for name, processor in CPUS.items():
        view = folder / "cpus" / name
        for part in SEEN:
            _link(view / part, Path("../../root") / part)
        _write(view / "proc/cpuinfo", processor.cpuinfo())
        for file in ("possible", "present", "online"):
            _write(view / "sys/devices/system/cpu" / file, "0\n")
    library = plugin(folder)
    if not library.is_file():
        partial = library.with_name(f".{library.name}.{os.getpid()}")
        debian.run(["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(partial), str(SOURCE)], COMMAND)
        partial.replace(library)


def _need_tools() -> None:
    """One line for what this system lacks."""
    debian.need(COMMAND, [("gcc", "gcc")])
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        raise AttarError("pip is not installed", where=COMMAND, fix=f"{sys.executable} -m ensurepip")


def _wheels(folder: Path, say: Say) -> dict[str, dict[str, Any]]:
    """Fetch the aarch64 wheels and unpack them as `folder/site`, if the same ones are not there."""
    wanted = pinned({name: machine.version(name) for name in ("numpy", "packaging", *RUNTIMES)})
    note = folder / "notes" / "site.json"
    if note.is_file() and (folder / "site").is_dir():
        known = read_json(note)
        if known["wanted"] == wanted:
            return dict(known["fetched"])
    space = folder / "fetched" / "site"
    space.mkdir(parents=True, exist_ok=True)
    say(f"fetching aarch64 wheels: {', '.join(wanted)}")
    tags = [f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1)]
    options = [f"--platform={tag}" for tag in (*tags, "manylinux2014_aarch64")]
    options += ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3"]
    options += ["--abi=none", "--no-deps", "--quiet", "--disable-pip-version-check", f"--dest={space}"]
    debian.run([sys.executable, "-m", "pip", "download", *options, *wanted], COMMAND)
    found = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".site.") as name:
        target = Path(name) / "site"
        target.mkdir()
        for wheel in sorted(space.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
            found[wheel.name] = debian.card(wheel)
        replace_folder(target, folder / "site")
    say(f"fetched {debian.megabytes(sum(card['bytes'] for card in found.values()))} of wheels")
    write_json(note, {"wanted": wanted, "fetched": found})
    shutil.rmtree(space, ignore_errors=True)  # another version's wheel must not be unpacked with the next
    return found


def pinned(versions: Mapping[str, str | None]) -> list[str]:
    """What pip is asked for: the installed versions, the newest of what must be there.

    tflite-runtime takes part where it is installed: it needs numpy 1, which others need not have.
    """
    optional = {"tflite-runtime"}
    return [f"{name}=={found}" if found else name for name, found in versions.items() if found or name not in optional]


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != text:
        write_text(path, text)


def _link(path: Path, target: Path) -> None:
    """A symbolic link, made anew where it leads elsewhere."""
    with explain_os_errors(path):
        if not path.is_symlink() or path.readlink() != target:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(target)

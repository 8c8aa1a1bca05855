"""`attar arm-setup`: everything that `arm:CPU` needs, in one folder, without root.

- Debian's packages come by apt with a configuration of its own (its lists, its cache, no system file is touched): apt
  checks Debian's signature and every digest. bookworm is asked for whatever this system is, so that the emulator is
  qemu 7.2 and Python 3.11 everywhere. Packages are unpacked by `dpkg-deb -x`; nothing of them is run to install.
- The aarch64 wheels come by pip, in the versions that are installed here: then what differs between this machine and
  ARM is the processor. Without an installed version it is the newest.
- Each part is made beside its place and renamed, and a part that is there is kept: a run that was stopped goes on.
  `setup.json`, written last, says what was fetched, with sizes and digests.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import AttarError
from ...files import explain_os_errors, file_digest, locked, read_json, replace_folder, write_json, write_text
from .. import machine
from .arm import CPUS, SOURCE, plugin

Say = Callable[[str], None]
FORMAT = 1
NAME = "setup.json"
MIRROR, SUITE = "http://deb.debian.org/debian", "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
GUEST = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")  # with all that they depend on
HOST = ("qemu-user",)
RUNTIMES = ("onnxruntime", "ai-edge-litert", "tflite-runtime")
GLIBC = 36  # bookworm's is 2.36: wheels for it and for older ones
SEEN = ("lib", "usr", "etc", "bin")  # what an emulated program sees of the unpacked system, beside /proc and /sys


def whole(folder: Path) -> bool:
    """Whether the set-up has come to its end there."""
    with contextlib.suppress(AttarError):
        found = read_json(folder / NAME)
        return isinstance(found, dict) and found.get("format") == FORMAT
    return False


def make(folder: Path, say: Say) -> dict[str, Any]:
    """Make what is missing in the folder, and say what is fetched; gives what `setup.json` holds.

    Raises `AttarError` in one line where apt-get, gcc, pip or the network is missing.
    """
    _need_tools()
    with locked(folder):
        fetched: dict[str, dict[str, Any]] = {}
        architecture = _run(["dpkg", "--print-architecture"]).strip()
        for part, packages, wanted in (("root", GUEST, "arm64"), ("host", HOST, architecture)):
            fetched |= _debian(folder, part, packages, wanted, say)
        fetched |= _wheels(folder, say)
        refresh(folder)
        found = {"format": FORMAT, "suite": SUITE, "mirror": MIRROR, "fetched": fetched}
        write_json(folder / NAME, found)
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
        _run(["gcc", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(partial), str(SOURCE)])
        partial.replace(library)


def _need_tools() -> None:
    """One line for what this system lacks."""
    for tool, package in (("apt-get", ""), ("dpkg-deb", ""), ("gcc", "gcc")):
        if shutil.which(tool) is None:
            fix = f"install {package}" if package else "set up on a Debian or Ubuntu system and copy the folder"
            raise AttarError(f"{tool} is not installed", where="attar arm-setup", fix=fix)
    if not KEYRING.is_file():
        fix = "install debian-archive-keyring"
        raise AttarError("the keys that Debian signs with are missing", where=str(KEYRING), fix=fix)
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        raise AttarError("pip is not installed", where="attar arm-setup", fix=f"{sys.executable} -m ensurepip")


def _debian(folder: Path, part: str, packages: Sequence[str], architecture: str, say: Say) -> dict[str, dict[str, Any]]:
    """Fetch the packages with their dependencies and unpack them as `folder/part`, if that is not there."""
    note = folder / "notes" / f"{part}.json"
    if note.is_file() and (folder / part).is_dir():
        return dict(read_json(note))
    space = folder / "fetched" / part
    for name in ("state/lists/partial", "cache/archives/partial"):
        (space / name).mkdir(parents=True, exist_ok=True)
    write_text(space / "status", "")
    write_text(space / "sources.list", f"deb [signed-by={KEYRING}] {MIRROR} {SUITE} main\n")
    write_text(space / "apt.conf", _configuration(space, architecture))
    environment = {**os.environ, "APT_CONFIG": str(space / "apt.conf"), "LC_ALL": "C"}
    say(f"asking {MIRROR} for {SUITE}, {architecture}")
    _run(["apt-get", "--quiet", "update"], environment)
    install = ["apt-get", "install", "--quiet", "--yes"]
    plan = _run([*install, "--print-uris", *packages], environment).splitlines()
    archives = [line for line in plan if line.startswith("'")]
    say(f"fetching {len(archives)} packages of Debian ({_megabytes(_sum(archives))}): {', '.join(packages)}")
    _run([*install, "--download-only", *packages], environment)
    found = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{part}.") as name:
        target = Path(name) / part
        target.mkdir()
        for archive in sorted((space / "cache/archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(archive), str(target)])
            found[archive.name] = _card(archive)
        replace_folder(target, folder / part)
    write_json(note, found)
    return found


def _configuration(space: Path, architecture: str) -> str:
    """An apt that knows nothing of this system; names that lead nowhere keep its own files out."""
    values = {
        "Dir::State": space / "state",
        "Dir::State::status": space / "status",
        "Dir::Cache": space / "cache",
        "Dir::Etc::sourcelist": space / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    return "".join(f'{name} "{value}";\n' for name, value in values.items())


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
    _run([sys.executable, "-m", "pip", "download", *options, *wanted])
    found = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".site.") as name:
        target = Path(name) / "site"
        target.mkdir()
        for wheel in sorted(space.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
            found[wheel.name] = _card(wheel)
        replace_folder(target, folder / "site")
    say(f"fetched {_megabytes(sum(card['bytes'] for card in found.values()))} of wheels")
    write_json(note, {"wanted": wanted, "fetched": found})
    shutil.rmtree(space, ignore_errors=True)  # another version's wheel must not be unpacked with the next
    return found


def pinned(versions: Mapping[str, str | None]) -> list[str]:
    """What pip is asked for: the installed versions, the newest of what must be there.

    tflite-runtime takes part where it is installed: it needs numpy 1, which others need not have.
    """
    optional = {"tflite-runtime"}
    return [f"{name}=={found}" if found else name for name, found in versions.items() if found or name not in optional]


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a tool; its last complaint is the error."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise AttarError(f"{command[0]} is not installed", where="attar arm-setup") from None
    # apt-get update ends with 0 where a server does not answer, and says so in a warning.
    lines = done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("E: ", "Err:", "ERROR: "))]
    failed += [line for line in lines if line.startswith("W: ") and "Failed to fetch" in line]
    if done.returncode or failed:
        said = (failed or lines or [f"exit code {done.returncode}"])[0].strip()[:300]
        tool = "pip" if "pip" in command[:3] else Path(command[0]).name
        fix = "is there a network?" if tool in ("apt-get", "pip") else ""
        raise AttarError(f"{tool} failed: {said}", where="attar arm-setup", fix=fix)
    return done.stdout


def _card(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _sum(lines: Sequence[str]) -> int:
    """Bytes of the archives that apt lists: `'URI' NAME BYTES DIGEST`."""
    return sum(int(line.split()[2]) for line in lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


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

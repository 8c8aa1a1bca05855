"""Packages of Debian, fetched without root and unpacked into one folder.

- They come by apt with a configuration of its own (its lists, its cache, no system file is touched): apt checks
  Debian's signature and every digest. A release is asked for by name whatever this system is, so that the same tools
  are there everywhere. Packages are unpacked by `dpkg-deb -x`; nothing of them is run to install.
- Each part is made beside its place and renamed, and a part that is there is kept: a run that was stopped goes on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import AttarError
from .files import file_digest, read_json, replace_folder, write_json, write_text

Say = Callable[[str], None]
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NAME = "setup.json"  # written last, it says what was fetched, with sizes and digests


def home(variable: str, name: str) -> Path:
    """The folder of a set-up: what the environment's `variable` says, or `attar/NAME` in the user's cache."""
    if named := os.environ.get(variable):
        return Path(named).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attar" / name


def whole(folder: Path, form: int) -> bool:
    """Whether a set-up of that form has come to its end there."""
    with contextlib.suppress(AttarError):
        found = read_json(folder / NAME)
        return isinstance(found, dict) and found.get("format") == form
    return False


def need(command: str, others: Sequence[tuple[str, str]] = ()) -> None:
    """One line for what this system lacks; `others` are programs with the packages that bring them."""
    for tool, package in (("apt-get", ""), ("dpkg-deb", ""), *others):
        if shutil.which(tool) is None:
            fix = f"install {package}" if package else "set up on a Debian or Ubuntu system and copy the folder"
            raise AttarError(f"{tool} is not installed", where=command, fix=fix)
    if not KEYRING.is_file():
        fix = "install debian-archive-keyring"
        raise AttarError("the keys that Debian signs with are missing", where=str(KEYRING), fix=fix)


def architecture(command: str) -> str:
    """Debian's name of this machine's processor."""
    return run(["dpkg", "--print-architecture"], command).strip()


def fetch(
    folder: Path,
    part: str,
    packages: Sequence[str],
    architecture: str,
    suite: str,
    command: str,
    say: Say,
    provided: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Fetch the packages with their dependencies and unpack them as `folder/part`, if that is not there.

    `provided` are names that this system has by itself, so that nothing is fetched for them. Gives bytes and sha256 of
    every archive. Raises `AttarError`, where `command`, in one line.
    """
    note = folder / "notes" / f"{part}.json"
    if note.is_file() and (folder / part).is_dir():
        return dict(read_json(note))
    space = folder / "fetched" / part
    for name in ("state/lists/partial", "cache/archives/partial"):
        (space / name).mkdir(parents=True, exist_ok=True)
    write_text(space / "status", status(provided))
    write_text(space / "sources.list", f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
    write_text(space / "apt.conf", configuration(space, architecture))
    environment = {**os.environ, "APT_CONFIG": str(space / "apt.conf"), "LC_ALL": "C"}
    say(f"asking {MIRROR} for {suite}, {architecture}")
    run(["apt-get", "--quiet", "update"], command, environment)
    install = ["apt-get", "install", "--quiet", "--yes"]
    plan = run([*install, "--print-uris", *packages], command, environment).splitlines()
    archives = [line for line in plan if line.startswith("'")]  # 'URI' NAME BYTES DIGEST
    size = sum(int(line.split()[2]) for line in archives)
    say(f"fetching {len(archives)} packages of Debian ({megabytes(size)}): {', '.join(packages)}")
    run([*install, "--download-only", *packages], command, environment)
    found = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{part}.") as name:
        target = Path(name) / part
        target.mkdir()
        for archive in sorted((space / "cache/archives").glob("*.deb")):
            run(["dpkg-deb", "--extract", str(archive), str(target)], command)
            found[archive.name] = card(archive)
        replace_folder(target, folder / part)
    write_json(note, found)
    return found


def status(provided: Sequence[str]) -> str:
    """What apt takes for installed: nothing, or one package of no files that has those names."""
    if not provided:
        return ""
    lines = {
        "Package": "of-this-system",
        "Status": "install ok installed",
        "Architecture": "all",
        "Version": "1",
        "Maintainer": "attar",
        "Provides": ", ".join(provided),
        "Description": "what this system has by itself",
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())


def configuration(space: Path, architecture: str) -> str:
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


def program(root: Path, name: str) -> list[str]:
    """A program of an unpacked part, run by its own loader and libraries: it needs nothing of this system."""
    loaders = sorted([*root.glob("lib*/ld-linux*.so.*"), *root.glob("lib/*-linux-gnu*/ld-linux*.so.*")])
    loader = next(iter(loaders), root / "lib64/ld-linux.so")
    libraries = sorted({str(path.parent) for path in root.glob("**/lib/**/*.so.*")})
    return [str(loader), "--library-path", ":".join(libraries), str(root / "usr/bin" / name)]


def run(command: Sequence[str], where: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool; its first complaint is the error."""
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise AttarError(f"{command[0]} is not installed", where=where) from None
    # apt-get update ends with 0 where a server does not answer, and says so in a warning.
    lines = done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(("E: ", "Err:", "ERROR: "))]
    failed += [line for line in lines if line.startswith("W: ") and "Failed to fetch" in line]
    if done.returncode or failed:
        said = (failed or lines or [f"exit code {done.returncode}"])[0].strip()[:300]
        tool = "pip" if "pip" in command[:3] else Path(command[0]).name
        fix = "is there a network?" if tool in ("apt-get", "pip") else ""
        raise AttarError(f"{tool} failed: {said}", where=where, fix=fix)
    return done.stdout


def card(path: Path) -> dict[str, Any]:
    """Bytes and sha256 of a file that was fetched."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def megabytes(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e6:.1f} MB"

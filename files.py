"""Files: atomic writes, digests, locks.

- A file is written beside its place and renamed, so a reader sees the old bytes or the new, never half.
- Digests are sha256 over content, with every path sorted, so that they do not depend on the file system.
- A full disk is an ordinary event: it becomes one clear line, and what was finished stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import AttarError


@contextlib.contextmanager
def explain_os_errors(where: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a line a user can act on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AttarError("the disk is full", where=str(where), fix="free some space and repeat") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AttarError("no permission to write here", where=str(where), fix="choose --out") from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that the file is either whole or not there."""
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, naming the file and the line where it is broken."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise AttarError("no such file", where=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise AttarError("not valid JSON", where=f"{path}{line}") from error


def file_digest(path: Path) -> str:
    """sha256 of one file, in hex."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digest(folder: Path, keep: Callable[[Path], bool] = lambda path: True) -> str:
    """sha256 over the names and contents of the files below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and keep(p)):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return digest.hexdigest()


def value_digest(value: Any) -> str:
    """sha256 of a JSON value, with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def inside(folder: Path, name: str) -> Path:
    """The path of `name` below `folder`; refuses names that lead out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise AttarError(f"the name {name!r} leads out of the folder", where=str(folder))
    return path


def replace_folder(source: Path, target: Path) -> None:
    """Put the finished folder `source` in the place of `target`."""
    old = target.with_name(f".old-{target.name}")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder whole or not at all; files are hard-linked where the file system can."""

    def link(src: str, dst: str) -> str:
        try:
            os.link(src, dst)
        except OSError:
            shutil.copy2(src, dst)
        return dst

    partial = target.with_name(f".copy-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    with explain_os_errors(target):
        shutil.copytree(source, partial, copy_function=link)
        replace_folder(partial, target)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; another process that wants it is told who has it."""
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AttarError(
                f"the folder is in use by process {holder}", where=str(folder), fix="wait for it or choose --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield

"""What a teacher says of every sequence, computed once and kept on disk.

- Shards of at most `SHARD` bytes and a hundredth of the sequences, each a safetensors file that is whole or not there:
  a killed run goes on after the last one, to the same bytes, for no batch crosses two shards.
- Each shard carries the key of everything it was made from (weights, tokenizer, encoded rows, what is kept) and which
  sequences it holds. One with others, or that cannot be read, is made again; it is never used.
- Several processes each make some of the missing shards; all read all of them.
- Reading maps the files into memory and copies one sequence at a time, so a cache may be larger than the memory.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import save

from ..errors import DiskFullError
from ..files import value_digest, write_bytes
from ..processes import ALONE, Processes
from ..tasks.encoding import Features
from ..training import Progress

SHARD = 32_000_000  # bytes: enough to read fast, little enough to hold twice
LEAST = 1024  # sequences: fewer would be more files than it is worth
Kept = dict[str, npt.NDArray[np.float32]]  # what is kept of one sequence, by name


def key(teacher: str, features: Sequence[Features], what: Any) -> str:
    """The key of a cache: the digest of the teacher's folder, the encoded sequences, and what is kept of them."""
    return value_digest([teacher, [[row.input_ids, row.token_type_ids] for row in features], what])


class Cache:
    """Arrays of every sequence; what is missing is made when the cache is opened."""

    def __init__(
        self,
        folder: Path,
        key: str,
        bytes_each: Sequence[int],
        make: Callable[[int, int], Sequence[Kept]],
        progress: Progress,
        what: str,
        processes: Processes = ALONE,
    ) -> None:
        """Open the cache in `folder`; `make(first, end)` gives what is kept of those sequences.

        `bytes_each` says beforehand how much each one takes; `what` names the work to who watches the progress.
        Raises `DiskFullError`, before anything is made, where the disk has less than what is missing.
        """
        self.starts = _starts(bytes_each)
        ends, count = [*self.starts[1:], len(bytes_each)], len(bytes_each)
        remark = f"{count:,} rows, {sum(bytes_each) / 1e6:,.1f} MB on disk"
        spans = list(zip(self.starts, ends, strict=True))
        paths = [folder / f"{number:05d}.safetensors" for number in range(len(spans))]
        marks = [{"key": f"{key} {first}-{end}"} for first, end in spans]  # one entry: several stand in any order
        self.files = [_open(path, mark) for path, mark in zip(paths, marks, strict=True)]
        missing = [number for number, file in enumerate(self.files) if file is None]
        processes.wait()  # until all have seen what is missing
        _check_room(folder, sum(sum(bytes_each[slice(*spans[number])]) for number in missing), what, processes)
        for number in missing[processes.rank :: processes.count]:
            first, end = spans[number]
            progress(what, first / count, remark)
            write_bytes(paths[number], save(_join(make(first, end)), marks[number]))
            progress(what, end / count, remark)
        processes.wait()
        for number in missing:
            self.files[number] = _open(paths[number], marks[number])
        assert None not in self.files
        self.shapes = [
            {name.removesuffix("/shape"): file.get_tensor(name) for name in file.keys() if name.endswith("/shape")}  # noqa: SIM118
            for file in self.files
        ]
        self.ends = [{name: np.cumsum(shapes.prod(1)) for name, shapes in shard.items()} for shard in self.shapes]

    def __getitem__(self, number: int) -> Kept:
        """What is kept of a sequence."""
        return self.take(number, self.shapes[0])

    def take(self, number: int, names: Iterable[str]) -> Kept:
        """These arrays of a sequence; the others are not read."""
        shard = int(np.searchsorted(self.starts, number, "right")) - 1
        place, found = number - self.starts[shard], {}
        for name in names:
            shape, end = self.shapes[shard][name][place], int(self.ends[shard][name][place])
            found[name] = self.files[shard].get_slice(name)[end - int(shape.prod()) : end].reshape(shape)
        return found


def _check_room(folder: Path, need: int, what: str, processes: Processes) -> None:
    """Raise `DiskFullError`, in all processes, where the disk of `folder` has fewer bytes than that."""
    there = next(one for one in (folder, *folder.resolve().parents) if one.exists())
    free = shutil.disk_usage(there).free
    if processes.agree(int(need > free)):
        raise DiskFullError(f"{folder} ({what}: {need / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free)")


def _starts(bytes_each: Sequence[int]) -> list[int]:
    """The first sequence of each shard."""
    most = max(LEAST, math.ceil(len(bytes_each) / 100))
    starts, size = [0], 0
    for number, more in enumerate(bytes_each):
        if number > starts[-1] and (size + more > SHARD or number - starts[-1] == most):
            starts.append(number)
            size = 0
        size += more
    return starts


def _join(kept: Sequence[Kept]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a shard: by name all values in a row, and the shape that each sequence's have."""
    joined: dict[str, npt.NDArray[Any]] = {}
    for name in kept[0]:
        arrays = [one[name] for one in kept]
        joined[name] = np.concatenate([array.reshape(-1) for array in arrays])
        joined[f"{name}/shape"] = np.array([array.shape for array in arrays], np.int64)
    return joined


def _open(path: Path, mark: dict[str, str]) -> Any:
    """The shard where it is there, whole, and has the mark."""
    try:
        file: Any = safetensors.safe_open(str(path), framework="np")
        return file if file.metadata() == mark else None
    except (OSError, safetensors.SafetensorError):
        return None

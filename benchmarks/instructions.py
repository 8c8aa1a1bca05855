"""Executed instructions of one inference on an emulated processor, by class.

- The plugin writes its counters when the program calls `getppid`, once before and once after an inference, so what
  lies between is that inference with the call of it from Python (about a hundred thousand instructions).
- The first inference warms up: memory is allotted and weights are packed. Then the least of five counts, by all
  instructions: what differs between repetitions is how memory happened to lie.
- One thread: others would wait for work by running instructions, and the counters are not atomic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import AttarError
from .latency import Contender
from .record import Instructions
from .targets.arm import Emulated
from .worker import Worker

CLASSES = ("executed", "memory", "dot", "integer", "floating", "vector", "branch")  # in the plugin's order
WARMUP, REPEATS = 1, 5


def measure(model: Contender, lengths: Sequence[int], repeats: int = REPEATS) -> list[Instructions]:
    """Counts at those of the lengths that the model can run and has inputs for.

    Its host must be an emulated one. Raises `AttarError` where the model or its runtime fails there.
    """
    if not isinstance(model.host, Emulated):
        raise AttarError("instructions are counted under emulation only", where=model.name)
    queries = model.queries or {}
    able = [length for length in lengths if model.length in (None, length) and queries.get(length)]
    found: list[Instructions] = []
    if not able:
        return found
    with tempfile.TemporaryDirectory(prefix="attar-") as folder:
        counts = Path(folder) / "counts"
        with Worker(model.path, model.runtime, replace(model.host, counts=counts)) as worker:
            for length in able:
                worker.load(threads=1)
                worker.keep(queries[length][:1])
                worker.between_marks(0, WARMUP + repeats)
                found.append(_least(counts, length, repeats))
    return found


def _least(counts: Path, length: int, repeats: int) -> Instructions:
    """The least of the last so many pairs of lines."""
    lines = counts.read_text("ascii").splitlines()[-2 * repeats :]
    marks = [[int(word) for word in line.split()] for line in lines]
    if len(marks) != 2 * repeats:
        raise AttarError("the emulator did not count", where=str(counts))
    spent = [
        [end - start for start, end in zip(before, after, strict=True)]
        for before, after in zip(marks[::2], marks[1::2], strict=True)
    ]
    least = dict(zip(CLASSES, min(spent), strict=True))
    return Instructions(length=length, repeats=repeats, **least)

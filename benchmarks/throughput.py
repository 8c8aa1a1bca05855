"""Offline throughput: how many texts a second, where many wait (MLPerf's offline scenario).

- Texts of like length stand in one batch, padded to its longest, as a program that may reorder them would do.
- One pass is all texts once; models take turns pass by pass, and the figure is of the median pass after the first.
- A static file runs one text at a time.
- An int8 model takes one scale for a whole batch: how its answers change with the batch is not this module's matter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import AttarError
from ..export.runtimes import Arrays
from ..tasks.encoding import Features, collate
from .latency import Failure, Progress
from .record import Throughput
from .worker import Worker

BATCHES = (1, 8, 32)
PASSES = 4  # of each model at the least; the first warms up


@dataclass(frozen=True)
class Queue:
    """A model and the texts that wait for it."""

    name: str
    path: Path
    runtime: str
    sequences: Sequence[Features]
    pad_id: int
    length: int | None = None  # of a static file

    def batches(self, size: int) -> list[Arrays]:
        """All sequences, shortest first: (size, pieces of the longest), or (1, `length`) of a static file."""
        if self.length is not None:
            return [collate([row], self.pad_id, self.length) for row in self.sequences]
        rows = sorted(self.sequences, key=lambda row: len(row.input_ids))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [collate(part, self.pad_id, len(part[-1].input_ids)) for part in parts]


def measure(
    queues: Sequence[Queue],
    threads: Sequence[int],
    seconds: float,
    on_progress: Progress,
    on_failure: Failure,
    sizes: Sequence[int] = BATCHES,
) -> dict[str, list[Throughput]]:
    """Texts a second by model; turns are taken for `seconds` at each batch size and number of threads."""
    found: dict[str, list[Throughput]] = {queue.name: [] for queue in queues}
    plan = [(size, count) for size in sizes for count in threads]
    with ExitStack() as stack:
        waiting = [queue for queue in queues if queue.sequences]
        workers = {queue.name: stack.enter_context(Worker(queue.path, queue.runtime)) for queue in waiting}
        for number, (size, count) in enumerate(plan):
            on_progress(f"batches of {size}, threads {count}", number, len(plan))
            steps = {queue.name: queue.batches(size) for queue in queues if queue.name in workers}
            passes: dict[str, list[float]] = {name: [] for name in steps}
            start, turn = time.perf_counter(), 0
            while workers and (turn < PASSES or time.perf_counter() - start < seconds):
                for name, worker in list(workers.items()):
                    try:
                        if not turn:
                            worker.load(count)
                            worker.keep(steps[name])
                        passes[name].append(sum(worker.time(step) for step in range(len(steps[name]))) / 1e9)
                    except AttarError as error:
                        del workers[name]
                        on_failure(AttarError(f"in batches of {size}: {error.what}", where=name, fix=error.fix).line())
                turn += 1
            for queue in queues:
                if queue.name in workers:
                    rate = len(queue.sequences) / float(np.median(passes[queue.name][1:]))
                    found[queue.name].append(Throughput(batch=size, threads=count, texts_per_s=rate))
    return found

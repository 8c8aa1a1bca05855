"""What a model costs before it is warm: load time, first inference, peak memory.

- Every measurement is a fresh process that holds nothing but numpy and the runtime.
- Memory is the peak resident size (`VmHWM`) over the resident size after the imports, so that runtimes of
  different weight can be compared by what the *model* needs. Pages of a mapped file count once touched.
- The file is in the page cache after the first process: load times are those of a second start.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from ..export.runtimes import Arrays
from .record import Cost
from .targets.host import HERE, Host
from .worker import Worker


def measure(path: Path, runtime: str, arrays: Arrays, threads: int = 1, repeats: int = 3, host: Host = HERE) -> Cost:
    """Medians over `repeats` fresh processes; `arrays` of shape (1, length) is the first inference."""
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        with Worker(path, runtime, host) as worker:
            worker.keep([arrays])
            found.append(worker.cost(threads))
    return Cost(
        load_s=statistics.median(one["load_s"] for one in found),
        first_ms=statistics.median(one["first_ms"] for one in found),
        peak_memory=int(statistics.median(one["peak_memory"] for one in found)),
    )

"""Latency of single inferences, taken so that two models can be compared.

- Batch 1, real sequences filled to the length: a phone runs one sequence at a time.
- All models are loaded and take turns (A B C, B C A, …): a change of the machine's mood meets all of them.
  Each round runs the same text on every model, and `ratio` is the median over rounds of reference time / own
  time; it stays right on a noisy machine where milliseconds do not.
- Each model lives in a process of its own (see `worker`), which rests before the next one runs: figures are
  those of an app that asks now and then, not of a warm loop.
- A model that fails or dies is reported and left out; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import AttarError
from ..export.runtimes import Arrays
from ..tasks.encoding import Features, collate
from .record import Latency
from .worker import Worker

Queries = Mapping[int, Sequence[Arrays]]
Progress = Callable[[str, int, int], None]  # what is measured, rounds done, rounds in all
Failure = Callable[[str], None]  # one line that names the model and what happened


@dataclass(frozen=True)
class Contender:
    """A model that takes part."""

    name: str
    path: Path
    runtime: str
    length: int | None = None  # the only length it can run; None: any
    queries: Queries | None = None  # its own inputs, where its tokenizer is not that of the others


def fill(sequences: Sequence[Features], pad_id: int, length: int, count: int = 32) -> list[Arrays]:
    """Up to `count` inputs of shape (1, length) without padding: real sequences, joined until they fill the length.

    One that is longer is cut before its last piece, which is a special one.
    """
    filled: list[Arrays] = []
    for start in range(min(count, len(sequences))):
        ids: list[int] = []
        types: list[int] = []
        for step in range(length):  # a sequence has a piece or more
            more = sequences[(start + step) % len(sequences)]
            ids, types = ids + more.input_ids, types + more.token_type_ids
            if len(ids) >= length:
                break
        row = Features([*ids[: length - 1], ids[-1]], [*types[: length - 1], types[-1]])
        filled.append(collate([row], pad_id, length))
    return filled


def measure(
    contenders: Sequence[Contender],
    arrays_by_length: Queries,
    threads: Sequence[int],
    warmup: int,
    queries: int,
    on_progress: Progress | None = None,
    on_failure: Failure | None = None,
    *,
    reference: bool = True,
) -> dict[str, list[Latency]]:
    """Latencies by contender, for every length it can run and has inputs for, and every number of threads.

    The first contender is the reference of the ratios; `reference=False`: it is not, and none are given.
    `arrays_by_length` gives inputs of shape (1, length). Without `on_failure` the first failure is raised.
    """
    if not contenders:
        return {}
    if len({contender.name for contender in contenders}) < len(contenders):
        raise AttarError("two models of a comparison have the same name")
    results: dict[str, list[Latency]] = {contender.name: [] for contender in contenders}
    plan = [(length, count) for length in sorted(arrays_by_length) for count in threads]
    rounds = warmup + queries
    with ExitStack() as stack:
        alive = {c.name: (c, stack.enter_context(Worker(c.path, c.runtime))) for c in contenders}

        def drop(name: str, error: AttarError, length: int) -> None:
            if on_failure is None:
                raise error
            alive.pop(name)
            on_failure(AttarError(f"at length {length}: {error.what}", where=name, fix=error.fix).line())

        for number, (length, count) in enumerate(plan):
            able = [
                name
                for name, (c, _) in alive.items()
                if c.length in (None, length) and length in _given(c, arrays_by_length)
            ]
            for name in able:
                contender, worker = alive[name]
                try:
                    worker.load(count)
                    worker.keep(_given(contender, arrays_by_length)[length])
                except AttarError as error:
                    drop(name, error, length)
            times: dict[str, list[int]] = {name: [] for name in able}
            for turn in range(rounds):
                for name in _rotated([name for name in able if name in alive], turn):
                    try:
                        times[name].append(alive[name][1].time(turn))
                    except AttarError as error:
                        drop(name, error, length)
                if on_progress:
                    done = number * rounds + turn + 1
                    on_progress(f"length {length}, threads {count}", done, len(plan) * rounds)
            theirs = times.get(contenders[0].name, [])[warmup:] if reference else []
            for name in able:
                if name in alive:
                    own = times[name][warmup:]
                    results[name].append(_latency(length, count, own, theirs))
    return results


def _given(contender: Contender, arrays_by_length: Queries) -> Queries:
    return arrays_by_length if contender.queries is None else contender.queries


def _rotated(names: list[str], turn: int) -> list[str]:
    """The order of one round: nobody always runs after the same neighbour's start."""
    shift = turn % len(names) if names else 0
    return names[shift:] + names[:shift]


def _latency(length: int, threads: int, own_ns: Sequence[int], reference_ns: Sequence[int]) -> Latency:
    own = np.asarray(own_ns, np.float64) / 1e6
    whole = len(reference_ns) == len(own_ns)
    p50, p90, p99 = (float(value) for value in np.percentile(own, [50, 90, 99]))
    return Latency(
        length=length,
        threads=threads,
        queries=len(own),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=float(own.mean()),
        min_ms=float(own.min()),
        ratio=float(np.median(np.asarray(reference_ns) / np.asarray(own_ns))) if whole else None,
    )

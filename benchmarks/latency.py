"""Latency of single inferences, taken so that two models can be compared.

- Batch 1: a phone runs one sequence at a time. Sequences are real ones, filled to the length or (`OWN`) as they are.
- All models are loaded and take turns (A B C, B C A, …): a change of the machine's mood meets all of them.
  Each round runs the same text on every model; a session's ratio is the median over its rounds of reference time /
  own time, which stays right on a noisy machine where milliseconds do not.
- `ratio` and `p50_ms` are geometric means of the sessions' medians, with intervals over sessions (`protocol`, and
  `intervals` for what a busy machine does to a time); p90 and p99 are of all queries together.
- Each model lives in a process of its own (see `worker`), which rests before the next one runs: figures are
  those of an app that asks now and then, not of a warm loop.
- A model that fails or dies is reported and left out; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import AttarError
from ..export.runtimes import Arrays
from ..tasks.encoding import Features, collate
from .intervals import centre, interval, moods, moody
from .protocol import Protocol
from .record import Latency
from .targets.host import HERE, Host
from .worker import Worker

OWN = 0  # in the place of a length: each sequence at its own
Queries = Mapping[int, Sequence[Arrays]]
Setting = tuple[int, int]  # length and number of threads
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
    host: Host = HERE  # where it runs
    bundle: Path | None = None  # the folder it is a file of
    precision: str = "fp32"
    whole: bool = False  # its head reads every piece
    tolerance: float | None = None  # of its logits, against the golden ones; None: another model, which has its own
    tokenizer: Path | None = None  # its own, where it is not its bundle's

    def able(self, length: int, given: Queries) -> bool:
        """It can run this length, and there are inputs of it."""
        return length in self.inputs(given) and (length == OWN or self.length in (None, length))

    def inputs(self, given: Queries) -> Queries:
        """Its own; the `given` ones where it has none of its own."""
        return given if self.queries is None else self.queries


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


def unfilled(sequences: Sequence[Features], pad_id: int, length: int | None, count: int = 32) -> list[Arrays]:
    """Up to `count` sequences as they are, (1, pieces); a static model's are padded to its length."""
    return [collate([row], pad_id, length or len(row.input_ids)) for row in sequences[:count]]


def measure(
    contenders: Sequence[Contender],
    arrays_by_length: Queries,
    threads: Sequence[int],
    protocol: Protocol,
    on_progress: Progress | None = None,
    on_failure: Failure | None = None,
    *,
    reference: bool = True,
    between: Callable[[], None] = lambda: None,
) -> dict[str, list[Latency]]:
    """Latencies by contender, for every length it can run and has inputs for, and every number of threads.

    The first contender is the reference of the ratios; `reference=False`: it is not, and none are given.
    `arrays_by_length` gives inputs of shape (1, length). Without `on_failure` the first failure is raised.
    A model that fails keeps what was measured whole. `between` is called after each session, when no model runs.
    """
    if not contenders:
        return {}
    if len({contender.name for contender in contenders}) < len(contenders):
        raise AttarError("two models of a comparison have the same name")
    run = _Run(contenders, arrays_by_length, protocol, on_progress, on_failure)
    plan = [(length, count) for length in sorted(arrays_by_length) for count in threads]
    for session in range(protocol.sessions):
        with ExitStack() as stack:
            run.begin(stack)
            for number, setting in enumerate(plan):
                run.turns(setting, session * len(plan) + number, len(plan) * protocol.sessions)
        between()
    return {c.name: run.latencies(c, plan, contenders[0] if reference else None) for c in contenders}


@dataclass
class _Run:
    """The state of one measurement; `times` holds nanoseconds, a list for each session that came to its end."""

    contenders: Sequence[Contender]
    given: Queries
    protocol: Protocol
    on_progress: Progress | None
    on_failure: Failure | None
    alive: dict[str, tuple[Contender, Worker]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    gone: set[str] = field(default_factory=set)  # models that cannot be loaded
    lost: set[tuple[str, Setting]] = field(default_factory=set)  # settings at which a model failed
    times: dict[tuple[str, Setting], list[list[int]]] = field(default_factory=dict)

    def begin(self, stack: ExitStack) -> None:
        """A fresh process for every model."""
        self.stack, self.alive = stack, {}
        for contender in self.contenders:
            if contender.name not in self.gone:
                self.start(contender)

    def start(self, contender: Contender) -> None:
        """A process for one model, which ends with the session."""
        worker = self.stack.enter_context(Worker(contender.path, contender.runtime, contender.host))
        self.alive[contender.name] = (contender, worker)

    def drop(self, name: str, error: AttarError, setting: Setting, *, loading: bool = False) -> None:
        """Leave a model out at this setting from now on, or everywhere where it cannot be loaded; and say why."""
        if self.on_failure is None:
            raise error
        self.alive.pop(name)
        self.lost.add((name, setting))
        if loading:
            self.gone.add(name)
        at = f"at length {setting[0]}" if setting[0] != OWN else "at the texts' own lengths"
        self.on_failure(AttarError(f"{at}: {error.what}", where=name, fix=error.fix).line())

    def turns(self, setting: Setting, done: int, of: int) -> None:
        """One session at one setting: load, warm up, take turns."""
        length, threads = setting
        for contender in self.contenders:  # one that failed at the setting before begins anew
            if contender.name not in self.alive and contender.name not in self.gone:
                self.start(contender)
        able = [
            name
            for name, (contender, _) in self.alive.items()
            if contender.able(length, self.given) and (name, setting) not in self.lost
        ]
        for name in able:
            contender, worker = self.alive[name]
            try:
                worker.load(threads)
                worker.keep(contender.inputs(self.given)[length])
            except AttarError as error:
                self.drop(name, error, setting, loading=True)
        times: dict[str, list[int]] = {name: [] for name in able}
        rounds, turn, start = self.protocol.warmup + self.protocol.share, 0, time.perf_counter()
        least = self.protocol.seconds / self.protocol.sessions
        while (turn < rounds or time.perf_counter() - start < least) and any(name in self.alive for name in able):
            for name in _rotated([name for name in able if name in self.alive], turn):
                try:
                    times[name].append(self.alive[name][1].time(turn))
                except AttarError as error:
                    self.drop(name, error, setting)
            turn += 1
            if self.on_progress:
                said = "own lengths" if length == OWN else f"length {length}"
                self.on_progress(f"{said}, threads {threads}", done * rounds + min(turn, rounds), of * rounds)
        for name in able:
            if name in self.alive:
                self.times.setdefault((name, setting), []).append(times[name][self.protocol.warmup :])

    def latencies(self, contender: Contender, plan: Sequence[Setting], reference: Contender | None) -> list[Latency]:
        """The settings that were measured in every session."""
        found = []
        for setting in plan:
            mood = self._mood(setting)
            own = self.times.get((contender.name, setting), [])
            theirs = self.times.get((reference.name, setting), []) if reference else []
            if len(own) == self.protocol.sessions:
                pieces = self._pieces(contender, setting[0]) if setting[0] == OWN else None
                theirs = theirs if len(theirs) == len(own) else []
                found.append(_latency(*setting, own, theirs, mood).model_copy(update={"pieces": pieces}))
        return found

    def _mood(self, setting: Setting) -> list[float]:
        """What the models that came to the end have in common in each session."""
        every = [times for (_, at), times in self.times.items() if at == setting]
        whole = [times for times in every if len(times) == self.protocol.sessions]
        return moods([[float(np.median(session)) for session in times] for times in whole]) if whole else []

    def _pieces(self, contender: Contender, length: int) -> float:
        arrays = contender.inputs(self.given)[length]
        return float(np.mean([one["attention_mask"].sum() for one in arrays]))


def _rotated(names: list[str], turn: int) -> list[str]:
    """The order of one round: nobody always runs after the same neighbour's start."""
    shift = turn % len(names) if names else 0
    return names[shift:] + names[:shift]


def _latency(
    length: int,
    threads: int,
    own_ns: Sequence[Sequence[int]],
    reference_ns: Sequence[Sequence[int]],
    mood: Sequence[float],
) -> Latency:
    """Figures of sessions that took the same turns; no reference, no ratio."""
    own = np.concatenate([np.asarray(session, np.float64) for session in own_ns]) / 1e6
    ratios = [float(np.median(np.asarray(r) / np.asarray(o))) for o, r in zip(own_ns, reference_ns, strict=False)]
    p90, p99 = (float(value) for value in np.percentile(own, [90, 99]))
    medians = [float(np.median(session)) / 1e6 for session in own_ns]
    return Latency(
        length=length,
        threads=threads,
        queries=len(own),
        sessions=len(own_ns),
        p50_ms=centre(medians),
        p90_ms=p90,
        p99_ms=p99,
        mean_ms=float(own.mean()),
        min_ms=float(own.min()),
        p50_interval=moody(medians, mood),
        ratio=centre(ratios) if ratios else None,
        ratio_interval=interval(ratios) if ratios else None,
    )

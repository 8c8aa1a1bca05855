"""Bundles side by side: `attar bench`.

- Each bundle's inputs are its own golden examples in its own pieces, filled to the length.
- One artefact of each bundle (its default, in the runtime that `attar predict` takes), or all of them; the first is
  the reference of the ratios.
- A static artefact takes part at its own length alone, and that length is measured where none is asked for. Texts at
  their own lengths are padded to it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AttarError, UsageError
from ..export import bundle as bundles
from ..export import golden
from ..export import manifest as manifests
from ..export.manifest import Artefact, Manifest
from ..export.predict import for_processor, select
from ..export.processors import Processor, kind_here
from ..export.runtimes import Arrays
from ..files import inside, read_document
from ..tasks.encoding import Features
from . import cost, latency, machine, macs, throughput
from . import floor as floors
from .conditions import Conditions, Watch
from .floor import Floor
from .intervals import half_width
from .latency import OWN, Contender, Failure, Progress
from .protocol import Protocol
from .record import Cost, Entry, Latency, Placed, Site, Throughput
from .targets.host import HERE, Host

FORMAT = "attar-comparison/1"
USUAL = (16, 64)
WHOLE = ("tokens", "span")  # heads that read every piece
VAGUE = 0.05  # half of an interval, as a share: a figure that is known worse is told


def contenders(
    folders: Sequence[Path],
    lengths: Sequence[int] | None = None,
    every: bool = False,
    host: Host = HERE,
    kind: Processor | None = None,
    failed: Failure | None = None,
) -> list[Contender]:
    """The artefacts that take part, with their inputs; by default texts at their own lengths, and 16 and 64 pieces.

    `host` runs them, and `kind` is that of its processor, this machine's where not given. A bundle that cannot take
    part is told to `failed`, where that is given, and the others go on; without it, or with nothing left, it is raised.
    """
    taking, problems = list[_Part](), list[AttarError]()
    for folder, label in zip(folders, labels(folders), strict=True):
        try:
            taking.append(_part(folder, label if len(folders) > 1 else "", lengths or (), every, kind or kind_here()))
        except AttarError as error:
            problems.append(error)
    if problems and (failed is None or not taking):
        raise problems[0]
    if not lengths:
        longest = min(part.card.tokenizer.max_length for part in taking)
        static = {one.length for part in taking for _, one in part.artefacts if one.length}
        lengths = [OWN, *sorted({min(length, longest) for length in USUAL} | static)]
    shared = _shared(taking)
    found = [one for part in taking for one in _models(part, lengths, shared, host)]
    if not any(one.able(length, {}) for one in found for length in lengths):
        own = ", ".join(sorted({str(one.length) for one in found}))
        raise UsageError("no model can run these lengths", where="--length", fix=f"known: {own}")
    for problem in problems:
        assert failed is not None
        failed(problem.line())
    return found


@dataclass(frozen=True)
class _Part:
    """A bundle that takes part: its artefacts under the names that they are shown by."""

    folder: Path
    card: Manifest
    artefacts: list[tuple[str, Artefact]]
    texts: list[Features]

    @property
    def shortest(self) -> int | None:
        """The shortest of its static files' lengths."""
        return min((one.length for _, one in self.artefacts if one.length), default=None)


def _part(folder: Path, label: str, lengths: Sequence[int], every: bool, kind: Processor | None) -> _Part:
    """Raises `UsageError` for a bundle that has no latency, or that cannot read what is asked."""
    card = manifests.load(folder)
    if card.task.head == "lm":
        raise UsageError("the latency of a language model is not measured", where=str(folder))
    artefacts = _taking_part(card, every, kind)
    readable = max([card.tokenizer.max_length, *(one.length or 0 for _, one in artefacts)])
    if max(lengths, default=0) > readable:
        fix = f"at most --length {readable}"
        raise UsageError(f"this model reads no {max(lengths)} pieces", where=str(folder), fix=fix)
    named = [(f"{label}/{title}" if label else title, one) for title, one in artefacts]
    return _Part(folder, card, named, sequences(folder))


def _shared(parts: Sequence[_Part]) -> set[int]:
    """The places of the golden texts that every model can read as they are: a round is one text for all."""
    found = set(range(max(len(part.texts) for part in parts)))
    for part in parts:
        found &= {n for n, row in enumerate(part.texts) if len(row.input_ids) <= (part.shortest or len(row.input_ids))}
    return found


def _models(part: _Part, lengths: Sequence[int], shared: set[int], host: Host) -> Iterator[Contender]:
    """The artefacts of a bundle with their inputs."""
    own = [row for place, row in enumerate(part.texts) if place in shared]
    for name, artefact in part.artefacts:
        path = inside(part.folder, artefact.file)
        fitting = [n for n in lengths if n <= (artefact.length or part.card.tokenizer.max_length)]
        given = queries(part.texts, part.card, artefact.length, fitting, own)
        whole = part.card.task.head in WHOLE
        yield Contender(
            name, path, artefact.runtime, artefact.length, given, host, part.folder, artefact.precision, whole,
            artefact.golden_tolerance,
        )  # fmt: skip


def unrun(models: Sequence[Contender], lengths: Sequence[int] | None) -> list[str]:
    """A line for each static file that has another length than those that were asked for, and so no row."""
    return [
        f"{model.name} reads {model.length} pieces and is not run at {', '.join(map(str, sorted(lengths)))}"
        for model in models
        if lengths and not any(model.able(length, {}) for length in lengths)
    ]


def sequences(folder: Path) -> list[Features]:
    """The golden texts of a bundle in its own pieces."""
    card = manifests.load(folder)
    return [row.features for one in golden.read(inside(folder, card.golden), golden.Golden) for row in one.sequences]


def queries(
    texts: Sequence[Features],
    card: Manifest,
    static: int | None,
    lengths: Sequence[int],
    own: Sequence[Features] | None = None,
) -> dict[int, list[Arrays]]:
    """The inputs by length, of those that have any; `static` is the only length that the model can run.

    `own` are the texts that are read at their own lengths, where those are not all that the model can read.
    """
    pad_id = card.tokenizer.pad_id
    found = {
        length: latency.unfilled(_fitting(texts, static) if own is None else own, pad_id, static)
        if length == OWN
        else latency.fill(texts, pad_id, length)
        for length in lengths
    }
    return {length: arrays for length, arrays in found.items() if arrays}


def _fitting(texts: Sequence[Features], length: int | None) -> list[Features]:
    """The texts that a static file can read."""
    return [row for row in texts if length is None or len(row.input_ids) <= length]


def waiting(folders: Sequence[Path], models: Sequence[Contender]) -> list[throughput.Queue]:
    """The same models with all golden texts of their bundles, for `attar bench --offline`."""
    found = []
    for folder in folders:
        texts, pad_id = sequences(folder), manifests.load(folder).tokenizer.pad_id
        for model in models:
            if model.bundle == folder:
                fitting = _fitting(texts, model.length)
                found.append(throughput.Queue(model.name, model.path, model.runtime, fitting, pad_id, model.length))
    return found


def _taking_part(card: Manifest, every: bool, kind: Processor | None) -> list[tuple[str, Artefact]]:
    """Artefacts with names that differ."""
    if every:
        return list(zip(bundles.titles(card.artefacts), card.artefacts, strict=True))
    artefact = select(card, for_processor(card, kind))
    return [(artefact.file, artefact)]


@dataclass(frozen=True)
class Comparison:
    """What was measured, and how quiet the machine was."""

    protocol: Protocol
    costs: dict[str, Cost]
    conditions: Conditions
    problems: list[str] = field(default_factory=list)  # models that failed, one line each
    floor: Floor | None = None

    def warnings(self) -> list[str]:
        """Why figures should be doubted; nothing for a quiet run."""
        return [*self.conditions.problems(), *self.vague()]

    def vague(self) -> list[str]:
        """The figures that are not known well."""
        found = []
        for name, one in rows(self.costs):
            worst = max(half_width(one.p50_interval), half_width(one.ratio_interval))
            if worst > VAGUE:
                threads = f"{one.threads} thread{'s' if one.threads > 1 else ''}"
                place = f"{lengthwise(one)}, {threads}"
                found.append(f"{name} ({place}): its time is known to ±{worst:.0%} alone; sessions differ")
        return found


def compare(
    models: Sequence[Contender],
    threads: Sequence[int],
    protocol: Protocol,
    on_progress: Progress = lambda what, done, of: None,
    on_failure: Failure | None = None,
    *,
    queues: Sequence[throughput.Queue] = (),
    with_floor: bool = False,
) -> Comparison:
    """Latencies and costs by model, timed in turns; with `on_failure` a model that fails is left out.

    `queues` are models whose throughput is measured too; `with_floor` measures what the machine could do at best.
    """
    problems: list[str] = []

    def failed(line: str) -> None:
        if on_failure is None:
            raise AttarError(line)
        problems.append(line)
        on_failure(line)

    watch = Watch()
    lengths = {length: arrays for model in models for length, arrays in (model.queries or {}).items()}
    times = latency.measure(models, lengths, threads, protocol, on_progress, failed, between=watch.look)
    rates: dict[str, list[Throughput]] = {}
    peak = None
    try:  # what was timed is not lost
        if queues:
            rates = throughput.measure(queues, threads, protocol.seconds, on_progress, failed)
        if with_floor:
            peak = floors.measure(threads)
    except AttarError as error:
        failed(error.line())
    found: dict[str, Cost] = {}
    for number, model in enumerate(models, 1):
        if peak and times[model.name]:
            read = macs.weights(model.path)
            times[model.name] = [_beside(peak, model, one, read) for one in times[model.name]]
        if times[model.name] and model.queries:
            on_progress("loading and memory", number, len(models))
            found[model.name] = _cost(model, times[model.name], rates.get(model.name, []), failed)
    return Comparison(protocol, found, watch.conditions(), problems, peak)


def _beside(peak: Floor, model: Contender, one: Latency, read: int) -> Latency:
    """A latency with its floor; `read` bytes of weights belong to the model's products."""
    length = model.length or one.length or round(one.pieces or 0)
    work = sum(macs.count(model.path, length, whole=model.whole).values())
    least = peak.least_ms(work, model.precision, one.threads, read)
    return one.model_copy(update={"macs": work, "weights": read, "floor_ms": least})


def _cost(model: Contender, times: list[Latency], rates: list[Throughput], failed: Failure) -> Cost:
    """Load time and memory beside what was timed, at the shortest length."""
    assert model.queries is not None
    try:
        shortest = model.queries[min(one.length for one in times)][0]
        once = cost.measure(model.path, model.runtime, shortest, host=model.host)
    except AttarError as error:
        failed(AttarError(error.what, where=model.name, fix=error.fix).line())
        once = Cost()
    return once.model_copy(update={"latencies": times, "throughputs": rates})


def document(models: Sequence[Contender], found: Comparison) -> dict[str, Any]:
    """Everything as plain JSON values."""
    return {
        "format": FORMAT,
        "machine": machine.describe(),
        "protocol": asdict(found.protocol) | {"quick": found.protocol.quick},
        "conditions": found.conditions.model_dump(),
        "floor": found.floor.model_dump() if found.floor else None,
        "warnings": found.warnings(),
        "problems": found.problems,
        "reference": models[0].name,
        "models": [
            {"name": m.name, "runtime": m.runtime, "length": m.length}
            | {"bytes": m.path.stat().st_size, "gzipped": gzipped(m.path)}
            | found.costs[m.name].model_dump()
            for m in models
            if m.name in found.costs
        ],
    }


def placed(models: Sequence[Contender], found: Comparison) -> Site:
    """The same in the form of a target."""
    return _Document.model_validate(document(models, found)).site()


def site(path: Path) -> Site:
    """A saved document in the form of a target, for a report."""
    return read_document(_Document, path, "comparison of models").site()


class _Timed(Cost):
    """A model of a document, which holds its cost beside its name."""

    name: str
    runtime: str
    length: int | None = None
    bytes: int
    gzipped: int | None = None


class _Document(Entry):
    """What `document` makes."""

    machine: dict[str, Any]
    protocol: dict[str, Any]
    conditions: dict[str, Any]
    floor: dict[str, Any] | None = None
    warnings: list[str]
    problems: list[str]
    reference: str
    models: list[_Timed]

    def site(self) -> Site:
        models = [
            Placed(**vars(one), cost=Cost(**one.model_dump(include=set(Cost.model_fields)))) for one in self.models
        ]
        words = self.model_dump(exclude={"models", "floor"})
        return Site(target="local", measures="time", models=models, floor=self.floor or {}, **words)


def gzipped(path: Path) -> int:
    """Bytes of a file on its way to a phone: deflate, level 6."""
    packer, size = zlib.compressobj(6), 0
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            size += len(packer.compress(block))
    return size + len(packer.flush())


def lengthwise(one: Latency) -> str:
    """`64 pieces`, or the mean of the texts' own lengths."""
    return f"{one.length} pieces" if one.length != OWN else f"own lengths, {one.pieces or 0:.3g} pieces"


def rows(found: dict[str, Cost]) -> list[tuple[str, Latency]]:
    """One row for each measurement, those that can be compared beside each other."""
    every = [(name, latency) for name, cost in found.items() for latency in cost.latencies]
    return sorted(every, key=lambda row: (row[1].length, row[1].threads))


def labels(folders: Sequence[Path]) -> list[str]:
    """Short names that tell folders apart: `runs/a/bundle` and `runs/b/bundle` become `a` and `b`."""
    parts = [[part for part in folder.resolve().parts if part != "bundle"] for folder in folders]
    for depth in range(1, max(len(names) for names in parts) + 1):
        labels = ["/".join(names[-depth:]) for names in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise UsageError("a folder is named twice", where="attar bench")

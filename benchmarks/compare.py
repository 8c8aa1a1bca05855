"""Bundles side by side: `attar bench`.

- Each bundle's inputs are its own golden examples in its own pieces, filled to the length.
- One artefact of each bundle (its default, in the runtime that `attar predict` takes), or all of them; the first is
  the reference of the ratios.
- A static artefact takes part at its own length alone, and that length is measured where none is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import AttarError, UsageError
from ..export import bundle as bundles
from ..export import golden
from ..export import manifest as manifests
from ..export.manifest import Artefact, Manifest
from ..export.predict import select
from ..files import inside
from . import cost, latency, machine
from .latency import Contender, Failure, Progress
from .record import Cost, Latency

USUAL = (16, 64)


def contenders(folders: Sequence[Path], lengths: Sequence[int] | None = None, every: bool = False) -> list[Contender]:
    """The artefacts that take part, with their inputs; by default at 16 and 64 pieces, if they read so many."""
    cards = [manifests.load(folder) for folder in folders]
    if language := next((folder for folder, card in zip(folders, cards, strict=True) if card.task.head == "lm"), None):
        raise UsageError("the latency of a language model is not measured", where=str(language))
    parts = [_taking_part(card, every) for card in cards]
    asked = bool(lengths)
    if not lengths:
        longest = min(card.tokenizer.max_length for card in cards)
        static = {one.length for part in parts for _, one in part if one.length}
        lengths = sorted({min(length, longest) for length in USUAL} | static)
    found: list[Contender] = []
    for folder, label, card, part in zip(folders, _labels(folders), cards, parts, strict=True):
        readable = max([card.tokenizer.max_length, *(one.length or 0 for _, one in part)])
        if asked and max(lengths) > readable:
            fix = f"at most --length {readable}"
            raise UsageError(f"this model reads no {max(lengths)} pieces", where=str(folder), fix=fix)
        examples = golden.read(inside(folder, card.golden), golden.Golden)
        sequences = [row.features for one in examples for row in one.sequences]
        queries = {length: latency.fill(sequences, card.tokenizer.pad_id, length) for length in lengths}
        for title, artefact in part:
            path = inside(folder, artefact.file)
            name = f"{label}/{title}" if len(folders) > 1 else title
            fitting = {n: queries[n] for n in lengths if n <= (artefact.length or card.tokenizer.max_length)}
            found.append(Contender(name, path, artefact.runtime, artefact.length, fitting))
    if not any(one.length in (None, *lengths) for one in found):
        own = ", ".join(sorted({str(one.length) for one in found}))
        raise UsageError("no model can run these lengths", where="--length", fix=f"known: {own}")
    return found


def _taking_part(card: Manifest, every: bool) -> list[tuple[str, Artefact]]:
    """Artefacts with names that differ."""
    if every:
        return list(zip(bundles.titles(card.artefacts), card.artefacts, strict=True))
    artefact = select(card)
    return [(artefact.file, artefact)]


def compare(
    models: Sequence[Contender],
    threads: Sequence[int],
    warmup: int,
    queries: int,
    on_progress: Progress | None = None,
    on_failure: Failure | None = None,
) -> dict[str, Cost]:
    """Latencies and costs by model, timed in turns; with `on_failure` a model that fails is left out."""
    lengths = {length: arrays for model in models for length, arrays in (model.queries or {}).items()}
    times = latency.measure(models, lengths, threads, warmup, queries, on_progress, on_failure)
    found: dict[str, Cost] = {}
    for number, model in enumerate(models, 1):
        if times[model.name] and model.queries:
            if on_progress:
                on_progress("loading and memory", number, len(models))
            shortest = min(one.length for one in times[model.name])
            try:
                once = cost.measure(model.path, model.runtime, model.queries[shortest][0])
            except AttarError as error:
                if on_failure is None:
                    raise
                on_failure(AttarError(error.what, where=model.name, fix=error.fix).line())
                once = Cost()
            found[model.name] = once.model_copy(update={"latencies": times[model.name]})
    return found


def document(models: Sequence[Contender], found: dict[str, Cost]) -> dict[str, Any]:
    """Everything as plain JSON values."""
    return {
        "machine": machine.describe(),
        "reference": models[0].name,
        "models": [
            {"name": m.name, "runtime": m.runtime, "length": m.length, "bytes": m.path.stat().st_size}
            | found[m.name].model_dump()
            for m in models
            if m.name in found
        ],
    }


def rows(found: dict[str, Cost]) -> list[tuple[str, Latency]]:
    """One row for each measurement, those that can be compared beside each other."""
    every = [(name, latency) for name, cost in found.items() for latency in cost.latencies]
    return sorted(every, key=lambda row: (row[1].length, row[1].threads))


def _labels(folders: Sequence[Path]) -> list[str]:
    """Short names that tell the bundles apart: `runs/a/bundle` and `runs/b/bundle` become `a` and `b`."""
    parts = [[part for part in folder.resolve().parts if part != "bundle"] for folder in folders]
    for depth in range(1, max(len(names) for names in parts) + 1):
        labels = ["/".join(names[-depth:]) for names in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise UsageError("a bundle is named twice", where="attar bench")

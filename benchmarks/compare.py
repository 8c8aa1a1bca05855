"""Bundles side by side: `attar bench`.

- Each bundle's inputs are its own golden texts in its own tokenizer, filled to the length.
- One artefact of each bundle (its default), or all of them; the first is the reference of the ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..export import bundle as bundles
from ..export import manifest as manifests
from ..files import inside
from ..tasks.encoding import Encoder
from . import cost, latency, machine
from .latency import Contender, Failure, Progress
from .record import Cost, Latency

USUAL = (16, 64)


def contenders(folders: Sequence[Path], lengths: Sequence[int] | None = None, every: bool = False) -> list[Contender]:
    """The artefacts that take part, with their inputs; by default at 16 and 64 pieces, if they read so many."""
    if not lengths:
        longest = min(manifests.load(folder).tokenizer.max_length for folder in folders)
        lengths = sorted({min(length, longest) for length in USUAL})
    found: list[Contender] = []
    labels = _labels(folders)
    for folder, label in zip(folders, labels, strict=True):
        manifest = manifests.load(folder)
        tokenizer = manifest.tokenizer
        if (longest := max(lengths)) > tokenizer.max_length:
            fix = f"at most --length {tokenizer.max_length}"
            raise UsageError(f"this model reads no {longest} pieces", where=str(folder), fix=fix)
        pairs = [(one.text, one.text_pair) for one in bundles.golden_examples(folder, manifest)]
        file = inside(folder, tokenizer.file)
        queries = {length: latency.fill(Encoder(file, length), pairs, length) for length in lengths}
        for artefact in manifest.artefacts:
            if every or artefact.file == manifest.default:
                path = inside(folder, artefact.file)
                name = f"{label}/{artefact.file}" if len(folders) > 1 else artefact.file
                found.append(Contender(name, path, artefact.runtime, artefact.length, queries))
    if not any(one.length in (None, *lengths) for one in found):
        own = ", ".join(sorted({str(one.length) for one in found}))
        raise UsageError("no model can run these lengths", where="--length", fix=f"known: {own}")
    return found


def compare(
    models: Sequence[Contender],
    threads: Sequence[int],
    warmup: int,
    queries: int,
    on_progress: Progress | None = None,
    on_failure: Failure | None = None,
) -> dict[str, Cost]:
    """Latencies and costs by model, timed in turns; with `on_failure` a model that fails is left out."""
    lengths = models[0].queries or {}
    times = latency.measure(models, lengths, threads, warmup, queries, on_progress, on_failure)
    found: dict[str, Cost] = {}
    for number, model in enumerate(models, 1):
        if times[model.name] and model.queries:
            if on_progress:
                on_progress("loading and memory", number, len(models))
            length = model.length or min(model.queries)
            if inputs := model.queries.get(length):
                once = cost.measure(model.path, model.runtime, inputs[0])
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

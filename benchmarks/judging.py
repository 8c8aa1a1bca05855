"""Which artefact is chosen, which limits it meets, and what would meet those that it misses.

- The choice is the smallest file among the student's artefacts that passed and meet every limit; where none meets them,
  the one that misses least, by `excess`. A run always ends with a choice if anything passed.
- An artefact that cuts texts is never chosen: it is judged on the short rows alone. Of two that differ only in the
  processors they are made for, the one that is right on all of them stands for both.
- Latency is judged at the smallest number of threads and the longest length that were measured, a static artefact's at
  its own length. A model that failed there misses the limit, however quick it was at a shorter length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..recipe import Budget, Search
from .record import Limit, Model, Run
from .verdict import LIMIT_NAMES, amount, enough

MANY = 0.3  # of a file's bytes: so much is worth a step of its own
CURES = {
    "max_size": "take a narrower student, fewer bits, or a step of `compress`",
    "max_latency": "take a student of fewer layers, or a narrower one",
    "max_memory": "take a narrower student",
    "max_drop": "train longer, or take a larger student",
}


def limits(budget: Budget, model: Model, table: Sequence[Model], metric: str) -> list[Limit]:
    """The stated limits, judged for one artefact; the teacher is the first row of the table."""
    drop = _points(table[0].scores["dev"][metric], model.scores.get("dev", {}).get(metric))
    values = {
        "max_size": model.bytes,
        "max_latency": latency(model, table),
        "max_memory": model.cost.peak_memory,
        "max_drop": drop,
    }
    found = []
    for name, value in values.items():
        limit = getattr(budget, name)
        if limit is not None:
            met = value is not None and value <= limit + 1e-9
            margin = None if value is None else limit - value
            found.append(Limit(name=name, limit=limit, value=value, met=met, margin=margin))
    return found


def _points(teacher: float, own: float | None) -> float | None:
    return None if own is None else 100 * (teacher - own)


def latency(model: Model, table: Sequence[Model]) -> float | None:
    """p50 in milliseconds at the fewest threads and the longest length, or the model's own; None where it failed."""
    measured = [one for row in table for one in row.cost.latencies]
    if not measured:
        return None
    length = model.length or max(one.length for one in measured)
    threads = min(one.threads for one in measured)
    found = (one.p50_ms for one in model.cost.latencies if (one.length, one.threads) == (length, threads))
    return next(found, None)


def choose(budget: Budget, table: Sequence[Model], metric: str, max_length: int) -> Model | None:
    """The artefact that the verdict is about; it reads at least `max_length` pieces."""
    passed = [
        model
        for model in table
        if model.role == "artefact"
        and model.of == "student"
        and model.status == "ok"
        and (model.length is None or model.length >= max_length)
    ]

    def form(model: Model) -> tuple[Any, ...]:
        return model.runtime, model.precision, model.length, Path(str(model.file)).suffix

    everywhere = {form(model) for model in passed if model.processor != "dot-product"}
    passed = [model for model in passed if model.processor != "dot-product" or form(model) not in everywhere]

    def rank(model: Model) -> tuple[float, int]:
        return excess(budget, model, table, metric), model.bytes or 0

    return min(passed, key=rank, default=None)


def excess(budget: Budget, model: Model, table: Sequence[Model], metric: str) -> float:
    """By which factor the worst limit is missed: 0 where all are met, infinite where one was not measured.

    A cost's factor is its value over the limit; a drop's is the errors over those that the limit allows, so that points
    and bytes can be weighed against each other: 11 % of errors for 10 % are as bad as 11 MB for 10.
    """
    teacher = table[0].scores["dev"][metric]
    missed = [one for one in limits(budget, model, table, metric) if not one.met]
    return max((_factor(one, 100 * (1 - teacher) if one.name == "max_drop" else 0.0) for one in missed), default=0.0)


def _factor(limit: Limit, base: float) -> float:
    """What a limit is missed by; `base` is what both its value and itself are counted from."""
    allowed = base + limit.limit
    return math.inf if limit.value is None or allowed <= 0 else (base + limit.value) / allowed


def advice(found: Run) -> list[str]:
    """What would meet the limits that a run missed: a file of its own, more of what is limited, or other students."""
    missed = [limit for limit in found.limits if not limit.met]
    said = [line for limit in missed for line in _nearest(found, limit)]
    if any(limit.name == "max_size" for limit in missed):
        said += _words(found)
    if missed and found.recipe["student"]["kind"] != "distilgpt":  # the students of a search's own space are encoders
        trials = Search.model_fields["trials"].default
        said.append(f"--trials {trials} looks for a student within the limits")
    return said


def _nearest(found: Run, limit: Limit) -> Iterator[str]:
    """The smallest of the run's other files that meets a limit which its choice missed, and what that one misses.

    Where none does, the least that the limit had to be, and what brings a student down to it.
    """
    budget, name = Budget.model_validate(found.recipe["budget"]), LIMIT_NAMES[limit.name]
    longest, known = found.recipe["task"]["max_length"], []
    for model in sorted(found.models, key=lambda one: one.bytes or 0):
        whole = model.length is None or model.length >= longest
        if (model.role, model.of, model.status, whole) != ("artefact", "student", "ok", True):
            continue
        own = limits(budget, model, found.models, found.task["metric"])
        here = next((one for one in own if one.name == limit.name), None)
        if here is None or here.value is None:
            continue
        if here.met:
            others = " and ".join(over(one) for one in own if not one.met)
            yield f"{name}: {model.name} has {amount(here, here.value)}" + (f", but misses {others}" if others else "")
            return
        known.append((here.value, here, model.name))
    if known:
        value, here, file = min(known, key=lambda one: one[0])
        yield f"{name}: allow {enough(here, value)}, the least of this run's files ({file}), or {CURES[limit.name]}"


def _words(found: Run) -> Iterator[str]:
    """How much of the chosen file is the vocabulary's, where it was not trimmed."""
    parts = {share.part: share.bytes for share in found.shares.get(found.choice or "", [])}
    share = parts.get("embeddings", 0) / (sum(parts.values()) or 1)
    if share >= MANY and not any(step.get("trim") for step in found.recipe.get("compress", [])):
        yield f"size: {100 * share:.0f} % of {found.choice} are embeddings; a step `trim` keeps what your texts need"


def over(limit: Limit) -> str:
    """A limit of cost that was missed: `size 4.1 MB of 3 MB`."""
    if limit.value is None:
        return f"{LIMIT_NAMES[limit.name]} was not measured"
    return f"{LIMIT_NAMES[limit.name]} {amount(limit, limit.value)} of {amount(limit, limit.limit)}"

"""What a run came to, in words: the headline, the budget, what is sure and what is missing."""

from __future__ import annotations

import math
from typing import NamedTuple

from .derived import (
    chosen,
    digits,
    drop,
    interval,
    latency_at,
    megabytes,
    metric_of,
    points,
    row_of,
    score,
    setting_of,
    smaller,
    speed,
    split_of,
    times,
)
from .record import Limit, Model, Run

LIMIT_NAMES = {"max_size": "size", "max_latency": "latency", "max_memory": "memory", "max_drop": "drop"}


class Verdict(NamedTuple):
    """The headline: what came out, whether the budget was met, how sure one can be, what is missing."""

    sentence: str
    budget: str
    met: bool | None  # None: no budget, or a limit that could not be judged
    certainty: str
    gaps: list[str]


def headline(run: Run) -> Verdict:
    """The run in words."""
    met = _met(run.limits)
    model = chosen(run)
    if model is None:
        return Verdict(_no_choice(run), _budget(run.limits), met, "", [])
    gaps: list[str] = []
    text = (
        f"The {megabytes(model.bytes)} {model.precision} student" if model.bytes else f"The {model.precision} student"
    )
    ratios = [times(ratio, "smaller", "larger", "as large as the teacher")] if (ratio := smaller(run, model)) else []
    if not model.bytes:
        gaps.append("Its size was not measured.")
    setting = setting_of(run)
    if latency_at(model, setting) is None and model.cost.latencies:
        setting = max(((x.length, x.threads) for x in model.cost.latencies), key=lambda pair: (-pair[1], pair[0]))
    clauses = []
    if time := latency_at(model, setting):
        threads = "one thread" if time.threads == 1 else f"{time.threads} threads"
        clauses.append(f"answers in {digits(time.p50_ms)} ms ({threads}, length {time.length})")
        fast = speed(run, model, setting)
        ratios += [times(fast[0], "faster", "slower", "as fast as the teacher")] if fast else []
        gaps += [] if fast else ["There is no teacher time to compare its latency with."]
    else:
        gaps.append("Its latency was not measured.")
    certainty = ""
    if said := _score(run, model):
        clauses.append(said[0])
        certainty = said[1]
    else:
        gaps.append("It was not scored in its runtime.")
    if model.golden_error is None:
        gaps.append("It was not compared with the PyTorch student on golden examples.")
    if model.cost.peak_memory is None:
        gaps.append("Its peak memory was not measured.")
    text += " " + " and ".join(clauses) if clauses else " was made but not measured"
    text += f"; it is {' and '.join(ratios)}" if ratios else ""
    return Verdict(text + ".", _budget(run.limits), met, certainty, gaps)


def _met(limits: list[Limit]) -> bool | None:
    """False if a measured limit was missed; None if there is none or one could not be measured."""
    measured = [limit for limit in limits if limit.value is not None]
    if any(not limit.met for limit in measured):
        return False
    return True if limits and len(measured) == len(limits) else None


def _score(run: Run, model: Model) -> tuple[str, str] | None:
    """`scores 89.2 …, 1.3 points under its teacher (90.5)`, and what so many rows can tell."""
    split, metric = split_of(run), metric_of(run)
    value, theirs, less = (
        score(model, split, metric),
        score(row_of(run, "teacher"), split, metric),
        drop(run, model, split),
    )
    if value is None:
        return None
    rows = model.rows.get(split)
    text = f"scores {value * 100:.1f} ({split} {metric}{f', {rows:,} rows' if rows else ''})"
    if model.role == "teacher":
        return text, ""
    if less is None or theirs is None:
        return f"{text}; the teacher was not scored", ""
    side = "level with" if abs(less) < 0.005 else f"{points(abs(less))} points {'under' if less > 0 else 'over'}"
    text += f", {side} its teacher ({theirs * 100:.1f})"
    band = interval(model, split, metric)
    if band is None:
        return text, ""
    low, high = band
    place = "inside" if low <= theirs <= high else "outside"
    return text, (
        f"With {rows:,} rows its 95 % interval runs from {low * 100:.1f} to {high * 100:.1f}; "
        f"the teacher's {theirs * 100:.1f} lies {place} it."
    )


def _no_choice(run: Run) -> str:
    """What to say of a run that chose no artefact."""
    made = [model for model in run.models if model.role == "artefact" and model.of == "student"]
    bad = [model.name for model in made if model.status == "rejected"]
    if not made:
        trained = row_of(run, "student") or row_of(run, "teacher")
        said = _score(run, trained) if trained else None
        return f"No artefact was made; the {trained.role} {said[0]}." if trained and said else "No artefact was made."
    if len(bad) == len(made):
        return f"None of the {len(made)} artefacts passed: every one was rejected."
    why = ", none meets the budget" if run.limits else ""
    return f"No artefact was chosen: {len(made) - len(bad)} of {len(made)} passed their checks{why}."


def amount(limit: Limit, value: float) -> str:
    """A limit's value with its unit."""
    if limit.name in ("max_size", "max_memory"):
        return megabytes(value)
    return f"{digits(value)} ms" if limit.name == "max_latency" else f"{points(value)} points"


def enough(limit: Limit, value: float) -> str:
    """A limit that a value would meet, with its unit: rounded up where `amount` rounds to the nearest."""
    unit = 1e6 if limit.name in ("max_size", "max_memory") else 1.0
    shown = value / unit
    if limit.name == "max_drop":
        step = 0.1 if shown >= 0.1 else 0.01
    elif shown >= 0.1:
        step = 0.01 if shown < 10 else 0.1 if shown < 100 else 1.0
    else:
        step = 10.0 ** (math.floor(math.log10(shown)) - 1) if shown > 0 else 1.0
    return amount(limit, unit * step * math.ceil(shown / step - 1e-9))


def judged(limit: Limit) -> str:
    """One limit in words."""
    name, bound = LIMIT_NAMES[limit.name], amount(limit, limit.limit)
    if limit.value is None:
        return f"{name} was not measured (limit {bound})"
    gap = amount(limit, abs(limit.limit - limit.value))
    outcome = f"{gap} to spare" if limit.met else f"missed by {gap}"
    return f"{name} {amount(limit, limit.value)}, limit {bound}, {outcome}"


def _budget(limits: list[Limit]) -> str:
    """The budget in words, what was missed first."""
    if not limits:
        return "No budget was set."
    ordered = sorted(limits, key=lambda limit: limit.met)
    missed = sum(not limit.met and limit.value is not None for limit in limits)
    unknown = sum(limit.value is None for limit in limits)
    opening = "Budget missed" if missed else "Budget not fully judged" if unknown else "Budget met"
    return f"{opening}: {'; '.join(judged(limit) for limit in ordered)}."

"""What a search tried: the table of its trials, and the front, the files that no other beats in all that counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .cells import DASH, Cell, Row, Table, figure, source
from .derived import digits, metric_of
from .judging import latency
from .record import Model, Run, Trial

STATUS = {"trained": "", "stopped": "stopped", "over": "too costly", "impossible": "cannot be"}


def front(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """The trials whose file no other is at least as good as in bytes, latency and score."""
    found = [(trial, cost) for trial in trials if (cost := costs(trial, metric))]
    return [
        trial
        for trial, own in found
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for _, other in found)
    ]


def costs(trial: Trial, metric: str) -> tuple[float, ...] | None:
    """Bytes, milliseconds and what is lacking in score, each the less the better; None where it was not trained."""
    file = file_of(trial)
    if file is None or metric not in file.scores.get("dev", {}):
        return None
    return float(file.bytes or 0), latency(file, [file]) or math.inf, -file.scores["dev"][metric]


def file_of(trial: Trial) -> Model | None:
    """The file that a trial is judged by."""
    return next((one for one in trial.models if one.name == trial.best), None)


def described(trial: Trial) -> str:
    """What was chosen."""
    return "; ".join(f"{name}: {value}" for name, value in trial.changes.items())


def line(trial: Trial, trials: Sequence[Trial], metric: str) -> str:
    """A trial in a line for who watches, with the size of the front so far."""
    file, head = file_of(trial), f"trial {trial.number}: {described(trial)}"
    if file is None:
        return f"{head}: {STATUS[trial.status]}, {trial.reason}"
    bytes_, ms, lack = costs(trial, metric) or (0.0, 0.0, 0.0)
    found = front(trials, metric)
    place = "on the front" if trial.number in [one.number for one in found] else "behind the front"
    return f"{head}: {digits(bytes_ / 1e6)} MB, {milliseconds(ms)}, dev {-100 * lack:.2f}, {place} of {len(found)}"


def milliseconds(ms: float) -> str:
    """A latency, which may not have been measured."""
    return f"{digits(ms)} ms" if math.isfinite(ms) else "not timed"


def table(run: Run) -> Table:
    """Every trial, those on the front first, by their bytes; none where nothing was searched."""
    if run.search is None:
        return Table("search", "Students tried", "", [], [])
    metric = metric_of(run)
    best = {one.number for one in front(run.search.trials, metric)}
    order = sorted(
        enumerate(run.search.trials),
        key=lambda pair: (pair[1].number not in best, pair[1].status != "trained", _bytes(pair[1])),
    )
    rows = []
    for place, trial in order:
        path, file = f"search.trials[{place}]", file_of(trial)
        mark = "this run" if trial.number == run.search.winner else "front" if trial.number in best else ""
        cells = [
            Cell(f"{trial.number}", mark, source(f"{path}.number", trial.number)),
            Cell(described(trial), "", source(f"{path}.changes", trial.changes), "text"),
        ]
        if file:
            at = f"{path}.models[{trial.models.index(file)}]"
            cells += [
                Cell(file.name, "", source(f"{path}.best", file.name), "text"),
                figure(f"{at}.bytes", file.bytes, lambda count: digits(count / 1e6)),
                figure(f"{at}.{_timed(file)}", latency(file, [file]), digits),
                figure(f"{at}.scores.dev.{metric}", file.scores["dev"][metric], lambda value: f"{100 * value:.2f}"),
            ]
        else:
            why = f"{STATUS[trial.status]}: {trial.reason}"
            cells += [Cell(why, "", source(f"{path}.reason", trial.reason), "text"), *[Cell(DASH)] * 3]
        cells.append(figure(f"{path}.seconds", trial.seconds, digits))
        rows.append(Row(cells))
    columns = [("", "trial", ""), ("", "student", ""), ("", "file", ""), ("bytes", "MB", ""), ("p50", "ms", "")]
    columns += [("dev", metric, ""), ("time", "s", "")]
    caption = (
        f"{len(run.search.trials)} trials; {run.search.ended}. Costs are of the untrained student's file, scores of a "
        "short distillation; on the front is what no other trial beats in bytes, milliseconds and score at once."
    )
    return Table("search", "Students tried", caption, columns, rows)


def _timed(file: Model) -> str:
    """The path of a file's `latency`, below the file."""
    p50 = latency(file, [file])
    number = next((n for n, one in enumerate(file.cost.latencies) if one.p50_ms == p50), None)
    return "cost.latencies" if number is None else f"cost.latencies[{number}].p50_ms"


def _bytes(trial: Trial) -> float:
    file = file_of(trial)
    return float(file.bytes or 0) if file else min((float(one.bytes or 0) for one in trial.models), default=0.0)

"""Searches of one task under the same limits, side by side: what each tried, what it cost, and what it found.

- A grid is a search too: of a space so small that all of it is tried.
- The shared front is that of all their trials: what no trial of any of them beats in bytes, milliseconds and score.
- They are compared at the same cost too: by what each had found when the shortest of them ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

from . import front
from .cells import DASH, Cell, Row, Table
from .derived import chosen, digits, kept, latency_at, metric_of, score, setting_of, split_of
from .record import Run, Search, Trial


def rivals(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs with searches that can be compared: of the same rows, under the same budget; two or more each."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.search:
            groups[repr([run.provenance.get("data"), run.recipe.get("budget")])].append(run)
    return [group for group in groups.values() if group[1:]]


def table(runs: Sequence[Run]) -> Table:
    """A row for each of the rivals."""
    metric = metric_of(runs[0])
    whole = [_search(run).trials for run in runs]
    even = min(_ends(trials)[-1] for trials in whole)
    early = [_within(trials, even) for trials in whole]
    in_all, in_early = _shared(whole, metric), _shared(early, metric)
    started = f"its first {digits(even / 60)} minutes"
    columns = [("", "run", ""), ("students", "tried", ""), ("students", "distilled", ""), ("", "trials", "minutes")]
    columns += [
        ("", "on the shared front", f"of {len(in_all)}"),
        (started, "on the shared front", f"of {len(in_early)}"),
    ]
    columns += [(started, f"best {metric}", "dev, in short"), ("its best, in full", "file", "MB")]
    columns += [("its best, in full", "p50", "ms"), ("its best, in full", metric, split_of(runs[0])), ("", "kept", "%")]
    rows = [
        Row([*_trials(run, in_all), *_early(trials, in_early, metric), *_winner(run)])
        for run, trials in zip(runs, early, strict=True)
    ]
    caption = (
        "Milliseconds are on one thread at the longest length. On the shared front is what no trial of these runs "
        "beats in bytes, milliseconds and score at once; the best is trained in full. Its first minutes are the time "
        "that the shortest of these runs took: what each had found at the same cost."
    )
    return Table("searches", "", caption, columns, rows)


def told(runs: Sequence[Run]) -> str:
    """Which of the rivals is ahead at the same cost, and whose best is, trained in full."""
    metric = metric_of(runs[0])
    even = min(_ends(_search(run).trials)[-1] for run in runs)
    early = {run.name: _within(_search(run).trials, even) for run in runs}
    shared = _shared(list(early.values()), metric)
    counts = {name: sum(id(one) in shared for one in trials) for name, trials in early.items()}
    ahead = max(counts, key=lambda name: counts[name])
    others = ", ".join(f"{name} {count}" for name, count in counts.items() if name != ahead)
    said = f"At the same cost, {digits(even / 60)} minutes, **{ahead}** is ahead: {counts[ahead]} of the {len(shared)} "
    said += f"files on the shared front are its own ({others})."
    full = {run.name: value for run in runs if (value := score(chosen(run), split_of(run), metric)) is not None}
    if full:
        best = max(full, key=lambda name: full[name])
        said += f" Trained in full, the best scores are {', '.join(f'{100 * v:.1f} ({n})' for n, v in full.items())}"
        said += f": {best}'s is the highest."
    return said


def _ends(trials: Sequence[Trial]) -> list[float]:
    """Seconds after which each had ended, in the order in which they were made; 0 comes first."""
    return list(accumulate((one.seconds for one in trials), initial=0.0))


def _within(trials: Sequence[Trial], seconds: float) -> list[Trial]:
    """Those that had ended after so long."""
    return [one for one, end in zip(trials, _ends(trials)[1:], strict=True) if end <= seconds]


def _shared(runs: Sequence[Sequence[Trial]], metric: str) -> set[int]:
    """The front of all, by identity: trials of several runs have the same numbers."""
    return {id(one) for one in front.front([one for trials in runs for one in trials], metric)}


def _search(run: Run) -> Search:
    assert run.search is not None
    return run.search


def _trials(run: Run, shared: set[int]) -> list[Cell]:
    trials: list[Trial] = _search(run).trials
    distilled = sum(one.status in ("trained", "stopped") for one in trials)
    cells = [run.name, str(len(trials)), str(distilled), digits(_ends(trials)[-1] / 60)]
    return [Cell(text) for text in [*cells, str(sum(id(one) in shared for one in trials))]]


def _early(trials: Sequence[Trial], shared: set[int], metric: str) -> list[Cell]:
    scores = [-found[-1] for one in trials if (found := front.costs(one, metric))]
    return [
        Cell(str(sum(id(one) in shared for one in trials))),
        Cell(f"{100 * max(scores):.1f}" if scores else DASH),
    ]


def _winner(run: Run) -> list[Cell]:
    model, split = chosen(run), split_of(run)
    ours, share = score(model, split, metric_of(run)), kept(run, model, split)
    at = latency_at(model, setting_of(run))
    return [
        Cell(digits(model.bytes / 1e6) if model and model.bytes else DASH),
        Cell(digits(at.p50_ms) if at else DASH),
        Cell(f"{100 * ours:.1f}" if ours is not None else DASH),
        Cell(f"{share:.1f}" if share is not None else DASH),
    ]

"""Searches of one task under the same limits, side by side: what each tried, what it cost, and what it found.

- A grid is a search too: of a space so small that all of it is tried.
- The shared front is that of all their trials: what no trial of any of them beats in bytes, milliseconds and score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

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
    tried = [trial for run in runs for trial in _search(run).trials]
    shared = {id(trial) for trial in front.front(tried, metric)}
    columns = [("", "run", ""), ("students", "tried", ""), ("students", "distilled", ""), ("", "trials", "minutes")]
    columns += [("", "on the shared front", f"of {len(shared)}"), ("its best, in full", "file", "MB")]
    columns += [("its best, in full", "p50", "ms"), ("its best, in full", metric, split_of(runs[0])), ("", "kept", "%")]
    rows = [Row([*_trials(run, shared), *_winner(run)]) for run in runs]
    caption = (
        "Milliseconds are on one thread at the longest length. On the shared front is what no trial of these runs "
        "beats in bytes, milliseconds and score at once; the best is trained in full."
    )
    return Table("searches", "", caption, columns, rows)


def _search(run: Run) -> Search:
    assert run.search is not None
    return run.search


def _trials(run: Run, shared: set[int]) -> list[Cell]:
    trials: list[Trial] = _search(run).trials
    distilled = sum(one.status in ("trained", "stopped") for one in trials)
    cells = [run.name, str(len(trials)), str(distilled), digits(sum(one.seconds for one in trials) / 60)]
    return [Cell(text) for text in [*cells, str(sum(id(one) in shared for one in trials))]]


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

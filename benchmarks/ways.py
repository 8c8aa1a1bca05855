"""The guide's answer on ways to make a student smaller: what each gives, and whether pruning pays.

- All are compared with the study's first row, the student as it is; a way of the same bytes with its rival too.
- Where the files were timed in one run, taking turns, their speeds are of that run: those of a study are of a run each.
"""

from __future__ import annotations

from collections.abc import Mapping

from .cells import DASH, Cell, Row, Table
from .derived import digits
from .readings import Answer, gain, seen, with_sign
from .record import Bench
from .study_record import Result, StudyRecord

NEAR = 0.5  # points under the student as it is
ALIKE = 0.01  # of the bytes: files of one shape


def steps(study: StudyRecord, timed: Bench | None = None) -> Answer:
    """What each way of making a student smaller gives, the smallest file first."""
    first, column = study.rows[0], study.columns[0]
    found = {row: one for row in study.rows for one in study.at(row, column)[:1] if one.model and one.score is not None}
    bytes_ = {row: float(one.model.bytes or 0) for row, one in found.items() if one.model}
    fast, together = _speeds(found, timed)
    rows = []
    for row in sorted(found, key=lambda name: bytes_[name]):
        speed = fast[row] / fast[first] if row in fast and first in fast else None
        cells = [Cell(row), Cell(digits(bytes_[row] / 1e6))]
        cells += [Cell(f"{bytes_[first] / bytes_[row]:.1f}×" if first in found and bytes_[row] else DASH)]
        cells += [Cell(f"{speed:.2f}×" if speed else DASH), Cell(with_sign(gain(study, row, column, first)))]
        other = study.against.get(row, first)
        cells.append(Cell(DASH if other == first else f"{with_sign(gain(study, row, column, other))} against {other}"))
        rows.append(Row(cells))
    sentences = [*_smallest(study, column, bytes_), *_rivals(study, column, bytes_), *pruning(study, column, bytes_)]
    columns = [("", "way", ""), ("", "file", "MB"), ("", "smaller", ""), ("", "speed", "as it is = 1")]
    columns += [("", "score", "points"), ("", "and", "points")]
    how = "in one run, taking turns" if together else "each of the cell's own run"
    return Answer(sentences, Table("steps", "", f"Over {seen(study)}. Speeds are {how}.", columns, rows))


def _speeds(found: Mapping[str, Result], timed: Bench | None) -> tuple[dict[str, float], bool]:
    """Of each row, against one reference, and whether all were timed in one run."""
    places = [model for site in timed.targets for model in site.models] if timed else []
    known: dict[str, float] = {}
    for row, one in found.items():
        latencies = [
            at
            for model in places
            if model.name.startswith(f"{one.folder}/") and model.cost
            for at in model.cost.latencies
        ]
        if latencies:
            at = min(latencies, key=lambda at: (at.threads, -(at.length or 0)))
            known |= {row: at.ratio} if at.ratio else {}
    if known.keys() == found.keys():
        return known, True
    return {row: one.speed for row, one in found.items() if one.speed}, False


def _smallest(study: StudyRecord, column: str, bytes_: Mapping[str, float]) -> list[str]:
    first = study.rows[0]
    drops = {row: gain(study, row, column, first) for row in bytes_ if row != first}
    near = [row for row, drop in drops.items() if drop is not None and drop >= -NEAR]
    if not near or first not in bytes_:
        return []
    best = min(near, key=lambda row: bytes_[row])
    return [
        f"The smallest file within half a point of the student as it is: **{best}**, {digits(bytes_[best] / 1e6)} MB "
        f"({bytes_[first] / bytes_[best]:.1f}× smaller, {with_sign(drops[best])} points)."
    ]


def _rivals(study: StudyRecord, column: str, bytes_: Mapping[str, float]) -> list[str]:
    """Ways that give files of one size."""
    pairs = [(row, other) for row, other in study.against.items() if other != study.rows[0]]
    alike = [pair for pair in pairs if {*pair} <= bytes_.keys() and _alike(bytes_, *pair)]
    told = [f"{row} gives {with_sign(gain(study, row, column, other))} points against {other}" for row, other in alike]
    return [f"With as many bytes, {', '.join(told)}."] if told else []


def pruning(study: StudyRecord, column: str, bytes_: Mapping[str, float]) -> list[str]:
    """Whether cutting a trained student gives more than a student that has the smaller shape from the beginning."""
    steps_of = {row: _compress(study, row) for row in bytes_}
    pruned = [row for row, found in steps_of.items() if len(found) == 1 and "prune" in found[0]]
    shaped = [row for row, found in steps_of.items() if not found and any(_alike(bytes_, row, one) for one in pruned)]
    pruned = [row for row in pruned if any(_alike(bytes_, row, one) for one in shaped)]
    scores = {row: study.score(row, column) or 0.0 for row in [*pruned, *shaped]}
    if not pruned or not shaped:
        return []
    best, other = (max(rows, key=lambda row: scores[row]) for rows in (pruned, shaped))
    ahead = scores[best] > scores[other]
    told = [f"{row} {100 * scores[row]:.1f}" for row in (*pruned, *shaped)]
    return [
        f"Pruning {'is' if ahead else 'is not'} worth its training here: of students of one shape, cut from a trained "
        f"one or distilled at that shape, the best is **{best if ahead else other}** ({', '.join(told)})."
    ]


def _alike(bytes_: Mapping[str, float], row: str, other: str) -> bool:
    """Whether their files are as large."""
    return bool(bytes_[other]) and abs(bytes_[row] / bytes_[other] - 1) < ALIKE


def _compress(study: StudyRecord, row: str) -> list[dict[str, object]]:
    """The steps that a row adds to the study's recipe."""
    found: list[dict[str, object]] = study.study.get("rows", {}).get(row, {}).get("set", {}).get("compress", [])
    return found

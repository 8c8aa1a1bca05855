"""What the guide reads off a study: retention, points between rows, and on what they rest.

- Only columns that every row has are averaged, so that no row is flattered by an easier task.
"""

from __future__ import annotations

from typing import NamedTuple

from .cells import DASH, Table
from .derived import signed
from .study_record import Result, StudyRecord, mean


class Answer(NamedTuple):
    """What a study says to its question."""

    sentences: list[str]
    table: Table


def whole(study: StudyRecord) -> list[str]:
    """The columns in which every row has a score."""
    return [name for name in study.columns if all(study.score(row, name) is not None for row in study.rows)]


def retention(study: StudyRecord, row: str) -> float | None:
    """Percent of the teacher's score, the mean over whole columns."""
    found = mean([mean([one.retention for one in study.at(row, column)]) for column in whole(study)])
    return None if found is None else 100 * found


def gain(study: StudyRecord, row: str, column: str, other: str) -> float | None:
    """Points from the other row to this one."""
    ours, theirs = study.score(row, column), study.score(other, column)
    return None if ours is None or theirs is None else 100 * (ours - theirs)


def seen(study: StudyRecord) -> str:
    """On what an answer rests: columns, seeds."""
    seeds = {one.seed for one in study.results if one.score is not None and one.column in whole(study)}
    return f"{', '.join(whole(study)) or 'no task yet'}; {len(seeds)} seed{'s' * (len(seeds) > 1)}"


def with_sign(value: float | None) -> str:
    """With their sign; a dash where they are not known."""
    return DASH if value is None else signed(value)


def own(study: StudyRecord, row: str) -> list[Result]:
    """The results of a row that came to a model."""
    return [one for column in study.columns for one in study.at(row, column) if one.model]


def parameters(study: StudyRecord, row: str) -> float:
    """Of a row's models, on average."""
    return mean([float(one.model.parameters or 0) for one in own(study, row) if one.model]) or 0.0

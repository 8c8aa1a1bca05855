"""`study.json`: what a study came to, cell by cell.

- A cell is a run; the record keeps what a table or a curve needs of it, so that a page needs no run folder.
- Scores are fractions, times seconds and sizes bytes, as in run.json.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..files import read_document
from . import machine
from .derived import metric_of, row_of, split_of
from .record import Model, Run, Training

FORMAT = "attar-study/1"


class Result(BaseModel):
    """One cell: the models of its run, how they were trained, and which score speaks for it."""

    model_config = ConfigDict(extra="ignore")

    row: str
    column: str
    seed: int | None = None  # where every cell is run with several
    folder: str  # the run's folder, below the study's
    metric: str = ""
    split: str = ""
    models: list[Model] = []  # teacher, student and the chosen artefact, as far as made
    training: list[Training] = []
    seconds: float = 0.0  # all stages, when they were made
    recipe: str = ""  # digest of the resolved recipe
    data: dict[str, Any] = {}  # digest of each split's rows
    processor: str = ""  # on which it was made, with its features: a study's cells may come from several machines
    problem: str = ""  # why there is no result

    @property
    def model(self) -> Model | None:
        """The model that the study is about: the last that was made."""
        return self.models[-1] if self.models else None

    @property
    def score(self) -> float | None:
        """Its primary score."""
        return self.model.scores.get(self.split, {}).get(self.metric) if self.model else None

    @property
    def retention(self) -> float | None:
        """The score as a share of the teacher's, where the model is not the teacher."""
        first = self.models[0].scores.get(self.split, {}).get(self.metric) if len(self.models) > 1 else None
        return self.score / first if first and self.score is not None else None

    @property
    def speed(self) -> float | None:
        """How many times the teacher's, at the fewest threads and the longest length that were timed."""
        found = self.model.cost.latencies if self.model and self.model.cost else []
        return min(found, key=lambda at: (at.threads, -(at.length or 0))).ratio if found else None

    @property
    def rate(self) -> float | None:
        """Training examples a second of the student's phases, or of the teacher's where there is no student."""
        stages = [phase.stage for phase in self.training]
        own = [phase for phase in self.training if phase.stage == ("distil" if "distil" in stages else "teach")]
        seconds = sum(epoch.seconds for phase in own for epoch in phase.epochs)
        seen = sum(epoch.seconds * epoch.examples_per_second for phase in own for epoch in phase.epochs)
        return seen / seconds if seconds else None


class StudyRecord(BaseModel):
    """A whole study."""

    model_config = ConfigDict(extra="ignore")

    format: Literal["attar-study/1"] = FORMAT  # type: ignore[assignment]
    attar: str
    name: str
    title: str
    created: str  # ISO 8601, UTC
    command: str = ""
    machine: dict[str, Any]
    study: dict[str, Any]  # the resolved study file
    rows: list[str]
    columns: list[str]
    against: dict[str, str] = {}  # row -> the row it is compared with
    results: list[Result] = []

    @property
    def cells(self) -> int:
        """How many there are, run or not."""
        return len(self.rows) * len(self.columns) * max(1, len(self.study.get("seeds") or []))

    @property
    def left(self) -> int:
        """How many have not been run."""
        return self.cells - len(self.results)

    def at(self, row: str, column: str) -> list[Result]:
        """The cell's results, one for each seed that was run."""
        return [one for one in self.results if (one.row, one.column) == (row, column)]

    def score(self, row: str, column: str) -> float | None:
        """The mean score of a cell."""
        return mean([one.score for one in self.at(row, column)])


def mean(values: Sequence[float | None]) -> float | None:
    """Of what is known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def result(row: str, column: str, folder: str, run: Run, seed: int | None = None) -> Result:
    """A cell's result from the record of its run."""
    kept = [row_of(run, "teacher"), row_of(run, "student"), next((m for m in run.models if m.name == run.choice), None)]
    return Result(
        row=row,
        column=column,
        seed=seed,
        folder=folder,
        metric=metric_of(run),
        split=split_of(run),
        models=[model for model in kept if model],
        training=run.training,
        seconds=sum(stage.seconds for stage in run.stages),
        recipe=run.provenance.get("recipe", ""),
        data=run.provenance.get("data", {}),
        processor=machine.said(run.machine),
    )


def load(path: Path) -> StudyRecord:
    """Read a study.json (the file, or the study's folder)."""
    return read_document(StudyRecord, path / "study.json" if path.is_dir() else path, "study record")

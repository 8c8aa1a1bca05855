"""`attar-distillation-peers/1`: one comparison of distilling programs, the only source of its table.

- Every contender had the same teacher, first student, rows, losses and number of steps, on one machine, one after the
  other. Training time leaves out evaluations and the loading of models; it holds what the teacher answers beforehand.
- `target` is the dev accuracy that the weakest contender reached at best, so that each has a time to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ....files import read_document

FORMAT = "attar-distillation-peers/1"


class Entry(BaseModel):
    """A part of the record; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Point(Entry):
    """The student's dev accuracy after so many seconds of a phase."""

    seconds: float
    accuracy: float


class Phase(Entry):
    """One phase of training."""

    phase: str
    examples: int  # rows times epochs
    seconds: float
    points: list[Point] = []


class Contender(Entry):
    """One program."""

    name: str
    about: str
    versions: dict[str, str] = {}
    overhead: float = 0.0  # seconds beside the phases, such as the teacher's answers
    phases: list[Phase] = []
    problem: str = ""  # why there is no figure

    @property
    def seconds(self) -> float:
        """All of the training."""
        return self.overhead + sum(phase.seconds for phase in self.phases)

    @property
    def rate(self) -> float:
        """Examples a second over all phases."""
        return sum(phase.examples for phase in self.phases) / self.seconds

    @property
    def best(self) -> float:
        """The best dev accuracy."""
        return max(point.accuracy for phase in self.phases for point in phase.points)

    def until(self, target: float) -> float | None:
        """Seconds until the dev accuracy is first reached."""
        spent = self.overhead
        for phase in self.phases:
            for point in phase.points:
                if point.accuracy >= target:
                    return spent + point.seconds
            spent += phase.seconds
        return None


class Comparison(Entry):
    """One run of all contenders."""

    format: Literal["attar-distillation-peers/1"] = FORMAT  # type: ignore[assignment]
    attar: str
    created: str
    command: str
    machine: dict[str, Any]
    rows: dict[str, int]
    plan: dict[str, Any]
    contenders: list[Contender]

    @property
    def target(self) -> float | None:
        """The accuracy whose time is compared."""
        return min((one.best for one in self.contenders if not one.problem), default=None)


def load(path: Path) -> Comparison:
    """Read a record."""
    return read_document(Comparison, path, "comparison of distillation")

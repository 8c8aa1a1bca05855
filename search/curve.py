"""The dev scores of a trial by their place in its plan, so that trials are compared at like places.

- A candidate's plan is its student's stages, in each of them its cuts, in each of those the evaluations of the phase
  `prediction`, the only one with a dev score. A place is a number, the same whether the score was taken now, before the
  trial was stopped, or in another trial whose finished stage is reused.
- What was scored before is told first: from a finished stage's note, and from the checkpoints of one that goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors

from ..files import read_json
from ..recipe import Prediction, Recipe, Step
from ..resuming import NAME
from ..slots import Slot

PHASE = "prediction"
PLACES = 10_000  # of a cut: more evaluations than any has

Report = Callable[[int, float], None]  # place, dev score; what it raises ends the trial


class Curve:
    """Tells `report` every dev score of the run in the folder `out`, in the order of the plan, each once."""

    def __init__(self, spec: Recipe, out: Path, metric: str, report: Report) -> None:
        self.spec, self.out, self.metric, self.report = spec, out, metric, report
        self.left = list(spec.student_stages)  # the first is the one at work
        self.cut = -1  # of the stage at work, from 0; -1: it has not scored yet
        self.done = 0.0  # share of its phase
        self.told: set[int] = set()

    def moved(self, what: str, done: float) -> None:
        """A phase came so far: from its start again where it is that of the next cut."""
        if what != PHASE or not self.left:
            return
        if self.cut < 0:
            self.cut = self._checkpoints()
        elif done <= self.done:
            self.cut += 1
        self.done = done

    def scored(self, phase: str, score: float) -> None:
        """A dev score that was taken now, where `moved` came to."""
        if phase == PHASE and self.left:
            self._tell(self.cut, self.done, score)

    def finished(self, stage: str) -> None:
        """A stage is whole, made now or before: its note has every score of it."""
        if stage not in self.left:
            return
        note = read_json(Slot(self.out, stage, self.spec.folder_of(stage)).note)
        phases = [one for one in note["results"].get("training", []) if one["phase"] == PHASE]
        for cut, phase in enumerate(phases):
            self._tell_all(cut, phase["epochs"])
        self.left, self.cut, self.done = self.left[1:], -1, 0.0

    def _checkpoints(self) -> int:
        """Tell what the stage at work scored before it was stopped; gives the cut that goes on."""
        cut = 0
        for state in self._states():
            self._tell_all(cut, state["epochs"])
            cut += state["done"]
        return cut

    def _states(self) -> Iterator[dict[str, Any]]:
        """The positions of the trainings of the stage at work, by cut, as far as there are checkpoints."""
        stage = self.left[0]
        work = Slot(self.out, stage, self.spec.folder_of(stage)).work / "checkpoints"
        step = self._step(stage)
        for folder in [work / str(number) for number in range(1, _cuts(step) + 1)] if step else [work]:
            path = folder / PHASE / NAME
            if path.is_file():
                with safetensors.safe_open(str(path), framework="numpy") as file:
                    yield json.loads(file.metadata()["state"])

    def _tell_all(self, cut: int, epochs: list[dict[str, Any]]) -> None:
        for one in epochs:
            if self.metric in one["scores"]:
                self._tell(cut, one["epoch"] / self._plan.epochs, one["scores"][self.metric])

    def _tell(self, cut: int, done: float, score: float) -> None:
        stages = self.spec.student_stages
        before = sum(_cuts(self._step(stage)) for stage in stages[: stages.index(self.left[0])])
        # Where batches do not part evenly, an evaluation stands a little behind its share of the epoch.
        number = int(done * self._plan.epochs * self._plan.evaluations + 1e-6) - 1
        place = PLACES * (before + cut) + number
        if place not in self.told:
            self.told.add(place)
            self.report(place, score)

    @property
    def _plan(self) -> Prediction:
        """Of the stage at work."""
        step = self._step(self.left[0])
        return step.heal.prediction if step and step.heal else self.spec.distil.prediction

    def _step(self, stage: str) -> Step | None:
        """The step of `compress` that a stage takes; none of `distil`."""
        return dict(zip(self.spec.steps, self.spec.compress, strict=True)).get(stage)


def _cuts(step: Step | None) -> int:
    """How often a stage trains the phase."""
    return step.prune.steps if step and step.prune else 1

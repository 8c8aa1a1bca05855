"""The best trial is trained in full; where that gives no bundle, the next in rank takes its place.

- A student that passed as a trial may fail in full: no file of it passes its checks, or its training diverges.
- Which ones failed stands in the study: the search, run again, does not train them again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from ..benchmarks import record
from ..benchmarks.record import Trial
from ..context import Context
from ..errors import AttarError, DiskFullError, UsageError

ATTRIBUTE = "failed"  # of the study
NOT_THE_STUDENTS = (DiskFullError, UsageError)  # every other one would fail by them too

Finished = Callable[[str, float, bool], None]  # stage or trial, seconds, was it reused


class Failures:
    """The trials whose students gave no bundle when they were trained in full, and why."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study

    @property
    def reasons(self) -> dict[int, str]:
        """By the trial's number."""
        return {int(number): reason for number, reason in self.study.user_attrs.get(ATTRIBUTE, {}).items()}

    def add(self, trial: Trial, error: AttarError, out: Path) -> None:
        """The run in `out` ended with this error, if it is the student's."""
        if not isinstance(error, NOT_THE_STUDENTS):
            self.study.set_user_attr(ATTRIBUTE, {**self.reasons, trial.number: _why(error, out)})

    def notes(self, winner: Trial) -> list[str]:
        """A line for each but the one that the run is of."""
        return [
            f"trial {number} gave no bundle when it was trained in full: {reason}"
            for number, reason in self.reasons.items()
            if number != winner.number
        ]


def first(
    ranked: Sequence[Trial], failures: Failures, train: Callable[[Trial], Context], finished: Finished
) -> Context:
    """The first that gives a bundle, of those that have not failed before; of all where none is left.

    Raises the last one's error where none gives one, and at once what is not the student's fault.
    """
    left = [one for one in ranked if one.number not in failures.reasons] or list(ranked)
    for trial, following in itertools.pairwise(left):
        started = time.monotonic()
        try:
            return train(trial)
        except NOT_THE_STUDENTS:
            raise
        except AttarError:
            said = f"trial {trial.number} in full: {failures.reasons[trial.number]}; trial {following.number} is next"
            finished(said, time.monotonic() - started, False)
    return train(left[-1])


def _why(error: AttarError, out: Path) -> str:
    """The error, with the reasons of the files that were rejected."""
    models = record.load(out).models if (out / "run.json").is_file() else []
    reasons = dict.fromkeys(one.reason for one in models if one.of == "student" and one.status == "rejected")
    return f"{error.what}: {'; '.join(reasons)}" if reasons else error.what

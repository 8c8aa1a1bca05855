"""The search: optuna proposes students, cost rules out what cannot fit, short distillation ranks the rest.

- The proposals are by TPE (Bergstra et al., 2011). A trial whose dev scores fall under the median of the trials before
  it is stopped (optuna's MedianPruner).
- Everything stands in a journal in the run's folder: a search that was stopped goes on after its last trial, and the
  trial that ran goes on from its checkpoint.
- The winner is trained in full by the ordinary stages, and is the run: the budget is judged by what was measured of it.
  Where no file of it passes its checks, the next in rank takes its place: a search ends with a bundle.
"""

from __future__ import annotations

import random
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from .. import __version__, pipeline
from ..benchmarks import assembly, front, machine, record, report
from ..benchmarks.record import Search, Trial
from ..context import Context, Progress
from ..errors import AttarError, DiskFullError, UsageError
from ..export.bundle import installed
from ..export.runtimes import DISTRIBUTIONS
from ..files import locked, value_digest, write_bytes
from ..processes import launched
from ..recipe import Recipe
from . import full
from .choice import Judge, advice
from .curve import Report
from .full import Finished
from .space import Space
from .trial import Bench, costs, scores

FOLDER = "search"
REPEATS = 8  # proposals of what was tried already, after which one is drawn that was not
OVER = 5  # times as many as trials may be too costly before the space is given up
RECORD = "attar"  # the trial's attribute with its record

Grown = Callable[[Sequence[Trial], str], None]  # trials so far, the metric of their scores


class StoppedError(Exception):
    """A trial whose scores are too low to go on."""


def run(
    spec: Recipe,
    out: Path,
    *,
    progress: Progress = lambda what, done, remark: None,
    finished: Finished = lambda name, seconds, reused: None,
    grown: Grown = lambda trials, metric: None,
    command: str = "",
    why: str = "",
) -> Context:
    """Try students until the recipe's search ends, then run the best one's recipe; `run.json` tells of all of them.

    Where no file of the best passes, the next one is trained in full. `grown` is told of the trials so far where the
    front of them is another. `why` are the limits that the recipe's own student misses, if others are tried for them.

    Errors: a budget without limits, one that no student meets, a space without a student that can be built; what the
    last student failed by where none gives a bundle.
    """
    assert spec.search is not None
    if launched().count > 1:
        raise UsageError("a search runs in one process", where="search", fix="start one process")
    if not any(limit is not None for limit in spec.budget.model_dump().values()):
        fix = "state one, such as --max-size 3MB"
        raise UsageError("a search needs a limit to meet", where="budget", fix=fix)
    space = Space(spec)
    pipeline.reach(spec)
    start = pipeline.run(
        spec,
        out,
        until="teach",
        progress=progress,
        finished=finished,
        command=command,
        searched=True,
        trims=space.trims,
    )
    teacher = assembly.rows(spec, start.results, out)[0]
    judge = Judge(spec.budget, teacher, start.task.metric, spec.task.max_length)
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    with locked(folder):
        bench = Bench(folder / "trial", out.resolve().parent, spec.search, start.task.metric, progress)
        looking = _Search(space, judge, bench, folder, start.keys["teach"])
        found = looking.run(finished, grown)
        if not judge.ranked(found.trials):
            reason = next((one.reason for one in found.trials), "")
            raise AttarError(f"none of the {len(found.trials)} students can be built: {reason}", where="search.space")
        shutil.rmtree(bench.folder, ignore_errors=True)

    failures = full.Failures(looking.study)

    def train(trial: Trial) -> Context:
        chosen = space.candidate(looking.picks(trial))
        try:
            return pipeline.run(chosen, out, progress=progress, finished=finished, command=command, searched=True)
        except AttarError as error:
            failures.add(trial, error, out)
            raise
        finally:  # where no file of it passed, too
            if (out / "run.json").is_file():
                _tell(out, judge, found, trial, failures, why)

    return full.first(judge.ranked(found.trials), failures, train, finished)


def _tell(out: Path, judge: Judge, found: Search, winner: Trial, failures: full.Failures, why: str) -> None:
    """Write into the run's record what was tried, and which students gave no bundle."""
    run_record = record.load(out)
    missed = [limit for limit in run_record.limits if not limit.met]
    tried = found.model_copy(update={"winner": winner.number})
    own = [f"the recipe's own student could not meet the budget ({why}): others were searched for"] if why else []
    notes = [*run_record.notes, *own, *failures.notes(winner)]
    run_record = run_record.model_copy(
        update={"search": tried, "advice": advice(missed, judge, found.trials), "notes": notes}
    )
    record.save(run_record, out / "run.json")
    report.write(run_record, out)


class _Search:
    """The loop over trials."""

    def __init__(self, space: Space, judge: Judge, bench: Bench, folder: Path, teacher: str = "") -> None:
        """`teacher` is the key of the teacher's stage, which stands for the data too."""
        self.space, self.judge, self.bench, self.plan = space, judge, bench, bench.plan
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        asked = [
            space.spec.model_dump(mode="json", exclude={"name": True, "search": {"trials", "minutes"}}),
            [teacher, __version__, machine.processor(), *(installed(name) for name in DISTRIBUTIONS)],
        ]
        journal = (folder / "journal.log").resolve()  # optuna's lock is a link to it, which must not be relative
        _whole_lines(journal)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the journal is "experimental" to optuna
            storage = JournalStorage(JournalFileBackend(str(journal)))
            self.study = optuna.create_study(
                storage=storage,
                study_name=value_digest(asked)[:16],
                sampler=optuna.samplers.TPESampler(seed=space.spec.seed, n_startup_trials=6),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4)
                if self.plan.stop and not judge.by_drop  # a small student may be behind, and within the drop
                else optuna.pruners.NopPruner(),
                direction="maximize",
                load_if_exists=True,
            )

    @property
    def trials(self) -> list[Trial]:
        """Those that ended, in their order."""
        return [Trial.model_validate(one.user_attrs[RECORD]) for one in self._ended_trials()]

    def picks(self, trial: Trial) -> dict[str, int]:
        """The places of a trial's values."""
        return dict(self._ended_trials()[trial.number - 1].params)

    def _ended_trials(self) -> list[FrozenTrial]:
        return [one for one in self.study.get_trials(deepcopy=False) if RECORD in one.user_attrs]

    def run(self, finished: Finished, grown: Grown = lambda trials, metric: None) -> Search:
        """Make trials until there is a reason to end; gives all of them."""
        self._resume()
        for one in self.trials:
            finished(self._line(one), one.seconds, True)
        best = self._shown([], grown)
        while not (ended := self._ended()):
            trial, picks = self._propose()
            made = self._try(trial, picks)
            trial.set_user_attr(RECORD, made.model_dump(mode="json"))
            if file := front.file_of(made):
                self.study.tell(trial, self.judge.goal(file))
            else:
                self.study.tell(trial, state=TrialState.PRUNED)
            finished(self._line(made), made.seconds, False)
            best = self._shown(best, grown)
        return Search(trials=self.trials, candidates=self.space.count, ended=ended)

    def _resume(self) -> None:
        """The trial that a stop cut off is the next."""
        for one in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self.study.tell(one.number, state=TrialState.FAIL)
            self.study.enqueue_trial(one.params, skip_if_exists=False)

    def _ended(self) -> str:
        done = self.trials
        over = _too_costly(done)
        if len(done) >= self.space.count:
            return f"all {self.space.count} students of the space were tried"
        if len(done) - over >= self.plan.trials:
            besides = f"; {over} besides were too costly" if over else ""
            return f"{self.plan.trials} trials were made, of {self.space.count} students{besides}"
        if over >= OVER * self.plan.trials:
            return f"{over} students were too costly, of {self.space.count}"
        if self.plan.minutes and sum(one.seconds for one in done) >= 60 * self.plan.minutes:
            return f"{self.plan.minutes:g} minutes were over after {len(done)} trials, of {self.space.count} students"
        return ""

    def _propose(self) -> tuple[optuna.Trial, dict[str, int]]:
        """A trial of a student that was not tried."""
        tried = [one.params for one in self._ended_trials()]
        for repeat in range(2 * REPEATS):
            if repeat >= REPEATS:
                left = [picks for picks in self.space.every() if picks not in tried]
                drawn = random.Random(f"{self.space.spec.seed} {len(tried)}").choice(left)
                self.study.enqueue_trial(drawn, skip_if_exists=False)
            trial = self.study.ask()
            picks = {name: self._suggest(trial, name) for name in self.space.choices}
            if picks not in tried:
                return trial, picks
            self.study.tell(trial, state=TrialState.FAIL)
        raise AssertionError("a proposal that was put in the queue did not come")

    def _suggest(self, trial: optuna.Trial, name: str) -> int:
        last = len(self.space.choices[name]) - 1
        if self.space.ordered(name):
            return trial.suggest_int(name, 0, last)
        return int(trial.suggest_categorical(name, list(range(last + 1))))

    def _try(self, trial: optuna.Trial, picks: dict[str, int]) -> Trial:
        """Cost, then the short distillation; what went wrong stands in the record."""
        started, before = time.monotonic(), self.trials
        number = len(before) + 1
        made = Trial(number=number, changes=self.space.labels(picks), status="impossible")
        said = f"trial {number}/{min(self.plan.trials + _too_costly(before), self.space.count)}"
        bench = replace(
            self.bench, progress=lambda what, done, remark: self.bench.progress(f"{said} {what}", done, remark)
        )
        try:
            spec = self.space.candidate(picks)
            made.models = costs(spec, bench)
            if all(self.judge.missed(one) for one in made.models):
                nearest = min(made.models, key=self.judge.excess)
                made.status, made.reason = "over", self.judge.told(nearest)
            else:
                made.models = scores(spec, bench, made.models, _watch(trial))
                best = self.judge.best(made.models)
                made.status, made.best = ("trained", best.name) if best else ("impossible", None)
                made.reason = "" if best else "; ".join(dict.fromkeys(one.reason for one in made.models))
        except StoppedError as stop:
            made.status, made.reason = "stopped", str(stop)
        except DiskFullError:
            raise
        except AttarError as error:
            made.reason = error.line()
        made.seconds = time.monotonic() - started
        return made

    def _shown(self, before: list[int], grown: Grown) -> list[int]:
        """Tell `grown` of a front that is another than before; gives the numbers on it."""
        best = [one.number for one in front.front(self.trials, self.bench.metric)]
        if best != before:
            grown(self.trials, self.bench.metric)
        return best

    def _line(self, trial: Trial) -> str:
        """A trial in a line, with how many files no other beats so far."""
        return front.line(trial, self.trials, self.bench.metric)


def _too_costly(trials: Sequence[Trial]) -> int:
    """How many were not distilled for their cost: they take seconds, and do not count as trials."""
    return sum(one.status == "over" for one in trials)


def _whole_lines(journal: Path) -> None:
    """Cut off a last line that a kill left unfinished."""
    if journal.is_file() and not (text := journal.read_bytes()).endswith(b"\n") and text:
        write_bytes(journal, text[: text.rfind(b"\n") + 1])


def _watch(trial: optuna.Trial) -> Report:
    """Tell optuna every dev score of a trial, and end it where optuna says so."""

    def report(place: int, score: float) -> None:
        trial.report(score, place)
        if trial.should_prune():
            raise StoppedError(f"its dev score of {100 * score:.2f} is under the median of the trials before")

    return report

"""Which trial wins, and what would have met the limits that nothing met.

- A student is judged by the file that would be its bundle's default, the smallest that fits. Where size, latency or
  memory is limited, the student with the best dev score wins; where only the drop is, the smallest within it. A trial's
  score is of a short distillation: it ranks students, it does not promise a score.
- Where nothing meets the limits, the student that misses them least is taken: a search always ends with one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..benchmarks import judging
from ..benchmarks.front import described
from ..benchmarks.judging import over
from ..benchmarks.record import Limit, Model, Trial
from ..benchmarks.verdict import LIMIT_NAMES, enough
from ..recipe import Budget

# Two medians of one file, minutes apart on a machine that does other things too, differ by some percent.
LATENCY_MARGIN = 0.95


class Judge:
    """Judges files of trials by the budget; `teacher` is the teacher's row of the main table.

    Files for texts of less than `longest` pieces are for none of the task's.
    """

    def __init__(self, budget: Budget, teacher: Model, metric: str, longest: int = 0) -> None:
        self.budget, self.teacher, self.metric, self.longest = budget, teacher, metric, longest
        latency = budget.max_latency and budget.max_latency * LATENCY_MARGIN
        self.cost_limits = budget.model_copy(update={"max_drop": None, "max_latency": latency})

    @property
    def by_drop(self) -> bool:
        """Whether the drop alone is limited."""
        return not self.budget.limits_cost

    def missed(self, file: Model) -> list[Limit]:
        """The limits of cost that a file misses."""
        return [one for one in judging.limits(self.cost_limits, file, [self.teacher, file], self.metric) if not one.met]

    def score(self, file: Model) -> float:
        """Of the file on dev."""
        return file.scores["dev"][self.metric]

    def drop(self, file: Model) -> float:
        """Points under the teacher."""
        return 100 * (self.teacher.scores["dev"][self.metric] - self.score(file))

    def best(self, files: Sequence[Model]) -> Model | None:
        """The file that would be the default of the student's bundle: the smallest that fits."""
        scored = [one for one in files if self.metric in one.scores.get("dev", {})]
        return judging.choose(self.cost_limits, [self.teacher, *scored], self.metric, self.longest)

    def told(self, file: Model) -> str:
        """The limits of cost that a file misses, in words."""
        found = []
        for one in self.missed(file):
            stated = getattr(self.budget, one.name)
            near = one.value is not None and one.value <= stated
            found.append(over(one.model_copy(update={"limit": stated})) + ", too near to it to be sure" * near)
        return "; ".join(found)

    def value(self, file: Model) -> tuple[float, ...]:
        """The larger the better."""
        bytes_ = -float(file.bytes or 0)
        if not self.by_drop:
            return -self.excess(file), self.score(file), bytes_
        allowed = self.budget.max_drop or 0.0
        over = max(0.0, self.drop(file) - allowed)
        return -over, bytes_, self.score(file)

    def goal(self, file: Model) -> float:
        """What a search maximizes: the score, or where the drop alone is limited fewer megabytes within it."""
        if not self.by_drop:
            return self.score(file)
        over = max(0.0, self.drop(file) - (self.budget.max_drop or 0.0))
        return -(file.bytes or 0) / 1e6 - 1000 * over

    def excess(self, file: Model) -> float:
        """By which factor the worst limit of cost is missed, 0 where all are met; unmeasured is as bad as can be."""
        return judging.excess(self.cost_limits, file, [self.teacher, file], self.metric)

    def ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials whose students can be trained in full, the best first."""
        able = [one for one in trials if one.models and one.status != "impossible"]

        def rank(trial: Trial) -> tuple[float, ...]:
            trained = [one for one in trial.models if one.name == trial.best]
            if trained:
                return 1.0, *self.value(trained[0])
            if trial.status == "stopped":
                return 0.5, 0.0
            return 0.0, -min(self.excess(one) for one in trial.models)

        return sorted(able, key=rank, reverse=True)


def advice(missed: Sequence[Limit], judge: Judge, trials: Sequence[Trial]) -> list[str]:
    """For each limit that was missed, what would meet it."""
    files = [(trial, file) for trial in trials for file in trial.models if file.status == "ok"]
    found = []
    for limit in missed:
        name = LIMIT_NAMES[limit.name]
        if limit.name == "max_drop":
            found.append(_for_drop(judge, trials))
            continue
        known = [(one, trial) for trial, file in files for one in _of(limit, judge, file) if one.value is not None]
        if not known:
            continue
        least, trial = min(known, key=lambda pair: float(pair[0].value or 0))
        value, what = enough(limit, float(least.value or 0)), described(trial)
        if not least.met:
            found.append(f"{name}: the least of all trials is {value}, of {what}; allow that, or add smaller students")
        elif limit.value is not None:
            own = enough(limit, limit.value)
            found.append(f"{name}: allow {own}; {what} has {value}, and is behind in what else counts")
    return found


def _of(limit: Limit, judge: Judge, file: Model) -> list[Limit]:
    every = judging.limits(
        judge.budget.model_copy(update={"max_drop": None}), file, [judge.teacher, file], judge.metric
    )
    return [one for one in every if one.name == limit.name]


def _for_drop(judge: Judge, trials: Sequence[Trial]) -> str:
    over = [file for trial in trials if trial.status == "over" for file in trial.models if file.bytes]
    if not over:
        return (
            "drop: no student of the space was left out for its cost; allow more, train longer, or add larger students"
        )
    nearest = min(over, key=judge.excess)
    latency = judging.latency(nearest, [nearest])
    costs = f"{(nearest.bytes or 0) / 1e6:.2f} MB" + (f" and {latency:.2f} ms" if latency else "")
    return f"drop: the next larger student takes {costs}; allow that much, a larger drop, or train longer"

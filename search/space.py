"""The students that a search may try: one recipe, and choices that change it.

- A candidate is a recipe like any other, so whatever a recipe can say can be searched.
- A trial is cheap: its cost is that of the untrained student, its score is of a short distillation on the task alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import yaml

from .. import recipe, recipe_file
from ..errors import UsageError
from ..recipe import Optimization, Recipe, changes

Picks = Mapping[str, int]  # choice -> the place of its value
LOOKED = 1000  # candidates at most, to learn what the space holds


class Space:
    """The candidates of a recipe with a `search`."""

    def __init__(self, spec: Recipe) -> None:
        assert spec.search is not None
        self.spec, self.choices = spec, spec.search.space
        self._check()

    @property
    def count(self) -> int:
        """How many candidates there are."""
        return math.prod(len(values) for values in self.choices.values())

    def ordered(self, name: str) -> bool:
        """Whether the values of a choice are numbers that rise: then neighbours are alike."""
        values = self.choices[name]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        return numbers and values == sorted(values)

    def every(self) -> Iterator[dict[str, int]]:
        """The picks of every candidate."""
        places = (range(len(values)) for values in self.choices.values())
        return (dict(zip(self.choices, picks, strict=True)) for picks in itertools.product(*places))

    def candidate(self, picks: Picks) -> Recipe:
        """The recipe with these values; `UsageError` where they do not go together."""
        chosen = {name: self.choices[name][place] for name, place in picks.items()}
        words = [
            f"{key}={json.dumps(value, ensure_ascii=False)}"
            for name, one in chosen.items()
            for key, value in changes(name, one).items()
        ]
        try:
            return recipe_file.parse(self._values, settings=words)
        except UsageError as error:
            place = f"search.space, {error.where.removeprefix('--set ')}"
            raise UsageError(error.what, where=place, fix=error.fix) from None

    def labels(self, picks: Picks) -> dict[str, str]:
        """The values in words; two that read alike have their places."""
        found = {}
        for name, place in picks.items():
            said = [label(value) for value in self.choices[name]]
            found[name] = said[place] + (f" ({place + 1})" if said.count(said[place]) > 1 else "")
        return found

    @property
    def trims(self) -> bool:
        """Whether a candidate trims its vocabulary; of more than were looked at, one might."""
        for number, picks in enumerate(self.every()):
            with contextlib.suppress(UsageError):
                if number >= LOOKED or any(step.trim for step in self.candidate(picks).compress):
                    return True
        return False

    @cached_property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(recipe.dump(self.spec))
        return values | {"search": None}

    def _check(self) -> None:
        """A space in which nothing goes together, such as one with a slip, is told before anything is trained."""
        problem = None
        for picks in itertools.islice(self.every(), LOOKED):
            try:
                self.candidate(picks)
                return
            except UsageError as error:
                problem = problem or error
        if problem:
            raise problem


def label(value: Any) -> str:
    """A value in few words: `trim 0.995 + factorize 64`, `layers 2, hidden_size 128`."""
    if isinstance(value, dict):
        words = [(key.rpartition(".")[2], one) for key, one in value.items() if one is not None and key != "heal"]
        return ", ".join(f"{key} {label(one)}" for key, one in words) or "as it is"
    if isinstance(value, list):
        return " + ".join(map(label, value)) or "none"
    return "none" if value is None else str(value)


def untrained(spec: Recipe) -> Recipe:
    """The recipe of the same student with weights that nothing was learnt into: what it costs is what it will cost."""
    nothing = spec.distil.prediction.model_copy(update={"epochs": 0})
    distil = {"general": None, "augment": None, "intermediate": None, "prediction": nothing}
    steps = [step.model_copy(update={"heal": None}) for step in spec.compress]
    return spec.model_copy(
        update={"distil": spec.distil.model_copy(update=distil), "compress": steps, "export": _lean(spec)}
    )


def shortened(spec: Recipe, plan: recipe.Search) -> Recipe:
    """The recipe of the same student that learns the task for a short time."""

    def less(phase: Optimization | None) -> Any:
        return phase and phase.model_copy(update={"epochs": min(phase.epochs, plan.epochs)})

    learnt = {name: less(getattr(spec.distil, name)) for name in ("intermediate", "prediction")}
    rows = min((one for one in (spec.distil.limit, plan.rows) if one), default=None)
    distil = spec.distil.model_copy(update={**learnt, "general": None, "augment": None, "limit": rows})

    def healed(heal: recipe.Healing | None) -> recipe.Healing | None:
        phases = {name: less(getattr(heal, name)) for name in ("intermediate", "prediction")} if heal else {}
        return heal and heal.model_copy(update={**phases, "augment": False})  # no stage makes copies

    steps = [step.model_copy(update={"heal": healed(step.heal)}) for step in spec.compress]
    return spec.model_copy(update={"distil": distil, "compress": steps, "export": _lean(spec)})


def _lean(spec: Recipe) -> recipe.Export:
    """Without the files that another one stands for: `.ort` beside `.onnx`, float32 where small is wanted."""
    budget, made = spec.budget, {name: list(getattr(spec.export, name)) for name in ("onnx", "ort", "tflite")}
    if budget.max_size is not None or (budget.max_latency, budget.max_memory) == (None, None):
        made = {name: [one for one in found if one != "fp32"] or found for name, found in made.items()}
    made["ort"] = [one for one in made["ort"] if one not in made["onnx"]]
    return spec.export.model_copy(update=made)

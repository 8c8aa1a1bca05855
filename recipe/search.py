"""The part `search`: which students may be tried until one meets the budget, and how much each trial may cost."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from .parts import Distinct, Part, Positive

OPEN = ("student", "distil", "compress", "export")  # parts that a search may change


def _shape(layers: int, width: int, heads: int) -> dict[str, Any]:
    sizes = {"layers": layers, "hidden_size": width, "heads": heads, "intermediate_size": 4 * width}
    own = {"kind": "tinybert", "start": "activations", "layer_map": "uniform", **sizes}
    return {f"student.{name}": value for name, value in own.items()}


HEAL = {"prediction": {"epochs": 3, "learning_rate": 3e-4}}
_TRIM = {"trim": {"coverage": 0.995}, "heal": HEAL}
_RANK = {"factorize": {"rank": 64}, "heal": HEAL}
SPACE: dict[str, list[Any]] = {  # {} is the recipe's own shape
    "shape": [{}, _shape(2, 128, 4), _shape(3, 192, 6), _shape(4, 192, 6), _shape(4, 256, 8), _shape(4, 312, 12)],
    "compress": [
        [],
        [_TRIM],
        [_TRIM, {"share": {"part": "all"}, "heal": HEAL}],
        [_TRIM, {"prune": {"heads": 0.34, "ffn": 0.5}, "heal": HEAL}],
        [_TRIM, _RANK],
    ],
}


def _choices(space: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Each name is a key of the recipe, or stands for keys of the recipe that change together."""
    for name, values in space.items():
        if not values:
            raise ValueError(f"{name!r} has no value to choose from")
        for value in values:
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                raise ValueError(f"{name!r}: {value!r} is no value of a recipe; write it in quotes") from None
            for key in changes(name, value):
                if not isinstance(key, str):
                    raise ValueError(f"{name!r}: {key!r} is no key of a recipe")
                if key.partition(".")[0] not in OPEN:
                    raise ValueError(f"{key!r} is not for a search to change; it may change {', '.join(OPEN)}")
    return space


def changes(name: str, value: Any) -> dict[str, Any]:
    """What a value of a choice changes: keys of the recipe with what they become."""
    together = isinstance(value, dict) and name.partition(".")[0] not in OPEN
    return dict(value) if together else {name: value}


class Search(Part):
    """Trials of students that may meet the budget: cost first, then a short distillation; the best is trained in full.

    Cost is of the untrained student's own files. `space` holds the choices: a key of the recipe with its values, or a
    name of your own with mappings of keys that change together.
    """

    trials: Positive = Field(20, description="affordable students at most; those that are too costly come besides")
    minutes: float | None = Field(None, gt=0, description="no trial begins after so many; none begins again")
    rows: Positive | None = Field(None, description="training rows of a trial's distillation; all where not given")
    epochs: Positive = Field(2, description="of each phase of a trial at most")
    queries: Positive = Field(100, description="timed inferences of each file of a trial")
    stop: bool = Field(True, description="stop a trial whose dev score is under the median of those before it")
    space: Annotated[dict[str, Distinct[Any]], AfterValidator(_choices), Field(min_length=1)] = SPACE

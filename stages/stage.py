"""One step of a run, and how its part of the recipe stands in its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import recipe
from ..context import Context
from ..recipe import Recipe


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    folder: str
    version: int  # raised when the code changes what the stage makes
    needs: tuple[str, ...]  # stages before it, as far as they are wanted
    inputs: Callable[[Context], Any]  # what the key depends on beside the needs
    build: Callable[[Context, Path], dict[str, Any]]  # fills the folder, gives the results
    shared: bool = True  # may be taken from a sibling run
    wanted: Callable[[Recipe], bool] = lambda spec: True
    together: Callable[[Recipe], bool] = lambda spec: False  # whether several processes build it, each by `build`


# Fields that came after keys were made without them: a key holds them only where they are not their default.
LATER: dict[type[recipe.Part], set[str]] = {
    recipe.Optimization: {"precision", "optimizer"},
    recipe.Pretrain: {"start"},
    recipe.Relations: {"relations", "relation_kinds", "relation_heads", "relation_layer"},
    recipe.Intermediate: {"patient", "cosine", "projections"},
    recipe.Prediction: {"cosine", "divergence", "similarity", "contrastive", "contrastive_temperature"},
    recipe.Distil: {"cache", "general", "limit", "seed"},
    recipe.TeacherCache: {"shared"},
    recipe.Step: {"quantize"},
    recipe.Measure: {"seconds", "sessions", "target"},
    recipe.Trim: {"leading"},
    recipe.Healing: {"augment"},
    recipe.Export: {"processors", "calibration", "int4", "mixed"},
}


def stated(part: recipe.Part, *left_out: str) -> dict[str, Any]:
    """A part of the recipe as keys hold it."""
    found = part.model_dump(mode="json", exclude=set(left_out))
    for name, value in part:
        if isinstance(value, recipe.Part) and name in found:
            found[name] = stated(value)
    later = {name for kind, names in LATER.items() if isinstance(part, kind) for name in names}
    for name in later & found.keys():
        if getattr(part, name) == type(part).model_fields[name].default:
            del found[name]
    return found

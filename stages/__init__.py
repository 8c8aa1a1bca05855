"""The stages of a run, in their order. What one makes, and what its key depends on, stands in a file of this folder."""

from __future__ import annotations

from dataclasses import replace

from ..recipe import Recipe
from .artefacts import BUNDLE, EXPORT, MEASURE, VERIFY, files
from .stage import Stage
from .students import ANSWERS, AUGMENT, DISTIL, GENERALLY, of_step
from .teachers import KNOWLEDGE, PRETRAIN, TEACH


def of(spec: Recipe) -> list[Stage]:
    """The stages that a recipe asks for."""
    steps = [of_step(number, spec) for number in range(len(spec.compress))]
    export = replace(EXPORT, needs=(*EXPORT.needs, *spec.steps[-1:]))
    whole = (PRETRAIN, KNOWLEDGE, TEACH, GENERALLY, AUGMENT, DISTIL, *steps, export, VERIFY, MEASURE, BUNDLE)
    return [stage for stage in whole if stage.wanted(spec)]


__all__ = ["ANSWERS", "BUNDLE", "Stage", "files", "of"]

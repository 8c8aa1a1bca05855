"""Students: their shapes and how each starts from its teacher. A new student is a file and its line here."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from .. import recipe
from . import distilbert, tinybert

REGISTRY: dict[str, Callable[[PreTrainedModel, recipe.Student], PreTrainedModel]] = {
    "distilbert": distilbert.build,
    "tinybert": tinybert.build,
}


def build(teacher: PreTrainedModel, spec: recipe.Student) -> PreTrainedModel:
    """A student of the stated kind, started as the recipe says."""
    return REGISTRY[spec.kind](teacher, spec)

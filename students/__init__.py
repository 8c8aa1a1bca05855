"""Students: their shapes and how each starts from its teacher. A new student is a file and its line here."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedModel

from .. import recipe
from ..tasks.task import Head
from . import distilbert, tinybert

REGISTRY: dict[str, Callable[[PreTrainedModel, recipe.Student, Head], PreTrainedModel]] = {
    "distilbert": distilbert.build,
    "tinybert": tinybert.build,
}


def build(teacher: PreTrainedModel, spec: recipe.Student, head: Head = "sequence") -> PreTrainedModel:
    """A student of the stated kind with its teacher's head, started as the recipe says."""
    return REGISTRY[spec.kind](teacher, spec, head)

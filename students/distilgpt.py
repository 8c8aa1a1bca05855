"""DistilGPT (github.com/huggingface/transformers, research project `distillation`): a GPT of fewer layers.

- A stock GPT-2 (or GPT-1) checkpoint: every second layer of its teacher, or those of the layer map; embeddings,
  positions, final layer norm and head are the teacher's own, and what was tied stays tied.
- The width is the teacher's: with all layers it computes what its teacher does.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from .. import recipe
from ..tasks.encoding import Arrays
from . import heads, same_width
from .layer_map import resolve

LAYER = re.compile(r"^(.*\bh\.)(\d+)(\..*)$")


def configure(teacher: PreTrainedModel, spec: recipe.Student) -> Any:
    """The student's configuration; of its teacher only the configuration is read.

    Raises `UsageError` for another width than the teacher's, or for layers that it has not.
    """
    config = copy.deepcopy(teacher.config)
    inside = getattr(config, "n_inner", None) or 4 * config.n_embd
    same_width.check(spec, hidden_size=config.n_embd, heads=config.n_head, intermediate_size=inside)
    depth = config.n_layer
    config.n_layer = spec.layers or max(1, depth // 2)
    resolve(spec.layer_map, config.n_layer, depth)
    return config


def build(
    teacher: PreTrainedModel,
    spec: recipe.Student,
    head: heads.Purpose,
    rows: Sequence[Arrays],  # noqa: ARG001
) -> PreTrainedModel:
    """A decoder with the teacher's head, started from it; no `rows` are needed, for nothing is narrowed."""
    config = configure(teacher, spec)
    student = heads.create(head, config)
    if spec.start == "teacher":
        chosen = resolve(spec.layer_map, config.n_layer, teacher.config.n_layer)
        student.load_state_dict(start(teacher, chosen))
    return student


def start(teacher: PreTrainedModel, chosen: list[int]) -> dict[str, Tensor]:
    """The teacher's weights with the chosen layers (counted from 1) alone, by the student's names."""
    places = {layer - 1: place for place, layer in enumerate(chosen)}
    found = {}
    for name, weight in teacher.state_dict().items():
        if (match := LAYER.match(name)) is None:
            found[name] = weight
        elif int(match.group(2)) in places:
            found[f"{match.group(1)}{places[int(match.group(2))]}{match.group(3)}"] = weight
    return found

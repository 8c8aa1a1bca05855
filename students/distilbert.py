"""DistilBERT (arXiv 1910.01108): the teacher's width, every k-th of its layers, no segment embeddings, no pooler.

- A stock DistilBERT checkpoint: `AutoModel.from_pretrained` loads it with no attar installed.
- Starts from the teacher's embeddings and the layers of the map. The first segment's embedding is added to the
  positions, because DistilBERT has no segments and would otherwise start with a shifted input.
- The head is the stock one of the task, and starts from the teacher's where that has the same layers (`heads`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DistilBertConfig, PreTrainedModel

from .. import recipe
from ..tasks.encoding import Arrays
from ..teachers import layout
from . import heads, same_width
from .layer_map import resolve


def configure(teacher: PreTrainedModel, spec: recipe.Student) -> DistilBertConfig:
    """The student's configuration; of its teacher only the configuration is read.

    Raises `UsageError` for another width than the teacher's, or for layers that it has not.
    """
    shape = layout.shape(teacher)
    same_width.check(spec, hidden_size=shape.hidden, heads=shape.heads, intermediate_size=shape.intermediate)
    layers = spec.layers or max(1, shape.layers // 2)
    resolve(spec.layer_map, layers, shape.layers)
    return DistilBertConfig(
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.positions,
        n_layers=layers,
        n_heads=shape.heads,
        dim=shape.hidden,
        hidden_dim=shape.intermediate,
        activation=layout.activation(teacher),
        pad_token_id=teacher.config.pad_token_id,
        attention_dropout=0.0,
        seq_classif_dropout=0.1,
        **heads.labels(teacher),
    )


def build(
    teacher: PreTrainedModel,
    spec: recipe.Student,
    head: heads.Purpose,
    rows: Sequence[Arrays],  # noqa: ARG001
) -> PreTrainedModel:
    """A DistilBERT with the head of `teacher`, started from it; no `rows` are needed, for nothing is narrowed."""
    config = configure(teacher, spec)
    student = heads.create(head, config)
    if spec.start == "teacher":
        chosen = resolve(spec.layer_map, config.n_layers, layout.shape(teacher).layers)
        layout.write(student, start(teacher, chosen))
        heads.copy(teacher, student)
    return student


def start(teacher: PreTrainedModel, chosen: list[int]) -> layout.Weights:
    """The teacher's weights of the chosen layers (counted from 1), with the first segment folded into the positions."""
    weights = layout.read(teacher)
    started = {name: weights[name] for name in weights if not name[0].isdigit() and name != "segment"}
    if "segment" in weights:
        started["position"] = weights["position"] + weights["segment"][0]
    for place, layer in enumerate(chosen):
        prefix = f"{layer - 1}."
        started |= {f"{place}.{n.removeprefix(prefix)}": w for n, w in weights.items() if n.startswith(prefix)}
    return {name: weight.to(torch.float32) for name, weight in started.items()}

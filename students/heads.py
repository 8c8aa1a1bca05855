"""Classification heads: what a student's head takes over from its teacher's.

Families differ in what stands between the first token's state and the logits: BERT a tanh pooler, DistilBERT a ReLU
layer, ELECTRA and RoBERTa a dense layer inside the classifier. The dense weights and the logits' weights are copied
where the widths agree; the activation differs, and distillation mends that in the first steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..teachers import layout


def labels(teacher: PreTrainedModel) -> dict[str, Any]:
    """The configuration that a student's head shares with its teacher's."""
    config = teacher.config
    return {
        "num_labels": config.num_labels,
        "id2label": dict(config.id2label),
        "label2id": dict(config.label2id),
        "problem_type": config.problem_type,
    }


def parts(model: PreTrainedModel) -> tuple[nn.Linear | None, nn.Linear | None]:
    """The dense layer and the output layer of a classifier's head."""
    head: Any = getattr(model, "classifier", None)
    if hasattr(head, "out_proj"):
        return head.dense, head.out_proj
    dense: Any = getattr(model, "pre_classifier", None)
    pooler = getattr(layout.encoder(model), "pooler", None)
    if dense is None and pooler is not None:
        dense = pooler.dense
    return dense, head if isinstance(head, nn.Linear) else None


def copy(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Start the student's head from the teacher's where the shapes agree."""
    for source, target in zip(parts(teacher), parts(student), strict=True):
        if source is not None and target is not None and source.weight.shape == target.weight.shape:
            with torch.no_grad():
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)

"""The heads of students: the stock one of the task, and what it takes over from the teacher's.

- A head that reads each piece is one linear layer. One that reads the whole input has a dense layer before it, and
  families differ in that: BERT a tanh pooler, DistilBERT a ReLU layer, ELECTRA and RoBERTa a dense layer inside the
  classifier (ELECTRA's choice a `sequence_summary`). An embedding has no weights of its own, only its pooling.
- The dense weights and the logits' weights are copied where the widths agree; the activation differs, and distillation
  mends that in the first steps.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from ..tasks.task import Head
from ..teachers import heads as stock
from ..teachers import layout
from ..teachers.heads import pooling
from . import vocabulary_head

Purpose = Head | Literal["encoder", "mlm"]  # a task's head, or what a student learns on plain text
PLAIN = {"encoder": AutoModel, "mlm": AutoModelForMaskedLM, "lm": AutoModelForCausalLM}


def create(head: Purpose, config: Any) -> PreTrainedModel:
    """The stock model of the configuration's family that has the head, with random weights.

    An `encoder` has no head, and no pooler, which nothing on plain text would teach.
    """
    kind = PLAIN.get(head) or stock.HEADS[head].stock  # type: ignore[index]
    model: PreTrainedModel = kind.from_config(config)
    if head == "encoder" and hasattr(model, "pooler"):
        model.pooler = None
    return model


def labels(teacher: PreTrainedModel) -> dict[str, Any]:
    """The configuration that a student's head shares with its teacher's."""
    config = teacher.config
    pooled = {pooling.FIELD: getattr(config, pooling.FIELD)} if hasattr(config, pooling.FIELD) else {}
    return pooled | {
        "num_labels": config.num_labels,
        "id2label": dict(config.id2label),
        "label2id": dict(config.label2id),
        "problem_type": config.problem_type,
    }


def parts(model: PreTrainedModel) -> tuple[nn.Linear | None, nn.Linear | None]:
    """The dense layer and the output layer of a model's head."""
    head: Any = getattr(model, "classifier", None) or getattr(model, "qa_outputs", None)
    if hasattr(head, "out_proj"):
        return head.dense, head.out_proj
    dense: Any = getattr(model, "pre_classifier", None)
    if hasattr(model, "sequence_summary"):
        dense = model.sequence_summary.summary
    pooler = getattr(layout.encoder(model), "pooler", None)
    if dense is None and pooler is not None:
        dense = getattr(pooler, "dense", pooler)  # ALBERT's is the layer itself
    return dense if isinstance(dense, nn.Linear) else None, head if isinstance(head, nn.Linear) else None


def copy(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Start the student's head from the teacher's where the shapes agree."""
    for source, target in zip(parts(teacher), parts(student), strict=True):
        if source is not None and target is not None and source.weight.shape == target.weight.shape:
            with torch.no_grad():
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)
    vocabulary_head.copy(teacher, student)

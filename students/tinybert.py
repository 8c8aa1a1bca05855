"""TinyBERT (arXiv 1909.10351): a BERT of any depth and width, a stock BERT checkpoint.

- `start: teacher` narrows the mapped layers to the student's width (`narrow`; at the teacher's own width that changes
  nothing they compute), because a student that starts from random weights on a small data set may stay at chance.
- `start: activations` narrows by what the teacher computes on training rows (`activations`).
- `start: random` is the paper's task distillation without general distillation.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import BertConfig, PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..tasks.encoding import Arrays
from ..teachers import layout
from . import activations, heads, narrow
from .layer_map import resolve


def configure(teacher: PreTrainedModel, spec: recipe.Student) -> BertConfig:
    """The student's configuration; of its teacher only the configuration is read.

    Raises `UsageError` for sizes that cannot be, or that cannot be started as asked.
    """
    shape = layout.shape(teacher)
    layers = spec.layers or max(1, shape.layers // 2)
    hidden = spec.hidden_size or shape.hidden
    number = spec.heads or shape.heads
    intermediate = spec.intermediate_size or (shape.intermediate if hidden == shape.hidden else 4 * hidden)
    resolve(spec.layer_map, layers, shape.layers)
    if hidden % number:
        raise UsageError(f"{hidden} is not a multiple of {number} heads", where="student.hidden_size")
    if spec.start != "random" and (hidden > shape.hidden or intermediate > shape.intermediate):
        raise UsageError(
            f"a student wider than its teacher ({hidden} > {shape.hidden} or {intermediate} > "
            f"{shape.intermediate}) cannot start from it",
            where="student.start",
            fix="set student.start: random",
        )
    return BertConfig(
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.positions,
        type_vocab_size=max(1, shape.segments),
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=number,
        intermediate_size=intermediate,
        hidden_act=layout.activation(teacher),
        pad_token_id=teacher.config.pad_token_id,
        layer_norm_eps=getattr(teacher.config, "layer_norm_eps", 1e-12),
        attention_probs_dropout_prob=0.0,
        **heads.labels(teacher),
    )


def build(
    teacher: PreTrainedModel, spec: recipe.Student, head: heads.Purpose, rows: Sequence[Arrays]
) -> PreTrainedModel:
    """A small BERT with the head of `teacher`, started from it; `start: activations` looks at the `rows`."""
    config, shape = configure(teacher, spec), layout.shape(teacher)
    student = heads.create(head, config)
    chosen = resolve(spec.layer_map, config.num_hidden_layers, shape.layers)
    if spec.start == "activations":
        activations.start(teacher, student, chosen, rows)
    elif spec.start == "teacher":
        weights = layout.read(teacher)
        units = narrow.hidden_units(weights, shape, config.hidden_size)
        layout.write(student, narrow.narrow(weights, shape, layout.shape(student), chosen, units))
        narrow.narrow_head(teacher, student, units)
    return student

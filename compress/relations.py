"""Self-attention relations (MiniLM, arXiv 2002.10957; MiniLMv2, arXiv 2012.15828).

- A relation is softmax(A B' / sqrt(d)), (length, length) for each relation head, where A and B are the queries, keys or
  values of one layer. Its shape knows neither the width nor the heads of its model, so any student can learn it.
- MiniLM learns the attention distribution (query with key, eq. 6) and the value relation (eq. 7 and 8), with as many
  relation heads as both models have heads. MiniLMv2 (section 3.1) learns the query, key and value relations (each with
  itself) after the heads' vectors are joined and split anew into any number of relation heads.
- Both take one layer of the teacher and the last of the student.
- They teach encoders alone (`check`): a GPT's pieces would have relations with what they must not see.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..teachers import checkpoint, layout

PAIRS = {"query": (0, 0), "key": (1, 1), "value": (2, 2), "attention": (0, 1)}  # places of A and B in the vectors


def relation_error(student: Tensor, teacher: Tensor, mask: Tensor, kinds: Sequence[str], heads: int) -> Tensor:
    """Kullback-Leibler divergence of the student's relations from its teacher's, summed over `kinds`.

    Vectors (batch, 3, heads, length, d): queries, keys and values, whose heads and widths may differ; mask (batch,
    length). Each term is the mean over relation heads and real pieces, 1/(A |x|) sum_a sum_t KL(R_T || R_S) (MiniLM
    eq. 6 and 8, MiniLMv2 section 3.1). Padding is neither a row of a relation nor a column.
    """
    real = mask.to(torch.float32)
    total = student.new_zeros((), dtype=torch.float32)
    for first, second in (PAIRS[kind] for kind in kinds):
        ours, theirs = (
            log_relation(split_heads(vectors[:, first], heads), split_heads(vectors[:, second], heads), mask)
            for vectors in (student, teacher)
        )
        divergence = (theirs.exp() * (theirs - ours)).sum(-1)
        total = total + (divergence * real[:, None]).sum() / (real.sum() * heads)
    return total


def log_relation(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """log softmax(A B' / sqrt(d)) of (batch, heads, length, d): (batch, heads, length, length); 0 to padding."""
    scores = (first @ second.transpose(-1, -2)).float() * first.shape[-1] ** -0.5
    hidden = mask[:, None, None, :] == 0
    return F.log_softmax(scores.masked_fill(hidden, torch.finfo(torch.float32).min / 2), -1)


def split_heads(vectors: Tensor, count: int) -> Tensor:
    """Vectors (batch, heads, length, d), joined and split anew: (batch, count, length, heads * d / count)."""
    batch, heads, length, width = vectors.shape
    joined = vectors.transpose(1, 2).reshape(batch, length, heads * width)
    return joined.reshape(batch, length, count, heads * width // count).transpose(1, 2)


def check(teacher: PreTrainedModel, student: PreTrainedModel, plan: recipe.Relations, where: str) -> None:
    """Refuse relations that these two, of which only the shapes are read, cannot have; `where` is the plan's part."""
    large, small = layout.shape(teacher), layout.shape(student)
    if layout.kind(student.config) in checkpoint.DECODERS:
        raise UsageError(
            "relations teach encoders alone: a GPT's are of no use where it must not look",
            where=f"{where}.relations",
            fix="set it to 0",
        )
    relation_heads(plan.relation_heads, large.heads, large.hidden, small.hidden, where)
    if (plan.relation_layer or 1) > large.layers:
        raise UsageError(
            f"the teacher has {large.layers} layers and no layer {plan.relation_layer}", where=f"{where}.relation_layer"
        )


def relation_heads(asked: int | None, teacher_heads: int, wide: int, narrow: int, where: str = "") -> int:
    """How many relation heads: as asked, or the most up to the teacher's heads that divide both widths."""
    able = [count for count in range(1, narrow + 1) if wide % count == 0 and narrow % count == 0]
    if asked is None:
        return max(count for count in able if count <= teacher_heads)
    if asked not in able:
        raise UsageError(
            f"{asked} relation heads do not divide the widths {wide} and {narrow}",
            where=f"{where}.relation_heads",
            fix=f"take one of {', '.join(map(str, able))}, or leave it out",
        )
    return asked

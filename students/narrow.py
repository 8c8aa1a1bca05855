"""Narrowing: a smaller layer that computes almost what a wide one did.

- Hidden units: those with the largest share in what the layers read and write are kept, or those that vary most on
  training rows (`activations`). A subset, unlike a rotation,
  passes through layer norm unchanged but for the statistics of the units left out.
- Attention: per head, the score is x Q'K x, a product of rank `head_dim`; its best approximation of smaller rank
  (Eckart-Young, by SVD) gives the narrow query and key, biases included. Value and output likewise, by their product.
- Other numbers of heads: a student head has the mean score of its share of the teacher's (`head_map`), which is what
  the attention loss teaches it, and the sum of what they write. So none is left out, and a wider head has room for
  more of them. Of a teacher head that several have, each writes other singular directions: their sum is the whole.
- Feed-forward: the neurons with the largest product of incoming and outgoing norm are kept.
- With equal sizes every step is the identity up to a rotation inside the heads, so the outputs are equal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..teachers.layout import Shape, Weights
from . import head_map, heads, vocabulary_head


def narrow(weights: Weights, teacher: Shape, student: Shape, chosen: list[int], units: Tensor) -> Weights:
    """Weights for the student's shape from the hidden units `units` of the teacher's layers `chosen` (from 1)."""
    result = outside(weights, student, units)
    for place, number in enumerate(chosen):
        stay = strongest(weights, number, student.intermediate)
        found = attention(weights, number, units, teacher, student) | feed_forward(weights, number, units, stay)
        result |= {f"{place}.{name}": weight for name, weight in found.items()}
    return result


def outside(weights: Weights, student: Shape, units: Tensor) -> Weights:
    """The embeddings of these units, with their norm."""
    result: Weights = {name: weights[name][:, units] for name in ("word", "position", "segment") if name in weights}
    if "segment" not in result:
        result["segment"] = torch.zeros(student.segments, len(units))
    return result | {f"norm.{part}": weights[f"norm.{part}"][units] for part in ("weight", "bias")}


def _of(weights: Weights, number: int) -> Weights:
    """The weights of one layer, counted from 1."""
    prefix = f"{number - 1}."
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def hidden_units(weights: Weights, teacher: Shape, keep: int) -> Tensor:
    """Indices, rising, of the `keep` hidden units that carry most weight."""
    share = weights["word"].float().pow(2).mean(0) * weights["norm.weight"].float().pow(2)
    share = share / share.mean()
    for layer in range(teacher.layers):
        for name in ("query", "key", "value", "up"):  # what the layer reads from the unit
            reading = weights[f"{layer}.{name}.weight"].float().pow(2).mean(0)
            share = share + reading / reading.mean()
        for name in ("output", "down"):  # what it writes to the unit
            writing = weights[f"{layer}.{name}.weight"].float().pow(2).mean(1)
            share = share + writing / writing.mean()
    return share.topk(keep).indices.sort().values


def attention(weights: Weights, number: int, units: Tensor, teacher: Shape, student: Shape) -> Weights:
    """Query, key, value, output and norm of layer `number` (from 1), per head by low-rank products."""
    old = _of(weights, number)
    size = student.hidden // student.heads
    shares = head_map.shares(teacher.heads, student.heads)
    sources = [_products(old, units, part) for part in torch.arange(teacher.hidden).chunk(teacher.heads)]
    # Scores are divided by the square root of the head's width, which changes with it.
    scale = (size * teacher.heads / teacher.hidden) ** 0.5
    scores = [torch.stack([sources[head][0] for head in share]).mean(0) * scale for share in shares]
    queries, keys = zip(*(low_rank(score, size) for score in scores), strict=True)
    written = _parted([product for _, product in sources], shares)
    outputs, values = zip(*(low_rank(product, size) for product in written), strict=True)
    found = {"query": torch.cat(queries, 1).T, "key": torch.cat(keys), "value": torch.cat(values)}
    result = {f"{name}.weight": joined[:, :-1] for name, joined in found.items()}
    result |= {f"{name}.bias": joined[:, -1] for name, joined in found.items()}
    return result | {
        "output.weight": torch.cat(outputs, 1),
        "output.bias": old["output.bias"][units],
        "attention_norm.weight": old["attention_norm.weight"][units],
        "attention_norm.bias": old["attention_norm.bias"][units],
    }


def _products(old: Weights, units: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """What the head with the rows `part` computes of the units and 1: Q'K, (n + 1, n + 1), and O V, (n, n + 1)."""
    query, key, value = (
        torch.cat([old[f"{name}.weight"][part][:, units], old[f"{name}.bias"][part, None]], 1)
        for name in ("query", "key", "value")
    )
    return query.T @ key, old["output.weight"][units][:, part] @ value


def _parted(products: list[Tensor], shares: list[range]) -> list[Tensor]:
    """What each student head writes, so that the sum over all is that over the teacher's heads.

    A head that several shares hold is parted among them by its singular directions, which take turns.
    """
    found = [torch.zeros_like(products[0]) for _ in shares]
    for head, product in enumerate(products):
        owners = [place for place, share in enumerate(shares) if head in share]
        if len(owners) == 1:
            found[owners[0]] += product
            continue
        left, right = low_rank(product, min(product.shape))
        for turn, place in enumerate(owners):
            found[place] += left[:, turn :: len(owners)] @ right[turn :: len(owners)]
    return found


def low_rank(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (n, rank) and (rank, m) of the best rank-`rank` approximation of `product`, balanced."""
    left, values, right = torch.linalg.svd(product.double(), full_matrices=False)
    kept = min(rank, len(values))
    root = values[:kept].sqrt()
    first, second = left[:, :kept] * root, root[:, None] * right[:kept]
    if kept < rank:
        first = torch.nn.functional.pad(first, (0, rank - kept))
        second = torch.nn.functional.pad(second, (0, 0, 0, rank - kept))
    return first.to(product.dtype), second.to(product.dtype)


def strongest(weights: Weights, number: int, keep: int) -> Tensor:
    """Indices, rising, of the `keep` neurons of layer `number` (from 1) whose weights do most."""
    old = _of(weights, number)
    importance: Tensor = old["up.weight"].norm(dim=1) * old["down.weight"].norm(dim=0)
    return importance.topk(keep).indices.sort().values


def feed_forward(weights: Weights, number: int, units: Tensor, neurons: Tensor) -> Weights:
    """The feed-forward part and norm of layer `number` (from 1), of these neurons."""
    old = _of(weights, number)
    return {
        "up.weight": old["up.weight"][neurons][:, units],
        "up.bias": old["up.bias"][neurons],
        "down.weight": old["down.weight"][units][:, neurons],
        "down.bias": old["down.bias"][units],
        "output_norm.weight": old["output_norm.weight"][units],
        "output_norm.bias": old["output_norm.bias"][units],
    }


def narrow_head(teacher: PreTrainedModel, student: PreTrainedModel, units: Tensor) -> None:
    """Start the student's head from the kept units of the teacher's."""
    (dense, out), (small_dense, small_out) = heads.parts(teacher), heads.parts(student)
    with torch.no_grad():
        if dense is not None and small_dense is not None:
            small_dense.weight.copy_(dense.weight[units][:, units])
            small_dense.bias.copy_(dense.bias[units])
        if out is not None and small_out is not None and out.weight.shape[1] >= len(units):
            small_out.weight.copy_(out.weight[:, units])
            small_out.bias.copy_(out.bias)
    vocabulary_head.copy(teacher, student, units)

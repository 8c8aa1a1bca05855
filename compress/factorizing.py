"""A factorized word embedding: V × H as V × r times r × H (ALBERT, arXiv 1909.11942, section 3.1).

- It starts from the best product of rank r (Eckart-Young, by SVD), scaled so that both factors learn alike; at the
  embedding's own rank the student computes what it did.
- The norm behind the embeddings stays where it is, which is why neither ALBERT nor ELECTRA can hold it: theirs is
  before the second matrix. `teachers.compact` holds it.
- A head that writes the vocabulary shares its matrix with the embedding, and is refused.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from .. import recipe
from ..errors import UsageError
from ..students import narrow
from ..teachers import compact

FLOAT = 4  # bytes


def factorize(model: PreTrainedModel, spec: recipe.Factorize) -> PreTrainedModel:
    """A student with a word embedding of the spec's rank; `model` stays as it is.

    Raises `UsageError` for a rank above the embedding's width, a limit that rank 1 does not keep, an embedding that is
    factorized already, and a head that writes the vocabulary.
    """
    words = model.get_input_embeddings()
    if isinstance(words, compact.FactorizedEmbedding):
        raise UsageError("the word embedding is factorized already", where="factorize")
    if model.get_output_embeddings() is not None:
        what = "the student's head writes the vocabulary by its word embedding, which cannot be factorized"
        raise UsageError(what, where="factorize", fix="leave `factorize` out")
    used = rank(spec, *words.weight.shape)
    table, project = factors(words.weight.detach(), used)
    state = dict(model.state_dict())
    name = next(name for name, module in model.named_modules() if module is words)
    del state[f"{name}.weight"]
    state |= {f"{name}.table.weight": table, f"{name}.project.weight": project}
    return compact.filled(model, state, rank=used).requires_grad_(True)


def rank(spec: recipe.Factorize, pieces: int, width: int) -> int:
    """The spec's rank, or the largest, up to the width, whose two float32 matrices keep its limit of bytes."""
    if spec.rank is not None:
        if spec.rank > width:
            what = f"the word embedding is {width} wide, and the rank {spec.rank} would make it larger"
            raise UsageError(what, where="factorize.rank", fix=f"set it below {width}")
        return spec.rank
    assert spec.bytes is not None  # the recipe has one of both
    one = FLOAT * (pieces + width)
    if spec.bytes < one:
        raise UsageError(f"rank 1 takes {one:,} bytes", where="factorize.bytes", fix=f"allow {one:,} or more")
    return min(width, int(spec.bytes // one))


def factors(table: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(V, r) and (H, r) whose product table × project' is the best approximation of `table`, (V, H)."""
    left, right = narrow.low_rank(table, rank)
    return left.contiguous(), right.T.contiguous()

"""Factorized embeddings: exact at full rank, the best approximation below it, and as large as the recipe allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attar import recipe
from attar.compress import factorizing, trimming
from attar.errors import UsageError
from attar.teachers import checkpoint, compact, heads
from hypothesis import given
from hypothesis import strategies as st
from small_models import FAMILIES, answers, saved, small


@pytest.mark.parametrize("family", FAMILIES)
def test_the_full_rank_changes_nothing(family: str, tmp_path: Path) -> None:
    model = small(family)
    found = factorizing.factorize(model, recipe.Factorize(rank=16 if family == "albert" else 32))
    torch.testing.assert_close(answers(found), answers(model), atol=1e-5, rtol=1e-5)
    again = heads.load("sequence", saved(found, tmp_path)).eval()
    assert torch.equal(answers(again), answers(found))


@pytest.mark.parametrize("head", ["tokens", "span", "choice", "embedding"])
def test_every_head_keeps_its_answers(head: Any) -> None:
    model = small("bert", head)
    found = factorizing.factorize(model, recipe.Factorize(rank=32))
    torch.testing.assert_close(answers(found, head), answers(model, head), atol=1e-5, rtol=1e-5)


def test_below_it_the_error_is_that_of_the_dropped_singular_values() -> None:
    model = small()
    found = factorizing.factorize(model, recipe.Factorize(rank=7))
    ids = torch.arange(60)
    with torch.no_grad():
        error = (found.get_input_embeddings()(ids) - model.get_input_embeddings().weight).norm()
    dropped = torch.linalg.svdvals(model.get_input_embeddings().weight.detach())[7:]
    torch.testing.assert_close(error, dropped.norm())
    gone = checkpoint.unique_parameters(model) - checkpoint.unique_parameters(found)
    assert gone == 60 * 32 - 7 * (60 + 32)


@given(st.integers(1, 50_000), st.integers(1, 1024), st.integers(1, 10**9))
def test_the_rank_is_the_largest_within_the_bytes(pieces: int, width: int, limit: int) -> None:
    one = 4 * (pieces + width)
    spec = recipe.Factorize(bytes=limit)
    if limit < one:
        with pytest.raises(UsageError, match="rank 1 takes"):
            factorizing.rank(spec, pieces, width)
        return
    rank = factorizing.rank(spec, pieces, width)
    assert one * rank <= limit
    assert rank == width or one * (rank + 1) > limit


def test_the_embedding_learns_and_can_be_frozen() -> None:
    found = factorizing.factorize(small(), recipe.Factorize(rank=7))
    words = found.get_input_embeddings()
    assert words.table.weight.requires_grad and words.project.weight.requires_grad
    checkpoint.freeze_embeddings(found, True)
    assert not words.table.weight.requires_grad


def test_trimming_goes_before_or_after(tmp_path: Path) -> None:
    kept = list(range(0, 60, 2))
    found = trimming.trim(factorizing.factorize(small(), recipe.Factorize(rank=7)), kept)
    whole = factorizing.factorize(small(), recipe.Factorize(rank=7))
    again: Any = heads.load("sequence", saved(found, tmp_path)).eval()
    assert torch.equal(again.get_input_embeddings()(torch.arange(30)), whole.get_input_embeddings()(torch.tensor(kept)))
    before = factorizing.factorize(trimming.trim(small(), kept), recipe.Factorize(rank=7))
    assert compact.shape(before) == compact.shape(again)


def test_wrong_factorizing() -> None:
    with pytest.raises(UsageError, match=r"factorize.rank: .*32 wide"):
        factorizing.factorize(small(), recipe.Factorize(rank=33))
    found = factorizing.factorize(small(), recipe.Factorize(rank=7))
    assert isinstance(found.get_input_embeddings(), compact.FactorizedEmbedding)
    with pytest.raises(UsageError, match="factorized already"):
        factorizing.factorize(found, recipe.Factorize(rank=5))
    for family, head in (("bert", "mlm"), ("gpt2", "lm")):
        with pytest.raises(UsageError, match="writes the vocabulary"):
            factorizing.factorize(small(family, head), recipe.Factorize(rank=7))

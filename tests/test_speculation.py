"""Speculative decoding: the model's own greedy text, whatever the draft says, in fewer passes where it guesses well."""

from __future__ import annotations

from pathlib import Path

import pytest
from attar.errors import AttarError, UsageError
from attar.teachers import causal, continuation, speculation
from conftest import SENTENCES
from hypothesis import given, settings
from hypothesis import strategies as st
from test_causal import tiny_gpt


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[causal.Causal, causal.Causal]:
    """A model and a smaller one of other weights."""
    folder = tmp_path_factory.mktemp("pair")
    return causal.load(str(tiny_gpt(folder / "large", "gpt2", layers=3))), causal.load(
        str(tiny_gpt(folder / "small", "gpt2", layers=1))
    )


def greedy(lm: causal.Causal, ids: list[int], max_new: int) -> list[int]:
    (found,) = continuation.continued(lm, ids, max_new=max_new)
    return found


@settings(max_examples=12)
@given(st.sampled_from(SENTENCES), st.integers(1, 12), st.integers(1, 6))
def test_the_text_is_the_models_own(
    pair: tuple[causal.Causal, causal.Causal], text: str, max_new: int, lookahead: int
) -> None:
    lm, draft = pair
    found = speculation.speculate(lm, draft, lm.pieces(text), max_new=max_new, lookahead=lookahead)
    assert found.ids == greedy(lm, lm.pieces(text), max_new)
    assert 1 <= found.passes <= max(1, len(found.ids) + 1)


def test_a_draft_that_is_the_model_saves_passes(pair: tuple[causal.Causal, causal.Causal]) -> None:
    lm, other = pair
    ids = next(ids for text in SENTENCES if len(greedy(lm, ids := lm.pieces(text), 12)) == 12)
    twin = causal.load(str(Path(lm.model.name_or_path)))
    found = speculation.speculate(lm, twin, ids, max_new=12, lookahead=3)
    assert found.ids == greedy(lm, ids, 12)
    assert found.passes == 3 and found.accepted == 3  # three proposed and one of its own in every pass
    assert speculation.speculate(lm, other, ids, max_new=12, lookahead=3).passes >= found.passes


def test_what_cannot_work_together_is_refused(pair: tuple[causal.Causal, causal.Causal], tmp_path: Path) -> None:
    lm, draft = pair
    old = causal.load(str(tiny_gpt(tmp_path / "old", "openai-gpt")))
    with pytest.raises(UsageError, match="the draft is a GPT-1"):
        speculation.speculate(lm, old, [1], max_new=3)
    other = causal.load(str(tiny_gpt(tmp_path / "other", "gpt2", vocab_size=300)))
    with pytest.raises(UsageError, match="another vocabulary"):
        speculation.speculate(lm, other, [1], max_new=3)
    with pytest.raises(AttarError, match="the model holds"):
        speculation.speculate(lm, draft, [1], max_new=lm.positions)
    short = causal.load(str(tiny_gpt(tmp_path / "short", "gpt2", positions=8)))
    ids = (lm.pieces(SENTENCES[0]) * 4)[:12]
    with pytest.raises(AttarError, match="12 pieces of prompt and 4 new ones, and the draft holds 8"):
        speculation.speculate(lm, short, ids, max_new=4)
    assert speculation.speculate(lm, short, ids[:4], max_new=4).ids == greedy(lm, ids[:4], 4)
    with pytest.raises(AttarError, match="an empty prompt"):
        speculation.speculate(lm, draft, [], max_new=3)

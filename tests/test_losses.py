"""Losses: against the formula written out, golden values, and the property that padding never contributes."""

import math

import pytest
import torch
from attar.compress import attention, losses
from attar.compress.patient import patient_error, summary
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from torch import Tensor
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, ElectraConfig, ElectraModel


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mask_of(lengths: list[int], width: int) -> Tensor:
    return torch.tensor([[1] * length + [0] * (width - length) for length in lengths])


def test_soft_cross_entropy_by_hand() -> None:
    student, teacher = [0.5, -1.0], [2.0, 0.0]
    temperature = 2.0
    exp_t = [math.exp(v / temperature) for v in teacher]
    exp_s = [math.exp(v / temperature) for v in student]
    by_hand = -sum(t / sum(exp_t) * math.log(s / sum(exp_s)) for t, s in zip(exp_t, exp_s, strict=True)) * 4
    found = losses.soft_cross_entropy(torch.tensor([student]), torch.tensor([teacher]), temperature)
    assert float(found) == pytest.approx(by_hand, rel=1e-6)


def test_the_gradient_of_soft_cross_entropy_is_zero_at_the_teacher() -> None:
    logits = random(4, 3).requires_grad_()
    losses.soft_cross_entropy(logits, logits.detach().clone(), 3.0).backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6


def test_hidden_and_attention_errors_by_loops() -> None:
    lengths, width, hidden, heads = [3, 5], 5, 4, 2
    mask = mask_of(lengths, width)
    s, t = random(2, width, hidden), random(2, width, hidden, seed=1)
    total = [float(((s[b, i] - t[b, i]) ** 2).mean()) for b in range(2) for i in range(lengths[b])]
    assert float(losses.hidden_error(s, t, mask)) == pytest.approx(sum(total) / len(total), rel=1e-5)
    a, c = random(2, heads, width, width), random(2, heads, width, width, seed=1)
    pairs = [
        float((a[b, h, i, j] - c[b, h, i, j]) ** 2)
        for b in range(2)
        for h in range(heads)
        for i in range(lengths[b])
        for j in range(lengths[b])
    ]
    assert float(losses.attention_error(a, c, mask)) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_golden_values() -> None:
    mask = mask_of([2, 4], 4)
    s, t = random(2, 4, 3), random(2, 4, 3, seed=1)
    a, c = random(2, 2, 4, 4), random(2, 2, 4, 4, seed=1)
    found = [
        float(losses.soft_cross_entropy(s[0], t[0], 2.0)),
        float(losses.hidden_error(s, t, mask)),
        float(losses.attention_error(a, c, mask)),
        float(losses.cosine_error(s, t, mask)),
        float(patient_error([s[:, 0], s[:, 1]], [t[:, 0], t[:, 1]])),
    ]
    assert found == pytest.approx(GOLDEN, rel=1e-5)


def test_in_bfloat16_the_means_are_those_of_float32() -> None:
    """bfloat16 has 8 bits: it counts to 256, and a mean over 700 pieces in it would be off by percents."""
    mask = mask_of([301, 399], 400)
    s, t = (random(2, 400, 4, seed=seed).bfloat16() for seed in (0, 1))
    a, c = (random(2, 2, 400, 400, seed=seed).bfloat16() for seed in (2, 3))
    for measure, inputs in (
        (losses.hidden_error, (s, t, mask)),
        (losses.cosine_error, (s, t, mask)),
        (losses.attention_error, (a, c, mask)),
    ):
        found, exact = measure(*inputs), measure(*(one.float() for one in inputs))
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(float(exact), rel=1e-6)
    assert patient_error([s[:, 0]], [t[:, 0]]).dtype == torch.float32


def test_a_text_is_its_first_piece_or_its_last_real_one() -> None:
    states, mask = random(2, 4, 3), mask_of([2, 4], 4)
    assert torch.equal(summary(states, mask, last=False), states[:, 0])
    assert torch.equal(summary(states, mask, last=True), torch.stack([states[0, 1], states[1, 3]]))


GOLDEN = [4.262210845947266, 2.6504065990448, 2.6504478454589844, 1.100185751914978, 4.0804314613342285]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 4), st.integers(0, 99))
def test_padding_never_contributes(lengths: list[int], more: int, seed: int) -> None:
    width, batch = max(lengths), len(lengths)
    mask = mask_of(lengths, width)
    wide_mask = mask_of(lengths, width + more)
    s, t = random(batch, width, 4, seed=seed), random(batch, width, 4, seed=seed + 1)
    garbage = random(batch, more, 4, seed=seed + 2) * 1e3
    s_wide, t_wide = torch.cat([s, garbage], 1), torch.cat([t, -garbage], 1)
    wide = float(losses.hidden_error(s_wide, t_wide, wide_mask))
    assert wide == pytest.approx(float(losses.hidden_error(s, t, mask)), rel=1e-4, abs=1e-6)
    a, c = random(batch, 2, width, width, seed=seed), random(batch, 2, width, width, seed=seed + 1)
    a_wide, c_wide = (torch.nn.functional.pad(x, (0, more, 0, more), value=v) for x, v in ((a, 1e3), (c, -1e3)))
    assert float(losses.attention_error(a_wide, c_wide, wide_mask)) == pytest.approx(
        float(losses.attention_error(a, c, mask)), rel=1e-4
    )


@given(st.integers(1, 9), st.integers(1, 9))
def test_pooled_heads_are_those_of_adaptive_average_pooling(large: int, small: int) -> None:
    scores = random(2, large, 3, 3)
    expected = torch.nn.functional.adaptive_avg_pool1d(scores.flatten(2).transpose(1, 2), small).transpose(1, 2)
    found = losses.pool_heads(scores, small)
    assert found.shape == (2, small, 3, 3)
    assert torch.allclose(found.flatten(2), expected, atol=1e-6)
    if large % small == 0:  # groups of neighbours
        assert torch.allclose(found, scores.reshape(2, small, large // small, 3, 3).mean(2), atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra"])
def test_recorded_scores_are_those_before_softmax(family: str) -> None:
    """softmax(scores + mask) must be the attention probabilities that the library's eager path reports."""
    torch.manual_seed(0)
    small = {"vocab_size": 50, "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4}
    model = {
        "bert": lambda: BertModel(BertConfig(**small, intermediate_size=32)),
        "electra": lambda: ElectraModel(ElectraConfig(**small, intermediate_size=32, embedding_size=16)),
        "distilbert": lambda: DistilBertModel(
            DistilBertConfig(vocab_size=50, n_layers=2, dim=16, n_heads=4, hidden_dim=32)
        ),
    }[family]().eval()
    inputs = {"input_ids": torch.randint(1, 50, (2, 6)), "attention_mask": mask_of([6, 3], 6)}
    with torch.no_grad():
        before = model(**inputs).last_hidden_state
        with attention.recordable(model), attention.recording(frozenset({1, 2}), frozenset({2})) as found:
            inside = model(**inputs).last_hidden_state
        model.set_attn_implementation("eager")
        probabilities = model(**inputs, output_attentions=True).attentions
    assert torch.allclose(before, inside, atol=1e-5)
    assert {layer: tuple(one.shape) for layer, one in found.scores.items()} == dict.fromkeys((1, 2), (2, 4, 6, 6))
    hide = (1 - inputs["attention_mask"])[:, None, None, :] * -1e9
    for layer, expected in enumerate(probabilities, 1):
        assert torch.allclose(torch.softmax(found.scores[layer] + hide, -1), expected, atol=1e-5)
    assert found.vectors.keys() == {2}
    query, key, _ = found.vectors[2].unbind(1)
    assert torch.allclose(query @ key.transpose(-1, -2) / 2, found.scores[2], atol=1e-6)  # heads of width 4


def test_nothing_is_recorded_that_is_not_asked_for() -> None:
    model = BertModel(BertConfig(vocab_size=50, num_hidden_layers=2, hidden_size=16, num_attention_heads=4)).eval()
    own = model.config._attn_implementation
    with attention.recordable(model):
        assert model.config._attn_implementation == attention.NAME
        with attention.recording(frozenset({2})) as found:
            model(torch.ones(1, 3, dtype=torch.long))
    assert found.scores.keys() == {2} and not found.vectors
    assert model.config._attn_implementation == own


@settings(max_examples=25)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(0, 4), st.integers(0, 99))
def test_the_cosine_of_real_pieces_by_loops(lengths: list[int], more: int, seed: int) -> None:
    width, batch = max(lengths), len(lengths)
    s, t = random(batch, width, 4, seed=seed), random(batch, width, 4, seed=seed + 1)
    errors = [cosine(s[row, place], t[row, place]) for row in range(batch) for place in range(lengths[row])]
    padded = [torch.cat([x, random(batch, more, 4, seed=seed + 2) * size], 1) for x, size in ((s, 1e3), (t, 0.0))]
    found = float(losses.cosine_error(*padded, mask_of(lengths, width + more)))
    assert found == pytest.approx(sum(errors) / len(errors), rel=1e-4, abs=1e-6)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_patient_distances_by_loops(batch: int, layers: int, seed: int) -> None:
    """|a - b|^2 = 2 - 2 cos for vectors of length 1; a sum over layers, a mean over rows."""
    s, t = random(layers, batch, 5, seed=seed), random(layers, batch, 5, seed=seed + 1)
    by_hand = sum(2 * cosine(s[layer, row], t[layer, row]) for layer in range(layers) for row in range(batch)) / batch
    assert float(patient_error(list(s), list(t))) == pytest.approx(by_hand, rel=1e-4)
    assert float(patient_error(list(s), list(s * 3))) == pytest.approx(0, abs=1e-6)

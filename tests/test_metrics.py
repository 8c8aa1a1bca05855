"""Metrics against scikit-learn and scipy."""

import numpy as np
import pytest
from attar.tasks import batching, metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

pairs = st.integers(2, 5).flatmap(
    lambda k: st.tuples(st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1))
)


@given(pairs)
def test_classification_scores(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, rows = case
    answers, truth = np.array(rows).T
    assert metrics.accuracy(answers, truth) == pytest.approx(reference.accuracy_score(truth, answers))
    assert metrics.mcc(answers, truth, classes) == pytest.approx(reference.matthews_corrcoef(truth, answers), abs=1e-9)
    options = {"average": "binary", "pos_label": 1} if classes == 2 else {"average": "macro"}
    expected = reference.f1_score(truth, answers, labels=range(classes), zero_division=0, **options)
    assert metrics.f1(answers, truth, classes) == pytest.approx(expected)


values = st.floats(-100, 100).map(lambda value: round(value, 2))


@given(st.lists(st.tuples(values, values), min_size=3))
def test_correlations(rows: list[tuple[float, float]]) -> None:
    answers, truth = np.array(rows).T
    if np.ptp(answers) < 0.01 or np.ptp(truth) < 0.01:
        assert metrics.spearman(answers, truth) == 0.0
        return
    assert metrics.pearson(answers, truth) == pytest.approx(stats.pearsonr(answers, truth).statistic, abs=1e-6)
    assert metrics.spearman(answers, truth) == pytest.approx(stats.spearmanr(answers, truth).statistic, abs=1e-6)


@given(
    st.lists(st.integers(1, 128), min_size=1, max_size=500), st.integers(1, 33), st.integers(0, 9), st.integers(0, 9)
)
def test_batches_hold_every_row_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    for batches in (batching.shuffled(lengths, size, seed, epoch), batching.ordered(lengths, size)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert max(len(batch) for batch in batches) <= size
        assert len(batches) <= -(-len(lengths) // size) + len(lengths) // (batching.POOL * size) + 1


def test_batches_are_bucketed_and_follow_from_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(4, 64, 5000).tolist()
    batches = batching.shuffled(lengths, 32, 7, 1)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)
    again = batching.shuffled(lengths, 32, 7, 1)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    other = batching.shuffled(lengths, 32, 7, 2)
    assert any(a.tolist() != b.tolist() for a, b in zip(batches, other, strict=True))

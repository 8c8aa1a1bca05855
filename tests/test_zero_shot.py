"""Zero- and k-shot scores against scores taken one candidate at a time."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from attar.errors import AttarError, UsageError
from attar.tasks.prompts import Candidates, Prompt, Shots, endings, last_word
from attar.tasks.table import Example
from attar.teachers import causal, zero_shot
from attar.teachers.continuation import continuations
from test_causal import KINDS, TEXTS, WORDS, tiny_gpt

PROMPT = Prompt({"pos": "good", "neg": "long and dull"}, pattern="{text} It is", description="Judge.")
POOL = [Example(text, None, ("pos", "neg")[n % 2], f"pool:{n}") for n, text in enumerate(TEXTS)]
QUERIES = [Example(text, None, label, f"dev:{n}") for n, (text, label) in enumerate([
    ("The boat was warm and dry.", "pos"),
    ("The letter was badly lit.", "neg"),
    ("A clever film about a garden.", "pos"),
    ("He read it twice.", "pos"),
    ("She saw it again!", "neg"),
])]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> causal.Causal:
    folder = tiny_gpt(tmp_path_factory.mktemp(request.param) / "model", request.param, positions=120)
    return causal.load(str(folder))


def alone(lm: causal.Causal, context: str, continuation: str) -> causal.Likelihood:
    return causal.log_likelihoods(lm, [(context, continuation)])[0]


def test_last_words(lm: causal.Causal) -> None:
    items = [last_word(text) for text in TEXTS]
    for word in WORDS:  # some that are right; half a letter of UTF-8 would be read as other pieces
        (made,) = continuations(lm, word, max_new=1)
        if "\ufffd" not in made:
            items.append(items[0]._replace(context=word, continuation=made))
    scores = [alone(lm, item.context, item.continuation) for item in items]
    found = zero_shot.last_words(lm, items, batch_size=3)
    right = sum(score.greedy for score in scores)
    assert 0 < right < len(items)
    assert found.accuracy == right / len(items)
    assert found.perplexity == pytest.approx(math.exp(-sum(s.total for s in scores) / len(items)), rel=1e-4)
    assert (found.items, found.truncated) == (len(items), 0)


@pytest.mark.parametrize("norm", ["none", "pieces", "bytes", "characters"])
def test_a_choice_is_the_likeliest_candidate(lm: causal.Causal, norm: causal.Norm) -> None:
    ways = ["ran.", "crossed the lake and nobody saw it again", "was long", "é à ü."]
    items = [endings(text[:24], ways[: 2 + n % 3], n % 2) for n, text in enumerate(TEXTS)]
    expected = [int(np.argmax([alone(lm, item.context, way).by(norm) for way in item.candidates])) for item in items]
    choices, score = zero_shot.choose(lm, items, norm, batch_size=4)
    assert choices == expected
    assert score.accuracy == sum(c == item.gold for c, item in zip(choices, items, strict=True)) / len(items)
    assert score.chance == pytest.approx((3 / 2 + 2 / 3 + 2 / 4) / 7)  # 3 items of two, 2 of three, 2 of four
    assert score.majority == 4 / 7
    if norm == "none":  # a sum prefers the short ones, a mean need not: the normalisation does something
        by_pieces, _ = zero_shot.choose(lm, items, "pieces")
        assert by_pieces != choices


def test_cut_items_are_counted(lm: causal.Causal) -> None:
    items = [Candidates(" ".join(TEXTS * 4), (" a", " the boat"), 0), Candidates("She", (" a", " the boat"), 0)]
    assert zero_shot.choose(lm, items)[1].truncated == 1


def test_k_shot_is_each_prompt_by_itself(lm: causal.Causal) -> None:
    study = zero_shot.KShot(PROMPT, QUERIES, Shots(POOL), counts=(0, 1, 2), seeds=(3, 4, 5))
    zero, one, two = study.run({"tiny": lm})
    assert (len(zero.accuracies), len(one.accuracies), len(two.accuracies)) == (1, 3, 3)
    for score in (zero, one, two):
        for seed, accuracy in zip((3, 4, 5), score.accuracies, strict=False):
            right = 0
            for query in QUERIES:
                item = PROMPT.write(query, Shots(POOL).draw(score.k, seed, query))
                values = [alone(lm, item.context, way).by("pieces") for way in item.candidates]
                right += int(np.argmax(values)) == item.gold
            assert accuracy == pytest.approx(right / len(QUERIES))
        assert score.mean == pytest.approx(sum(score.accuracies) / len(score.accuracies))
    assert zero.spread == 0.0
    mean = sum(two.accuracies) / 3
    assert two.spread == pytest.approx(math.sqrt(sum((a - mean) ** 2 for a in two.accuracies) / 2))
    assert (zero.chance, zero.majority, zero.items) == (0.5, 3 / 5, 5)
    assert one.shown == 1 and two.shown == 2


def test_examples_that_do_not_fit_are_left_out_whole(lm: causal.Causal) -> None:
    study = zero_shot.KShot(PROMPT, QUERIES, Shots(POOL), counts=(6,), seeds=(0,))
    for query in QUERIES:
        item, shown = study.write(lm, query, 6, 0)
        drawn = study.shots.draw(6, 0, query)
        assert 0 < shown < 6
        assert item == PROMPT.write(query, drawn[6 - shown :])  # the last ones, next to the query, stay
        longest = max(len(lm.pieces(way)) for way in item.candidates)
        assert len(lm.pieces(item.context)) + longest - 1 <= lm.positions
        wider = PROMPT.write(query, drawn[5 - shown :])  # and one more would not have fitted
        assert len(lm.pieces(wider.context)) + longest - 1 > lm.positions
    (score,) = study.run({"tiny": lm})
    assert score.truncated == 0
    assert 0 < score.shown < 6
    assert f"tiny, k = 6: {score.shown:.1f}" in zero_shot.table([score])


def test_a_table_over_k_and_model_size(tmp_path: Path, lm: causal.Causal) -> None:
    small = causal.load(str(tiny_gpt(tmp_path / "small", "gpt2", positions=120, layers=1)))
    study = zero_shot.KShot(PROMPT, QUERIES, Shots(POOL), counts=(0, 2), seeds=(0, 1))
    scores = study.run({"a larger": lm, "small": small})
    assert [(score.model, score.k) for score in scores] == [
        ("small", 0),
        ("small", 2),
        ("a larger", 0),
        ("a larger", 2),
    ]
    assert scores[0].parameters == sum(weight.numel() for weight in small.model.parameters())
    lines = zero_shot.table(scores).splitlines()
    assert lines[0] == "| model | parameters | k = 0 | k = 2 |"
    zero, two = scores[:2]
    cells = f"{100 * zero.mean:.1f} | {100 * two.mean:.1f} ± {100 * two.spread:.1f}"
    assert lines[2] == f"| small | {zero.parameters:,} | {cells} |"
    assert lines[5] == "Accuracy in % over 5 queries; chance 50.0, always the commonest label 60.0."


def test_nothing_to_score(lm: causal.Causal) -> None:
    for call in (lambda: zero_shot.last_words(lm, []), lambda: zero_shot.choose(lm, []), lambda: zero_shot.table([])):
        with pytest.raises(AttarError, match="no items"):
            call()
    for counts, seeds in (((), (0,)), ((1,), ()), ((-1,), (0,))):
        with pytest.raises(UsageError, match="shots"):
            zero_shot.KShot(PROMPT, QUERIES, Shots(POOL), counts, seeds)
    with pytest.raises(AttarError, match=r"dev:0"):
        zero_shot.KShot(PROMPT, QUERIES, Shots(POOL), (8,), (0,)).run({"tiny": lm})

"""The best span against a search over all spans, and when a question has no answer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from attar.errors import AttarError
from attar.tasks import spans, squad_metrics, windows
from attar.tasks.encoding import Encoder, Features
from attar.tasks.spans import Logits, Prediction, Span
from attar.tasks.squad import Answer, Question
from attar.tasks.windows import Window
from conftest import SENTENCES, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
CONTEXT = " ".join(WORDS)
PLACES = [(CONTEXT.index(word), CONTEXT.index(word) + len(word)) for word in WORDS]
ASKED = Question("q", "which?", CONTEXT, where="here")


def window(first: int, last: int, row: int = 0, before: int = 4) -> Window:
    """A window on the words `first` to `last` with `before` pieces in front and one behind."""
    count = before + last - first + 2
    return Window(row, Features([1] * count, [0] * count), before, PLACES[first : last + 1])


def logits(row: Window, **at: tuple[float, float]) -> Logits:
    """Zeros but for some words, given as (start, end); `null` is piece 0."""
    values = np.zeros((len(row.features.input_ids), 2), np.float32)
    for word, pair in at.items():
        place = 0 if word == "null" else row.first + row.offsets.index(PLACES[WORDS.index(word)])
        values[place] = pair
    return values


@given(
    st.integers(1, 8),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.float32(0.5), np.float32(8.0)]),
)
def test_the_best_spans_are_those_of_a_full_search(count: int, longest: int, n: int, seed: int, scale: float) -> None:
    row = window(0, count - 1)
    # Quarters are exact in float32, so that sums can be compared; ties are common.
    values = np.round(np.random.default_rng(seed).normal(0, scale, (count + 5, 2)) * 4).astype(np.float32) / 4
    ((found, null),) = spans.predict([ASKED], [row], [values], n, longest)
    every = [
        float(values[4 + i, 0] + values[4 + j, 1]) for i in range(count) for j in range(i, min(count, i + longest))
    ]
    assert [span.score for span in found] == sorted(every, reverse=True)[:n]
    assert null == float(values[0].sum())
    for span in found:
        assert CONTEXT[span.start : span.end] == span.text
        first, last = (WORDS.index(word) for word in (span.text.split()[0], span.text.split()[-1]))
        assert first <= last < first + longest
        assert span.score == float(values[4 + first, 0] + values[4 + last, 1])
    assert len({(span.start, span.end) for span in found}) == len(found)


def test_only_pieces_of_the_context_are_answers() -> None:
    row = window(0, 7)
    values = logits(row, three=(2, 0), four=(0, 3))
    values[1:4] = 50  # the question
    values[-1] = 50  # the last [SEP]
    (found,) = spans.predict([ASKED], [row], [values])
    assert found.spans[0] == Span("three four", *(PLACES[2][0], PLACES[3][1]), 5.0)


def test_an_end_before_its_start_is_no_span() -> None:
    row = window(0, 7)
    (found,) = spans.predict([ASKED], [row], [logits(row, two=(0, 9), six=(9, 0))])
    assert found.spans[0].score == 9.0  # either alone, never both
    (short,) = spans.predict([ASKED], [row], [logits(row, two=(9, 0), six=(0, 9))], max_length=4)
    assert short.spans[0].score == 9.0
    (long,) = spans.predict([ASKED], [row], [logits(row, two=(9, 0), six=(0, 9))], max_length=5)
    assert long.text() == "two three four five six" and long.spans[0].score == 18.0


def test_windows_of_a_question_are_joined() -> None:
    other = Question("r", "which?", CONTEXT)
    rows = [window(0, 4), window(3, 7), window(0, 7, row=1)]
    values = [
        logits(rows[0], four=(1, 1), null=(3, 3)),
        logits(rows[1], four=(2, 2), seven=(1, 1.5), null=(-1, 0.5)),
        logits(rows[2], one=(5, 5), null=(7, 7)),
    ]
    one, two = spans.predict([ASKED, other], rows, values)
    assert [(span.text, span.score) for span in one.spans if span.text in ("four", "seven")] == [
        ("four", 4.0),  # two windows see it, and the better one counts, once
        ("seven", 2.5),
    ]
    assert one.null == -0.5  # the least over the windows: the second one has an answer
    assert one.no_answer == -4.5 and one.text(0.0) == "four"
    assert two.no_answer == 4.0
    assert (two.text(), two.text(3.9), two.text(4.0)) == ("one", "", "one")


def test_blanks_are_no_answer_and_nothing_has_no_span() -> None:
    context = "a  b"
    row = Window(0, Features([1] * 6, [0] * 6), 2, [(0, 1), (1, 3), (3, 4)])
    values = np.zeros((6, 2), np.float32)
    values[3] = 9
    (found,) = spans.predict([Question("q", "?", context)], [row], [values])
    assert {span.text for span in found.spans} == {"a", "b", "a  b"}
    assert found.spans[0].score == 9.0  # the two blanks by themselves would have 18
    empty = Window(0, Features([1] * 3, [0] * 3), 2, [])
    (nothing,) = spans.predict([Question("q", "?", "\u200b")], [empty], [values[:3]])
    assert nothing == Prediction([], 0.0) and nothing.text() == "" and nothing.no_answer == math.inf


def test_what_does_not_belong_together() -> None:
    row = window(0, 7)
    with pytest.raises(AttarError, match="0 rows of logits for 1 windows"):
        spans.predict([ASKED], [row], [])
    with pytest.raises(AttarError, match=r"shape \(3, 2\) for a window of 13 pieces"):
        spans.predict([ASKED], [row], [np.zeros((3, 2), np.float32)])
    with pytest.raises(AttarError, match="here: the question has no window"):
        spans.predict([ASKED, ASKED], [row], [logits(row)])


def test_logits_that_know_the_labels_answer_everything(tmp_path: Path) -> None:
    """Labels to logits to texts to scores: nothing is lost on the way, and the threshold parts the impossible."""
    context = " ".join(SENTENCES * 3)
    encoder = Encoder(tiny_tokenizer(tmp_path), 48)
    golds = [sentence.split()[3] for sentence in SENTENCES]
    starts = [context.rindex(f" {gold} ") + 1 for gold in golds]
    questions = [
        Question(str(n), "which word?", context, (Answer(gold, start),))
        for n, (gold, start) in enumerate(zip(golds, starts, strict=True))
    ]
    questions += [Question(f"none {n}", "which word?", context, impossible=True) for n in range(3)]
    rows = windows.encode(questions, encoder, 16)
    values = []
    for row in rows:
        known = np.zeros((len(row.features.input_ids), 2), np.float32)
        known[row.start, 0] += 5
        known[row.end, 1] += 5
        values.append(known)
    found = spans.predict(questions, rows, values)
    assert [row.spans[0].start for row in found[: len(starts)]] == starts
    scores = squad_metrics.score(questions, [row.text() for row in found], [row.no_answer for row in found])
    assert scores["exact"] == scores["f1"] == scores["NoAns_f1"] == scores["best_f1"] == 1.0
    assert squad_metrics.score(questions, [row.text() for row in found])["NoAns_exact"] == 0.0

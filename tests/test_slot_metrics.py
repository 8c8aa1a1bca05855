"""Slot metrics: cases worked by hand, and conlleval's own procedure as an independent reference."""

from collections import Counter

import pytest
from attar.errors import AttarError
from attar.tasks import slot_metrics
from attar.tasks.slot_metrics import Counts
from attar.tasks.tagging import Answer
from hypothesis import given
from hypothesis import strategies as st


def counts(answer: str, truth: str) -> dict[str, Counts]:
    return slot_metrics.per_type([answer.split()], [truth.split()])


@pytest.mark.parametrize(
    ("answer", "truth", "right", "answered", "expected"),
    [
        ("O B-a I-a O", "O B-a I-a O", 1, 1, 1),
        ("B-a I-a O O", "B-a I-a I-a O", 0, 1, 1),  # an end too early
        ("B-a I-a I-a O", "O B-a I-a O", 0, 1, 1),  # a start too early
        ("B-a I-a", "B-a B-a", 0, 1, 2),  # two joined into one
        ("B-a B-a", "B-a I-a", 0, 2, 1),  # one cut in two
        ("I-a I-a O", "B-a I-a O", 1, 1, 1),  # a stray I- starts a span
        ("O O I-a", "O O B-a", 1, 1, 1),
        ("B-b I-b", "B-a I-a", 0, 1, 1),  # another type
        ("B-a I-b", "B-a O", 1, 2, 1),  # a change of type ends the span
        ("B-a I-a", "B-a I-a", 1, 1, 1),
        ("O O", "O O", 0, 0, 0),
        ("B-a O B-a I-a", "B-a O B-a O", 1, 2, 2),
    ],
)
def test_spans_by_hand(answer: str, truth: str, right: int, answered: int, expected: int) -> None:
    assert slot_metrics.micro(counts(answer, truth)) == (right, answered, expected)


def test_scores_by_hand() -> None:
    truth = [
        Answer(["B-a", "I-a", "O", "B-b"], "x"),
        Answer(["O", "O", "B-a"], "y"),
        Answer(["O", "O"], "x"),
    ]
    answers = [
        Answer(["B-a", "I-a", "O", "B-c"], "x"),
        Answer(["B-b", "O", "B-a"], "x"),
        Answer(["O", "O"], "x"),
    ]
    # spans: right a and a; answered a, c, b, a; true a, b, a
    assert slot_metrics.score(answers, truth) == pytest.approx(
        {
            "slot_precision": 2 / 4,
            "slot_recall": 2 / 3,
            "slot_f1": 4 / 7,
            "word_accuracy": 7 / 9,
            "sentence_accuracy": 1 / 3,
            "intent_accuracy": 2 / 3,
            "joint_accuracy": 1 / 3,
        }
    )
    types = slot_metrics.per_type([row.labels for row in answers], [row.labels for row in truth])
    assert types == {"a": (2, 2, 2), "b": (0, 1, 1), "c": (0, 1, 0)}
    assert (types["a"].f1, types["b"].f1, types["c"].recall) == (1.0, 0.0, 0.0)


def test_joint_needs_both_and_a_stray_inside_is_no_mistake() -> None:
    truth = [Answer(["B-a"], "x")] * 3
    answers = [Answer(["I-a"], "x"), Answer(["B-a"], "y"), Answer(["O"], "x")]
    found = slot_metrics.score(answers, truth)
    assert found["sentence_accuracy"] == found["intent_accuracy"] == pytest.approx(2 / 3)
    assert found["joint_accuracy"] == pytest.approx(1 / 3)
    assert found["word_accuracy"] == pytest.approx(1 / 3)  # words are compared as they are written


def test_without_intents_there_is_no_intent_score() -> None:
    assert "joint_accuracy" not in slot_metrics.score([Answer(["O"], None)], [Answer(["B-a"], None)])


def test_answers_of_another_length_are_named() -> None:
    with pytest.raises(AttarError, match="sentence 2: 1 answers for 2 words"):
        slot_metrics.per_type([["O"], ["O"]], [["O"], ["O", "O"]])


def conlleval(answers: list[list[str]], truth: list[list[str]]) -> dict[str, tuple[int, int, int]]:
    """The script's procedure: word by word, with flags for chunks that begin, end, and are right so far."""
    right: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    expected: Counter[str] = Counter()

    def begins(before: str, label: str) -> bool:
        return label != "O" and (label[0] == "B" or before == "O" or before[2:] != label[2:])

    def ends(before: str, label: str) -> bool:
        return before != "O" and (label == "O" or label[0] == "B" or before[2:] != label[2:])

    for row, true_row in zip(answers, truth, strict=True):
        before, true_before, in_right = "O", "O", False
        for label, true_label in zip([*row, "O"], [*true_row, "O"], strict=True):
            if in_right:
                end, true_end = ends(before, label), ends(true_before, true_label)
                if end and true_end:
                    right[true_before[2:]] += 1
                    in_right = False
                elif end != true_end or label[2:] != true_label[2:]:
                    in_right = False
            begin, true_begin = begins(before, label), begins(true_before, true_label)
            if begin and true_begin and label[2:] == true_label[2:]:
                in_right = True
            answered[label[2:]] += begin
            expected[true_label[2:]] += true_begin
            before, true_before = label, true_label
    return {kind: (right[kind], answered[kind], expected[kind]) for kind in sorted(answered | expected)}


LABEL = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])
ROWS = st.lists(st.lists(st.tuples(LABEL, LABEL), max_size=7), max_size=4)


@given(ROWS)
def test_counts_are_those_of_conlleval(rows: list[list[tuple[str, str]]]) -> None:
    answers = [[pair[0] for pair in row] for row in rows]
    truth = [[pair[1] for pair in row] for row in rows]
    types = slot_metrics.per_type(answers, truth)
    assert types == conlleval(answers, truth)
    total = slot_metrics.micro(types)
    if total.precision + total.recall:
        assert total.f1 == pytest.approx(2 * total.precision * total.recall / (total.precision + total.recall))
    else:
        assert total.f1 == 0.0


@given(ROWS)
def test_answers_that_are_the_truth_are_all_right(rows: list[list[tuple[str, str]]]) -> None:
    truth = [[pair[1] for pair in row] for row in rows]
    total = slot_metrics.micro(slot_metrics.per_type(truth, truth))
    assert total.right == total.answered == total.truth

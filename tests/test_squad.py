"""SQuAD files and their scores: every bad row told with its place, the official EM and F1 worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar.errors import AttarError
from attar.tasks import squad, squad_metrics
from attar.tasks.squad import Answer, Question
from helpers import data_set
from hypothesis import given
from hypothesis import strategies as st

CONTEXT = "The ferry leaves Øyvik at nine. A second one 🚢 follows at noon."


def row(name: str = "q1", text: str = "nine", start: int | None = None, **more: Any) -> dict[str, Any]:
    place = CONTEXT.find(text) if start is None else start
    return {"id": name, "question": "When?", "answers": [{"text": text, "answer_start": place}], **more}


def write(path: Path, *rows: Any, context: Any = CONTEXT, title: str = "Ferries") -> Path:
    file = {"version": "1.1", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(rows)}]}]}
    path.write_text(json.dumps(file), "utf-8")
    return path


def test_questions_are_read_with_their_places(tmp_path: Path) -> None:
    two = row("q2", "noon")
    two["answers"].append({"text": "at noon", "answer_start": CONTEXT.find("at noon")})
    none = {"id": "q3", "question": "How much?", "answers": [], "is_impossible": True}
    reading = squad.read(write(tmp_path / "a.json", row(), two, none))
    first, second, third = reading.questions
    assert first[:3] == ("q1", "When?", CONTEXT)
    assert [answer.text for answer in second.answers] == ["noon", "at noon"]
    assert CONTEXT[second.answers[0].start :].startswith("noon")  # after an emoji, which is one character
    assert third.impossible and not third.answers and not first.impossible
    assert second.article == "Ferries 1" and "a.json: article 1, paragraph 1, question 2 (id q2)" in second.where
    assert reading.remark() == ""


def test_an_answer_out_of_place_is_counted_or_refused(tmp_path: Path) -> None:
    half = row("q2")
    half["answers"].append({"text": "ten", "answer_start": 4})
    utf16 = row("q3", "noon", CONTEXT.find("noon") + 1)  # what a program that counts UTF-16 units writes
    path = write(tmp_path / "a.json", row("q1", "ten", -3), half, utf16, row("q4", "  ", 3), row("q5"))
    reading = squad.read(path)
    assert [question.id for question in reading.questions] == ["q2", "q5"]
    assert [answer.text for answer in reading.questions[0].answers] == ["nine"]
    assert len(reading.misplaced) == 4 and len(reading.skipped) == 3
    assert "4 answers" in reading.remark() and "3 questions" in reading.remark() and "(id q1)" in reading.remark()
    with pytest.raises(AttarError, match=r"a\.json: article 1, paragraph 1, question 1 \(id q1\).*'ten'.*at -3"):
        squad.read(path, strict=True)


def test_a_question_nobody_answered_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", row(), {"id": "q2", "question": "Who?", "answers": []})
    assert [place.split("(")[-1] for place in squad.read(path).skipped] == ["id q2)"]
    with pytest.raises(AttarError, match=r"id q2.*no answer.*is_impossible"):
        squad.read(path, strict=True)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(), row()], r"question 2.*'q1' stands already at .*question 1"),
        ([row() | {"id": " "}], "question 1: the question has no id"),
        ([row() | {"question": "\n"}], r"id q1\): no words in 'question'"),
        ([row() | {"question": "\ud83d"}], "lone surrogate"),
        ([row() | {"answers": {"text": ["nine"]}}], r"id q1\): no list 'answers'"),
        ([row() | {"answers": [{"text": "nine"}]}], r"id q1\): an answer needs `text` and a whole number"),
        ([row(start=1) | {"answers": ["nine"]}], "an answer needs"),
        ([row(is_impossible=True)], "impossible and has answers"),
        ([row(is_impossible=1)], "must be true or false"),
        (["q1"], "question 1: a question must be a JSON object"),
        ([row("q1", "ten", 0)], "no question that can be used; left out 1 answers"),
        ([], "no question that can be used"),
    ],
)
def test_bad_rows_name_their_place(tmp_path: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(AttarError, match=words) as problem:
        squad.read(write(tmp_path / "a.json", *rows))
    assert "a.json" in str(problem.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"a\.json:1: not valid JSON"),
        (" \n", r"a\.json: the file is empty"),
        ("[]", "no list 'data'"),
        ('{"data": [{"title": "x"}]}', "article 1: no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', "article 1, paragraph 1: no list 'qas'"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "paragraph 1: no words in 'context'"),
    ],
)
def test_files_that_are_not_squad(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AttarError, match=words):
        squad.read(tmp_path / "a.json")


articles = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=2, max_size=40).filter(
    lambda rows: len({article for article, _ in rows}) > 1
)


@given(articles, st.sampled_from([0.1, 0.5, 0.8]), st.integers(0, 5))
def test_no_article_and_no_context_stands_on_both_sides(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    questions = [
        Question(str(number), "?", f"context {context}", article=f"article {article}")
        for number, (article, context) in enumerate(rows)
    ]
    try:
        train, dev = squad.hold_out(questions, share, seed)
    except AttarError:  # every article hangs together with every other by their contexts
        linked = {questions[0].article}
        for _ in range(7):
            shared = {row.context for row in questions if row.article in linked}
            linked |= {row.article for row in questions if row.context in shared}
        assert linked == {row.article for row in questions}
        return
    assert train and dev
    assert sorted([*train, *dev], key=lambda row: int(row.id)) == questions
    assert [int(row.id) for row in train] == sorted(int(row.id) for row in train)
    for name in ("article", "context"):
        assert not {getattr(row, name) for row in train} & {getattr(row, name) for row in dev}
    assert (train, dev) == squad.hold_out(questions, share, seed)


def test_halves_are_even_and_hang_on_the_seed() -> None:
    questions = [Question(str(n), "?", f"context {n // 3}", article=f"article {n // 9}") for n in range(180)]
    one, two = squad.halves(questions, seed=3)
    assert abs(len(one) - len(two)) <= 9
    assert squad.halves(questions, seed=4) != (one, two)


def test_a_file_of_one_article_is_divided_by_context(tmp_path: Path) -> None:
    paragraphs = [{"context": f"{CONTEXT} {n // 2}", "qas": [row(f"{n} a"), row(f"{n} b")]} for n in range(20)]
    data = [{"title": "all", "paragraphs": paragraphs}]
    (tmp_path / "a.json").write_text(json.dumps({"data": data}))
    questions = squad.read(tmp_path / "a.json").questions
    assert len(set(squad.groups(questions))) == len({row.context for row in questions}) == 10
    train, dev = squad.hold_out(questions, 0.2)
    assert len(dev) == 8 and not {row.context for row in train} & {row.context for row in dev}
    with pytest.raises(AttarError, match="one context"):
        squad.hold_out(questions[:4], 0.2)
    data.append({"title": "more", "paragraphs": [{"context": CONTEXT, "qas": [row("c")]}]})
    (tmp_path / "a.json").write_text(json.dumps({"data": data}))
    assert set(squad.groups(squad.read(tmp_path / "a.json").questions)) == {"all", "more"}


@pytest.mark.parametrize(
    ("name", "count", "impossible"),
    [
        ("squad/dev-v1.1.dev_half.json", 4446, 0),
        ("squad/dev-v2.0.dev_half.json", 5779, 2937),
        ("squadshifts/amazon_reviews_v1.0.json", 9885, 0),
        ("squadshifts/reddit_v1.0.json", 9803, 0),
    ],
)
def test_published_files(name: str, count: int, impossible: int) -> None:
    reading = squad.read(data_set(name), strict=True)
    questions = reading.questions
    assert (len(questions), sum(row.impossible for row in questions)) == (count, impossible)
    assert reading.remark() == ""
    perfect = [row.answers[0].text if row.answers else "" for row in questions]
    assert squad_metrics.score(questions, perfect)["f1"] == 1.0
    train, dev = squad.hold_out(questions, 0.2)
    assert 0.15 < len(dev) / count < 0.25
    assert not {row.context for row in train} & {row.context for row in dev}


def asked(*golds: str) -> Question:
    return Question("q", "?", "a context", tuple(Answer(gold, 0) for gold in golds), not golds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat's, (a) hat!", "cats hat"),
        ("An\tAnthem for the Theatre", "anthem for theatre"),
        ("U.S.A.", "usa"),
        ("the", ""),
        ("Øyvik – at 9", "øyvik – at 9"),  # the script knows ASCII punctuation alone: the dash stays
        ("well-known", "wellknown"),
    ],
)
def test_normalization(text: str, expected: str) -> None:
    assert squad_metrics.normalize(text) == expected


@pytest.mark.parametrize(
    ("text", "golds", "exact", "overlap"),
    [
        ("at nine", ["Nine"], 0, 2 / 3),  # precision 1/2, recall 1
        ("the quick brown fox", ["a brown fox jumps"], 0, 2 / 3),  # two of three words on both sides
        ("nine, nine", ["nine", "ten at nine"], 0, 2 / 3),  # 2·(1/2·1)/(3/2) = 2/3 beats 2·(1/2·1/3)/(5/6) = 2/5
        ("A noon.", ["nine", "Noon"], 1, 1),
        ("", ["nine"], 0, 0),
        ("the", ["nine"], 0, 0),
        ("nine", ["the", "ten"], 0, 0),  # "the" is no answer once it is normalized
        ("", [], 1, 1),
        ("nine", [], 0, 0),
    ],
)
def test_exact_match_and_f1_by_hand(text: str, golds: list[str], exact: float, overlap: float) -> None:
    scores = squad_metrics.raw_scores([asked(*golds)], [text])
    assert (scores[0][0], scores[1][0]) == (exact, pytest.approx(overlap))


def test_the_aggregate_by_hand() -> None:
    """Four questions with an answer (F1 1, 2/3, 1/2, 1), two without; the threshold takes two answers away."""
    questions = [asked("nine"), asked("nine"), asked("ten"), asked("at noon"), asked(), asked()]
    texts = ["nine", "at nine", "ten or so", "at noon", "rain", "snow"]
    no_answer = [-4.0, -3.0, 2.0, 1.0, 3.0, -1.0]
    plain = squad_metrics.score(questions, texts)
    assert plain["exact"] == pytest.approx(2 / 6) and plain["f1"] == pytest.approx((1 + 2 / 3 + 1 / 2 + 1) / 6)
    scores = squad_metrics.score(questions, texts, no_answer)
    # Above 0: the third and fourth lose their answers, the fifth is right, the sixth stays wrong.
    assert scores["HasAns_exact"] == pytest.approx(1 / 4) and scores["HasAns_f1"] == pytest.approx((1 + 2 / 3) / 4)
    assert scores["NoAns_exact"] == scores["NoAns_f1"] == 0.5
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 1) / 6)
    # At 2 the third and fourth answers come back: 1 + 2/3 + 1/2 + 1 + 1 + 0.
    assert scores["best_f1"] == pytest.approx((1 + 2 / 3 + 1 / 2 + 1 + 1) / 6) and scores["best_f1_thresh"] == 2.0
    assert scores["best_exact"] == pytest.approx(3 / 6) and scores["best_exact_thresh"] == -4.0
    tuned = squad_metrics.score(questions, texts, no_answer, scores["best_f1_thresh"])
    assert tuned["f1"] == pytest.approx(scores["best_f1"])
    assert "HasAns_f1" not in squad_metrics.score(questions[:4], texts[:4])
    with pytest.raises(AttarError, match="5 answers to 6 questions"):
        squad_metrics.score(questions, texts[:5])


rows_of_scores = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans(), st.booleans(), st.integers(-4, 4)), min_size=1
)


@given(rows_of_scores)
def test_the_best_threshold_is_the_best_of_all(rows: list[tuple[float, bool, bool, int]]) -> None:
    score, answered, impossible, no_answer = (np.array(column) for column in zip(*rows, strict=True))
    score = np.where(impossible, 1.0 - answered, score * answered)  # as raw_scores gives them

    def at(threshold: float) -> float:
        return float(np.where(no_answer > threshold, impossible, score).mean())

    best, threshold = squad_metrics.best_threshold(score, answered, no_answer.astype(float), impossible)
    assert best == pytest.approx(at(threshold))
    assert best == pytest.approx(max(at(value) for value in np.arange(-6, 6, 0.5)))


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.booleans(), st.booleans()), min_size=1), st.randoms())
def test_the_threshold_is_the_official_one(rows: list[tuple[float, bool, bool]], random: Any) -> None:
    """The loop of the official script, for distinct probabilities above its starting point 0."""
    score, answered, impossible = (np.array(column) for column in zip(*rows, strict=True))
    score = np.where(impossible, 1.0 - answered, score * answered)
    no_answer = np.array(random.sample(range(1, 1000), len(rows))) / 1000
    current = best = float(impossible.sum())
    threshold = 0.0
    for number in sorted(range(len(rows)), key=lambda n: no_answer[n]):
        current += (-1.0 if answered[number] else 0.0) if impossible[number] else score[number]
        if current > best + 1e-12:
            best, threshold = current, no_answer[number]
    found = squad_metrics.best_threshold(score, answered, no_answer, impossible)
    assert found[0] == pytest.approx(best / len(rows))
    if threshold:
        assert found[1] == threshold
    else:
        assert found[1] < no_answer.min()

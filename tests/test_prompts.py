"""Prompts: what the model reads to the letter, and draws that are seeded, balanced, nested, and never the query."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from attar.errors import AttarError, UsageError
from attar.recipe import Split
from attar.tasks.prompts import Candidates, Prompt, Shots, endings, lambada, last_word
from attar.tasks.table import Example
from helpers import data_set
from hypothesis import given
from hypothesis import strategies as st

SENTIMENT = Prompt(
    {"1": "good", "0": "bad"}, pattern="Review: {text}\nVerdict:", description="Say if the review is good or bad."
)
POOL = [Example(f"review number {n}", None, str(n % 2), f"pool:{n}") for n in range(12)]
QUERY = Example("a slow but lovely film", None, "1", "dev:3")


def test_zero_one_and_two_shots_to_the_letter() -> None:
    assert SENTIMENT.write(QUERY) == Candidates(
        "Say if the review is good or bad.\n\nReview: a slow but lovely film\nVerdict:", (" good", " bad"), 0, "dev:3"
    )
    item = SENTIMENT.write(QUERY, [POOL[4], POOL[7]])
    assert item.context == (
        "Say if the review is good or bad.\n\n"
        "Review: review number 4\nVerdict: bad\n\n"
        "Review: review number 7\nVerdict: good\n\n"
        "Review: a slow but lovely film\nVerdict:"
    )
    pair = Prompt({"yes": "True", "no": "False"}, pattern="{text} So {text_pair} ", separator="\n###\n")
    first = Example("It rained.", "the street is wet?", "yes", "a:1")
    assert pair.write(first, [first._replace(label="no")]).context == (
        "It rained. So the street is wet? False\n###\nIt rained. So the street is wet?"
    )


def test_braces_in_a_text_are_only_text() -> None:
    prompt = Prompt({"a": "x", "b": "y"}, pattern="{{{text}}}")
    assert prompt.question(Example("{text_pair} {0}", None, "a", "")) == "{{text_pair} {0}}"


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "{txt}"},
        {"pattern": "no text"},
        {"pattern": "{text"},
        {"pattern": "{text!r}"},
        {"pattern": "{text:>99}"},
        {"pattern": "{text.__class__}"},
        {"pattern": "{text} {}"},
        {"words": {"1": "good"}},
        {"words": {"1": "good", "0": "good"}},
        {"words": {"1": "good", "0": ""}},
    ],
)
def test_a_prompt_that_cannot_be_written(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="prompt"):
        Prompt(**{"words": {"1": "good", "0": "bad"}, **options})  # type: ignore[arg-type]


def test_rows_that_do_not_fit_the_prompt_are_named() -> None:
    with pytest.raises(AttarError, match="dev:3: the label 'goo' has no word"):
        SENTIMENT.write(QUERY._replace(label="goo"))
    with pytest.raises(AttarError, match="dev:3: the pattern asks for a second text"):
        Prompt({"a": "x", "b": "y"}, pattern="{text} {text_pair}").write(QUERY)


ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("012")), min_size=1, max_size=25)


@given(ROWS, st.integers(0, 24), st.integers(0, 10), st.integers(0, 9), st.booleans())
def test_draws(rows: list[tuple[str, str]], place: int, k: int, seed: int, balanced: bool) -> None:
    pool = [Example(text, None, label, f"p:{number}") for number, (text, label) in enumerate(rows)]
    query = pool[place % len(pool)]
    others = [row for row in pool if row.text != query.text]
    shots = Shots(pool, balanced)
    if k > len(others):
        with pytest.raises(AttarError, match=f"{len(others)} rows for {k} examples"):
            shots.draw(k, seed, query)
        return
    drawn = shots.draw(k, seed, query)
    assert len(drawn) == len(set(drawn)) == k  # each row once
    assert set(drawn) <= set(others)  # never the query, nor a row with its text
    assert shots.draw(k, seed, query) == drawn
    assert Shots(pool, balanced).draw(min(k, 2), seed, query) == drawn[:2]  # a smaller draw begins a larger one
    if balanced:
        have, taken = Counter(row.label for row in others), Counter(row.label for row in drawn)
        for label in have:  # no label falls behind another by more than one, unless it is used up
            assert taken[label] >= max(taken.values(), default=0) - 1 or taken[label] == have[label]


def test_draws_are_even_and_differ_by_seed_and_query() -> None:
    counts = Counter(Shots(POOL, balanced=False).draw(1, seed, QUERY)[0].where for seed in range(1200))
    assert len(counts) == 12
    assert all(60 < count < 140 for count in counts.values())  # 100 expected, 4 standard deviations are 38
    shots = Shots(POOL)
    assert len({tuple(shots.draw(4, seed, QUERY)) for seed in range(20)}) > 15
    assert len({tuple(shots.draw(4, 0, QUERY._replace(text=str(n)))) for n in range(20)}) > 15
    first = Counter(shots.draw(2, seed, QUERY)[0].label for seed in range(200))
    assert min(first.values()) > 60  # no label always stands first


def test_a_query_without_a_place_does_not_shut_out_rows_without_one() -> None:
    pool = [row._replace(where="") for row in POOL]
    assert len(Shots(pool).draw(12, 0, QUERY._replace(where=""))) == 12


def test_the_last_word_takes_its_blank() -> None:
    assert last_word("She opened the old door", "f:1") == ("She opened the old", " door", "f:1")
    assert last_word("One line.\nTwo\n\n words \n")[:2] == ("One line.\nTwo", "\n\n words")
    with pytest.raises(AttarError, match=r"f:2: a passage of one word"):
        last_word(" alone ", "f:2")


@given(st.text(alphabet=" \n\tabé.“", max_size=30))
def test_a_passage_is_its_two_parts(text: str) -> None:
    if len(text.split()) < 2:
        with pytest.raises(AttarError):
            last_word(text)
        return
    item = last_word(text)
    assert item.context + item.continuation == text.rstrip()
    assert item.context == item.context.rstrip()
    assert item.continuation.split() == text.split()[-1:]


def test_lambada_names_its_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "lambada.jsonl"
    path.write_text('{"text": "He ran to the station"}\n\n{"text": "We waited for the train "}\n', "utf-8")
    items = lambada(Split(path=str(path)))
    assert [(item.context, item.continuation) for item in items] == [
        ("He ran to the", " station"),
        ("We waited for the", " train"),
    ]
    assert items[1].where.endswith("lambada.jsonl:3")
    path.write_text('{"text": "He ran to the station"}\n{"text": "station"}\n', "utf-8")
    with pytest.raises(AttarError, match=r"lambada\.jsonl:2: a passage of one word"):
        lambada(Split(path=str(path)))
    path.write_text('{"passage": "He ran"}\n', "utf-8")
    with pytest.raises(AttarError, match=r"lambada\.jsonl:1: no column 'text'"):
        lambada(Split(path=str(path)))


def test_endings() -> None:
    item = endings("A dog sees a cat. It ", ["sleeps.", " runs after it."], 1, "h:6")
    assert item == Candidates("A dog sees a cat. It", (" sleeps.", " runs after it."), 1, "h:6")
    for texts, gold, words in ((["one"], 0, "1 candidates"), (["a", " "], 0, "no text"), (["a", "b"], 2, "2 of 2")):
        with pytest.raises(AttarError, match=f"h:6: .*{words}"):
            endings("c", texts, gold, "h:6")


def test_the_real_passages() -> None:
    items = lambada(Split(path=str(next(data_set("lambada").glob("*.jsonl")))))
    assert len(items) == 500
    assert all(len(item.continuation.split()) == 1 and len(item.context.split()) > 5 for item in items)


def test_the_real_endings() -> None:
    from attar.tasks.choice_files import read

    questions = read(next(data_set("hellaswag").glob("*.txt")), "hellaswag").rows
    items = [endings(*question) for question in questions]
    assert len(items) == 7429
    assert {len(item.candidates) for item in items} == {4}

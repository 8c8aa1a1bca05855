"""Sentences with BIO labels: spans, three file formats, and every bad row told with its file."""

import itertools
import json
from pathlib import Path

import pytest
from attar.errors import AttarError
from attar.tasks import bio
from attar.tasks.bio import Span
from helpers import data_set
from hypothesis import given
from hypothesis import strategies as st

labels = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=9)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a O B-b", [("a", 0, 2), ("b", 3, 4)]),
        ("B-a B-a I-a", [("a", 0, 1), ("a", 1, 3)]),
        ("O I-a I-a", [("a", 1, 3)]),  # a stray I- starts a span
        ("I-a", [("a", 0, 1)]),
        ("B-a I-b I-b", [("a", 0, 1), ("b", 1, 3)]),  # after another type too
        ("B-a O I-a", [("a", 0, 1), ("a", 2, 3)]),
        ("B-x-y I-x-y I-x", [("x-y", 0, 2), ("x", 2, 3)]),
    ],
)
def test_spans_by_hand(words: str, found: list[tuple[str, int, int]]) -> None:
    assert bio.spans(words.split()) == [Span(*span) for span in found]


@given(labels)
def test_writing_spans_as_labels_keeps_them_and_leaves_no_stray_inside(row: list[str]) -> None:
    again = bio.labels_of(bio.spans(row), len(row))
    assert bio.spans(again) == bio.spans(row)
    assert [label[2:] for label in again] == [label[2:] for label in row]
    for before, label in zip(["O", *again], again, strict=False):
        assert not label.startswith("I-") or before[2:] == label[2:]


def parallel(folder: Path, words: str, tags: str, intents: str | None = None) -> Path:
    (folder / "train.seq.in").write_text(words, "utf-8")
    (folder / "train.seq.out").write_text(tags, "utf-8")
    if intents is not None:
        (folder / "train.label").write_text(intents, "utf-8")
    return folder / "train.seq.in"


def test_parallel_files(tmp_path: Path) -> None:
    words = "wake me  at six \nplay caf\u00e9\u00a0noir\u2028now\n"  # signs that Python also splits at
    path = parallel(tmp_path, words, "O O O I-time \nO B-track\r\n", "alarm\nmusic\n")
    first, second = bio.read(path)
    assert first[:3] == (["wake", "me", "at", "six"], ["O", "O", "O", "B-time"], "alarm")
    assert second.words == ["play", "caf\u00e9\u00a0noir\u2028now"]
    assert second.where == f"{tmp_path / 'train.seq.out'}:2"
    (tmp_path / "train.label").unlink()
    assert [row.intent for row in bio.read(path)] == [None, None]
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("seq.in", "seq.out"):
        (folder / name).write_text("O\n")
    assert bio.read(folder / "seq.in")[0].labels == ["O"]


@pytest.mark.parametrize(
    ("words", "tags", "intents", "place", "what"),
    [
        ("a b\nc d\n", "O O\nO X-time\n", None, "train.seq.out:2:", "'X-time' is outside the BIO scheme"),
        ("a b\n", "O B-\n", None, "train.seq.out:1:", "'B-' is outside"),
        ("a b\n", "O o\n", None, "train.seq.out:1:", "'o' is outside"),
        ("a b\nc d e\n", "O O\nO O\n", None, "train.seq.out:2:", "3 words and 2 labels"),
        ("a b\n\nc\n", "O O\n\nO\n", None, "train.seq.out:2:", "a row without words"),
        ("a\nb\n", "O\n", None, "train.seq.out:", "1 lines, and train.seq.in has 2"),
        ("a\nb\n", "O\nO\n", "x\n", "train.label:", "1 lines, and train.seq.in has 2"),
        ("a\nb\nc\n", "O\nO\nO\n", "x\n \ny\n", "train.label:2:", "a row without an intent"),
        ("\n\n", "O\n", None, "train.seq.in:", "empty"),
    ],
)
def test_bad_rows_of_parallel_files(
    tmp_path: Path, words: str, tags: str, intents: str | None, place: str, what: str
) -> None:
    with pytest.raises(AttarError) as caught:
        bio.read(parallel(tmp_path, words, tags, intents))
    assert caught.value.line().startswith(f"{tmp_path / place}")
    assert what in caught.value.line()


def test_parallel_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "train.seq.in").write_text("a\n")
    with pytest.raises(AttarError, match=r"train\.seq\.out: no such file"):
        bio.read(tmp_path / "train.seq.in")
    with pytest.raises(AttarError, match=r"train\.seq\.in"):
        bio.read(tmp_path / "train.txt", "parallel")


def test_conll_columns(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text(
        "-DOCSTART- -X- O\n\nMeet NN O\nAda NP I-per\nByron NP I-per\n\n\nNew York\tB-loc\r\nnow\tO", "utf-8"
    )
    first, second = bio.read(path)
    assert first == (["Meet", "Ada", "Byron"], ["O", "B-per", "I-per"], None, f"{path}:3")
    assert second[:2] == (["New York", "now"], ["B-loc", "O"])
    for text, line, what in (
        ("a O\nb\n", 2, "a word without a label"),
        ("a O\n\nb S-per\n", 3, "'S-per' is outside the BIO scheme"),
    ):
        path.write_text(text)
        with pytest.raises(AttarError, match=rf"train\.conll:{line}: {what}"):
            bio.read(path)
    path.write_text("-DOCSTART- O\n")
    with pytest.raises(AttarError, match="no sentences"):
        bio.read(path)


def rasa(folder: Path, *examples: object) -> Path:
    path = folder / "nlu.json"
    path.write_text(json.dumps({"rasa_nlu_data": {"common_examples": examples}}), "utf-8")
    return path


def entity(start: int, end: int, kind: str = "date") -> dict[str, object]:
    return {"start": start, "end": end, "value": "", "entity": kind}


def test_rasa_entities_become_labels(tmp_path: Path) -> None:
    text = "wake me on Monday morning's first hour"
    row = {"text": text, "intent": "alarm", "entities": [entity(text.index("first"), len(text)), entity(11, 25)]}
    first, second = bio.read(rasa(tmp_path, row, {"text": "stop!", "entities": []}))
    assert first.words == ["wake", "me", "on", "Monday", "morning", "'", "s", "first", "hour"]
    assert first.labels == ["O", "O", "O", "B-date", "I-date", "O", "O", "B-date", "I-date"]
    assert (first.intent, second.intent, second.words) == ("alarm", None, ["stop", "!"])
    assert second.where.endswith("nlu.json[1]")


@pytest.mark.parametrize(
    ("example", "what"),
    [
        ({"text": "wake me", "entities": [entity(1, 4)]}, "does not begin and end with a word"),
        ({"text": "wake me", "entities": [entity(5, 99)]}, "does not begin and end with a word"),
        ({"text": "wake me", "entities": [entity(5, 4)]}, "an empty entity"),
        ({"text": "wake me", "entities": [{"start": 0, "end": 4}]}, "does not begin and end with a word"),
        ({"text": "wake me", "entities": [entity(0, 7), entity(5, 7, "who")]}, "two entities share 'me'"),
        ({"text": "wake me", "entities": ["me"]}, "does not begin"),
        ({"text": " ", "entities": []}, "a row without words"),
        ({"text": None}, "without a text"),
        ({"text": "a \ud83d"}, "lone surrogate"),
        ("wake me", "without a text"),
    ],
)
def test_bad_rasa_examples(tmp_path: Path, example: object, what: str) -> None:
    with pytest.raises(AttarError) as caught:
        bio.read(rasa(tmp_path, {"text": "good"}, example))
    assert "nlu.json[1]: " in caught.value.line()
    assert what in caught.value.line()


@pytest.mark.parametrize("value", [[], {"rasa_nlu_data": []}, {"rasa_nlu_data": {}}])
def test_json_of_another_kind(tmp_path: Path, value: object) -> None:
    (tmp_path / "empty.json").write_text("")
    with pytest.raises(AttarError, match=r"empty\.json: the file is empty"):
        bio.read(tmp_path / "empty.json")
    (tmp_path / "nlu.json").write_text(json.dumps(value))
    with pytest.raises(AttarError, match=r"no rasa_nlu_data\.common_examples"):
        bio.read(tmp_path / "nlu.json")


@given(st.text())
def test_words_hold_every_sign_but_spaces(text: str) -> None:
    places = bio.split_words(text)
    assert "".join(text[start:end] for start, end in places) == "".join(text.split())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("name", "rows", "intents", "kinds"),
    [
        ("snips/train.seq.in", 13084, 7, 39),
        ("snips/valid.seq.in", 700, 7, 39),
        ("atis/train.seq.in", 4478, None, None),
        ("atis/valid.seq.in", 500, None, None),
        ("hwu64/rasa_KFold_1_train.json", 9960, 64, 54),
    ],
)
def test_real_data_sets(name: str, rows: int, intents: int | None, kinds: int | None) -> None:
    found = bio.read(data_set(name))
    assert len(found) == rows
    if intents:
        assert len({row.intent for row in found}) == intents
        assert len({span.kind for row in found for span in bio.spans(row.labels)}) == kinds

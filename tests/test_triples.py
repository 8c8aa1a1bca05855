"""Triples: every bad row is named, and ranks agree with a slow count that is written another way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from attar.errors import AttarError, UsageError
from attar.tasks import triples
from attar.tasks.triples import Files, Graph
from helpers import data_set, written
from hypothesis import given, settings
from hypothesis import strategies as st

TRAIN = "1\tis\t2\n2\tis\t3\n1\thas\t3\n"


def graph(folder: Path, dev: str, unknown: str = "error") -> Graph:
    files = {"train": Files(written(folder / "train.txt", TRAIN)), "dev": Files(written(folder / "dev.txt", dev))}
    return triples.read(files, unknown)  # type: ignore[arg-type]


def test_triples_are_numbers_of_sorted_names(tmp_path: Path) -> None:
    found = graph(tmp_path, "3\thas\t1\n")
    assert (found.entities, found.relations) == (["1", "2", "3"], ["has", "is"])
    assert found.splits["train"].tolist() == [[0, 1, 1], [1, 1, 2], [0, 0, 2]]
    assert found.splits["dev"].tolist() == [[2, 0, 0]]
    assert found.known.tolist() == [*found.splits["train"].tolist(), [2, 0, 0]]
    assert found.skipped == {"train": 0, "dev": 0}


def test_entities_get_the_words_of_the_parallel_file(tmp_path: Path) -> None:
    words = written(
        tmp_path / "w.txt", "old_oak.n.02\tis\tgrow.v.01\nbig.s.01\tis\tBay_Leaf\nold_oak.n.02\thas\tBay_Leaf\n"
    )
    found = triples.read({"train": Files(written(tmp_path / "t.txt", TRAIN), words)})
    # the id 2 is called twice, by two parts of speech
    assert found.texts == ["old oak, noun 2", "grow, verb 1; big, adjective 1", "Bay Leaf"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1\tis\t9\n", "dev.txt:2: the entity '9' is in no training triple"),
        ("9\tis\t1\n", "dev.txt:2: the entity '9'"),
        ("1\twas\t2\n", "dev.txt:2: the relation 'was'"),
    ],
)
def test_what_train_does_not_know_is_named_or_counted(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(AttarError, match=words):
        graph(tmp_path, "2\tis\t1\n" + row)
    found = graph(tmp_path, "2\tis\t1\n" + row, "skip")
    assert found.skipped == {"train": 0, "dev": 1}
    assert found.splits["dev"].tolist() == [[1, 1, 0]]


def test_an_entity_without_words_is_named_or_counted(tmp_path: Path) -> None:
    words = written(tmp_path / "w.txt", "oak\tis\t?\n?\tis\tbay\noak\thas\tbay\n")
    files = {"train": Files(written(tmp_path / "t.txt", TRAIN), words)}

    def sayable(texts: Sequence[str]) -> list[bool]:
        return [text != "?" for text in texts]

    with pytest.raises(AttarError, match=r"t\.txt:1: the entity '2' \('\?'\) has no words in the vocabulary"):
        triples.read(files, "error", sayable)
    found = triples.read(files, "skip", sayable)
    assert (found.entities, found.relations, found.wordless) == (["1", "3"], ["has"], {"train": 2})
    assert found.splits["train"].tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("1\tis\t2\n1\tis\n", "t.txt:2: 2 columns where 3"),
        ("1\tis\t2\n1\tis\t2\t0.9\n", "t.txt:2: 4 columns where 3"),
        ("1\tis\t2\n1\t \t2\n", "t.txt:2: the column 'relation' holds no text"),
        ("1\tis\t2\n1\tis\t\n", "t.txt:2: the column 'tail' holds no"),
        ("1\tis\t1\n", "only one entity"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AttarError, match=words):
        triples.read({"train": Files(written(tmp_path / "t.txt", text))})


def test_words_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    files = written(tmp_path / "t.txt", TRAIN)
    with pytest.raises(AttarError, match=r"w\.txt: 1 rows where .*t\.txt has 3"):
        triples.read({"train": Files(files, written(tmp_path / "w.txt", "a\tis\tb\n"))})
    with pytest.raises(AttarError, match=r"w\.txt:2: the relation 'has', where .*t\.txt:2 has 'is'"):
        triples.read({"train": Files(files, written(tmp_path / "w.txt", "a\tis\tb\na\thas\tc\nb\tis\tc\n"))})
    with pytest.raises(UsageError, match="split `train`"):
        triples.read({"dev": Files(files)})


def slow_summary(rows: np.ndarray, known: np.ndarray, table: dict[tuple[int, int, int], float], entities: int) -> dict:
    """Link prediction by sorting named candidates; the mean of the best and the worst place a tie allows."""
    true = {tuple(row) for row in known.tolist()}
    places = []
    for row in rows.tolist():
        for column in (0, 2):
            candidates = []
            for entity in range(entities):
                other = list(row)
                other[column] = entity
                if tuple(other) not in true or entity == row[column]:
                    candidates.append((table[(*row, column)][entity], entity == row[column]))
            best = [is_gold for _, is_gold in sorted(candidates, key=lambda c: (-c[0], not c[1]))].index(True) + 1
            worst = [is_gold for _, is_gold in sorted(candidates, key=lambda c: (-c[0], c[1]))].index(True) + 1
            places.append((best + worst) / 2)
    hits = {f"hits@{k}": sum(place <= k for place in places) / len(places) for k in (1, 3, 10)}
    return {"mrr": sum(1 / p for p in places) / len(places), "mr": sum(places) / len(places), **hits}


@settings(max_examples=60)
@given(st.data())
def test_filtered_ranks_by_a_slow_count(data: st.DataObject) -> None:
    entities = data.draw(st.integers(2, 14))
    end = st.integers(0, entities - 1)
    row = st.tuples(end, st.integers(0, 1), end)
    train = data.draw(st.lists(row, min_size=1, max_size=25))
    held = data.draw(st.lists(row, min_size=1, max_size=6))
    few = st.lists(st.integers(-2, 2).map(float), min_size=entities, max_size=entities)  # few values: many ties
    table = {(*row, column): data.draw(few) for row in held for column in (0, 2)}

    def score(batch: np.ndarray, side: str) -> np.ndarray:
        column = 0 if side == "head" else 2
        return np.array([table[(*row, column)] for row in map(tuple, batch.tolist())])

    rows, known = np.array(held), np.array(train + held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triples, "CELLS", data.draw(st.sampled_from([1, 3 * entities, 10**6])))
        found = triples.link_prediction(rows, known, score, entities)
    assert found == pytest.approx(slow_summary(rows, known, table, entities))  # type: ignore[arg-type]


def test_only_other_true_answers_leave_the_list() -> None:
    """By hand: tails of (0, 0, ?) score 5, 4, 3, 2; 1 is true in train, so the right answer 2 is second, not third."""
    known, rows = np.array([[0, 0, 1], [0, 0, 2]]), np.array([[0, 0, 2]])
    scores = {"tail": [[5.0, 4.0, 3.0, 2.0]], "head": [[9.0, 1.0, 1.0, 1.0]]}
    found = triples.link_prediction(rows, known, lambda batch, side: np.array(scores[side]), 4)
    assert found == pytest.approx({"mrr": 0.75, "mr": 1.5, "hits@1": 0.5, "hits@3": 1.0, "hits@10": 1.0})


def test_a_model_that_cannot_decide_ranks_in_the_middle() -> None:
    rows = np.array([[3, 0, 7]])
    found = triples.link_prediction(rows, rows, lambda batch, side: np.zeros((1, 99)), 99)
    assert found["mr"] == 50 and found["hits@10"] == 0


def test_a_score_that_is_no_number_is_refused() -> None:
    rows = np.array([[0, 0, 1]])
    for bad in ([[0.0, np.nan]], [[np.nan, 0.0]], [[0.0, -np.inf]]):
        with pytest.raises(AttarError, match="not a number"):
            triples.link_prediction(rows, rows, lambda batch, side, bad=bad: np.array(bad), 2)
    with pytest.raises(AttarError, match="no triples to rank"):
        triples.link_prediction(rows[:0], rows, lambda batch, side: np.zeros((0, 2)), 2)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("block", [1, 40, 2**19])
def test_distances_by_the_formula(monkeypatch: pytest.MonkeyPatch, norm: int, block: int) -> None:
    monkeypatch.setattr(triples, "BLOCK", block)
    generator = np.random.default_rng(0)
    queries, vectors = generator.normal(size=(3, 5)), generator.normal(size=(7, 5))
    expected = [[np.linalg.norm(query - vector, norm) for vector in vectors] for query in queries]
    assert triples.distances(queries, vectors, norm) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("norm", [1, 2])
def test_translation_scores_both_ends_and_equal_vectors_tie(norm: int) -> None:
    generator = np.random.default_rng(1)
    entities = generator.normal(size=(500, 40)).astype(np.float32)[generator.integers(0, 60, 500)]
    relations = generator.normal(size=(3, 40)).astype(np.float32)
    rows = np.array([[4, 0, 9], [7, 2, 1]])
    score = triples.translation_score(entities, relations, norm)
    for side, column in (("tail", 2), ("head", 0)):
        found = score(rows, side)  # type: ignore[arg-type]
        for number, (h, r, t) in enumerate(rows.tolist()):
            for entity in (0, 9, 77, 499):
                head, tail = (h, entity) if column == 2 else (entity, t)
                by_hand = -np.linalg.norm(entities[head] + relations[r] - entities[tail], norm)
                assert found[number, entity] == pytest.approx(by_hand, rel=1e-4)
        assert len(np.unique(found[0])) <= 60  # 500 entities, 60 vectors


def test_wn18rr() -> None:
    folder = data_set("wn18rr")
    files = {
        "train": Files(folder / "train.txt", folder / "text_train.txt"),
        "dev": Files(folder / "valid.txt", folder / "text_valid.txt"),
    }
    found = triples.read(files, "skip")
    assert (len(found.entities), len(found.relations)) == (40559, 11)
    assert {name: len(rows) for name, rows in found.splits.items()} == {"train": 86835, "dev": 2824}
    assert found.skipped == {"train": 0, "dev": 210}
    assert all(found.texts) and not any("_" in text for text in found.texts)
    with pytest.raises(AttarError, match=r"valid\.txt:\d+: the entity"):
        triples.read({name: Files(split.triples) for name, split in files.items()})

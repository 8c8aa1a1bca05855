"""LAMA: what is asked, what is skipped and why, and the scores by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from attar.errors import AttarError
from attar.tasks import lama
from attar.tasks.encoding import Encoder
from conftest import SPECIAL, word_tokenizer
from helpers import data_set

WORDS = ["anna", "bert", "lives", "in", "speaks", "rome", "oslo", "latin", "norse", "##s", ".", "the", "of"]
TEMPLATES = [{"relation": "P1", "template": "[X] lives in [Y] ."}, {"relation": "P2", "template": "[Y] of [X]"}]


def encoder(folder: Path, length: int = 16, special: list[str] = SPECIAL) -> Encoder:
    word_tokenizer(WORDS, special).save(str(folder / "tokenizer.json"))
    return Encoder(folder / "tokenizer.json", length)


def jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def fact(subject: str, answer: str, relation: str = "P1") -> dict[str, str]:
    return {"predicate_id": relation, "sub_label": subject, "obj_label": answer}


def read(folder: Path, facts: list[dict[str, str]], **options: object) -> lama.Probes:
    words = options.pop("words", None)
    templates = jsonl(folder / "relations.jsonl", options.pop("templates", TEMPLATES))  # type: ignore[arg-type]
    return lama.read(jsonl(folder / "facts.jsonl", facts), templates, encoder(folder, **options), words)  # type: ignore[arg-type]


def test_a_fact_becomes_a_sentence_with_a_mask(tmp_path: Path) -> None:
    found = read(tmp_path, [fact("Anna", "Rome"), fact("Bert", "latin", "P2")])
    names = [*SPECIAL, *WORDS]
    first, second = found.rows
    assert [names[i] for i in first.features.input_ids] == ["[CLS]", "anna", "lives", "in", "[MASK]", ".", "[SEP]"]
    assert (first.relation, first.position, names[first.gold]) == ("P1", 4, "rome")
    assert [names[i] for i in second.features.input_ids] == ["[CLS]", "[MASK]", "of", "bert", "[SEP]"]
    assert (second.relation, second.position, names[second.gold]) == ("P2", 1, "latin")
    assert second.where.endswith("facts.jsonl:2")
    assert found.skipped == {} and found.candidates is None


def test_what_cannot_be_asked_is_counted_by_its_reason(tmp_path: Path) -> None:
    rows = [
        fact("anna", "rome"),
        fact("anna", "romes"),  # rome ##s
        fact("anna", "the oslo"),
        fact("anna", "paris"),  # [UNK]
        fact("anna of the anna of the anna of", "rome"),  # the mask is behind the end
        fact("bert", "oslo"),
    ]
    found = read(tmp_path, rows, length=9)
    assert [row.where[-2:] for row in found.rows] == [":1", ":6"]
    assert found.skipped == {"several pieces": 3, "cut": 1}
    found = read(tmp_path, rows, length=9, words=["rome", "latin", "unheard", "romes"])
    assert [row.where[-2:] for row in found.rows] == [":1"]
    assert found.skipped == {"several pieces": 3, "cut": 1, "not a candidate": 1}
    assert found.candidates is not None and found.candidates.tolist() == [10, 12]  # rome, latin


def test_an_answer_cut_at_the_end_is_not_taken_for_one_piece(tmp_path: Path) -> None:
    """Six pieces hold the mask and no more; `romes` is cut after its first piece, which must not count as `rome`."""
    templates = [{"relation": "P1", "template": "[X] in [Y] ."}]
    found = read(tmp_path, [fact("anna", "romes"), fact("anna", "rome")], length=6, templates=templates)
    assert [row.where[-2:] for row in found.rows] == [":2"] and found.skipped == {"several pieces": 1}


def test_a_subject_that_looks_like_a_template_is_only_a_subject(tmp_path: Path) -> None:
    found = read(tmp_path, [fact("anna [Y]", "rome")])
    assert found.rows[0].features.input_ids.count(4) == 1 and found.rows[0].gold == 10


@pytest.mark.parametrize(
    ("facts", "templates", "words"),
    [
        ([fact("anna", "rome", "P9")], TEMPLATES, "facts.jsonl:1: no template for the relation 'P9'"),
        ([{"predicate_id": "P1", "sub_label": "anna"}], TEMPLATES, "facts.jsonl:1: no column 'obj_label'"),
        ([fact("anna", "rome"), fact("", "rome")], TEMPLATES, "facts.jsonl:2: the column 'sub_label' holds no text"),
        ([fact("anna [MASK]", "rome")], TEMPLATES, r"facts.jsonl:1: the sentence holds \[MASK\] more than once"),
        ([fact("anna", "paris")], TEMPLATES, "facts.jsonl: none of 1 facts can be asked"),
        ([fact("anna", "rome")], [{"relation": "P1", "template": "[X] is"}], r"relations.jsonl:1: a template needs"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, facts: list[dict[str, str]], templates: object, words: str) -> None:
    with pytest.raises(AttarError, match=words):
        read(tmp_path, facts, templates=templates)


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="no mask piece"):
        read(tmp_path, [fact("anna", "rome")], special=SPECIAL[:4])


def test_scores_by_hand(tmp_path: Path) -> None:
    found = read(tmp_path, [fact("anna", "rome"), fact("bert", "oslo"), fact("anna", "latin", "P2")])
    logits = np.zeros((3, len(SPECIAL) + len(WORDS)))
    logits[0, 10] = 1.0  # rome first: rank 1
    logits[1, 10], logits[1, 11] = 2.0, 2.0  # oslo ties with rome: rank 1.5
    logits[2, :11] = 1.0  # eleven pieces before latin, and the six others equal to it: rank 12 + 6 / 2
    ranks = lama.ranks(logits, found.rows)
    assert ranks.tolist() == [1.0, 1.5, 15.0]
    macro, relations = lama.score(found.rows, ranks)
    assert relations["P1"] == pytest.approx({"p@1": 0.5, "p@10": 1.0, "mrr": (1 + 1 / 1.5) / 2, "rows": 2})
    assert relations["P2"] == pytest.approx({"p@1": 0.0, "p@10": 0.0, "mrr": 1 / 15, "rows": 1})
    # relations weigh alike, whatever their number of rows
    assert macro == pytest.approx({"p@1": 0.25, "p@10": 0.5, "mrr": (1 / 15 + (1 + 1 / 1.5) / 2) / 2})


def test_only_candidates_are_ranked(tmp_path: Path) -> None:
    found = read(tmp_path, [fact("anna", "rome")], words=["oslo", "rome", "latin"])
    logits = np.arange(len(SPECIAL) + len(WORDS), dtype=float)[None]  # later pieces are likelier
    assert lama.ranks(logits, found.rows).tolist() == [8.0]
    assert lama.ranks(logits, found.rows, found.candidates).tolist() == [3.0]


def test_shared_words_are_whole_words_of_every_vocabulary() -> None:
    found = lama.shared_words([word_tokenizer(WORDS), word_tokenizer(["norse", "##s", "rome", ".", "new"])])
    assert found == ["norse", "rome"]


def test_the_real_facts(tmp_path: Path) -> None:
    pieces = data_set("vocabs/bert-base-uncased-vocab.txt").read_text("utf-8").split("\n")
    words = [piece for piece in pieces if piece and piece not in SPECIAL]
    word_tokenizer(words).save(str(tmp_path / "tokenizer.json"))
    files = data_set("lama/TREx_8rel.jsonl"), data_set("lama/relations.jsonl")
    found = lama.read(*files, Encoder(tmp_path / "tokenizer.json", 64))
    assert len(found.rows) + sum(found.skipped.values()) == 7667
    assert len({row.relation for row in found.rows}) == 8
    assert len(found.rows) > 7000  # the facts were chosen for BERT's vocabulary

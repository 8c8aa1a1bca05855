"""Sentence embeddings: what is read, the vector, its score, and what a student learns of its teacher's vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from attar import pipeline, recipe, students
from attar.compress import answers
from attar.compress.pair import Pair
from attar.errors import AttarError, UsageError
from attar.export import answers as forms
from attar.export.answers import Asked
from attar.recipe import Recipe, Task
from attar.students import layer_map
from attar.tasks import data
from attar.tasks.embedding import EmbeddingTask
from attar.tasks.encoding import Encoder
from attar.tasks.table import Example
from attar.teachers import checkpoint, heads
from conftest import SENTENCES, tiny_teacher
from helpers import data_set, silent, written
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from transformers import AutoModel, BertModel

PAIRS = [
    Example(SENTENCES[n % 8], SENTENCES[(3 * n + 1) % 8], str(round(np.sin(n) + 1, 3)), f"p:{n}") for n in range(12)
]
TEXTS = [Example(f"{a} {b}", None, "", f"t:{a}") for a in SENTENCES for b in SENTENCES[:4]]
SPEC = {"kind": "embedding", "dev": {"path": "dev.tsv"}, "text": "a", "text_pair": "b", "train": {"path": "train.tsv"}}


def embedding(**options: Any) -> EmbeddingTask:
    return EmbeddingTask(Task.model_validate(SPEC | options), [])


def pooled_by(folder: Path, **flags: Any) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    written(folder / "1_Pooling/config.json", json.dumps({"word_embedding_dimension": 32} | flags))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_teacher(tmp_path / "model", layers=4)


def vectors(folder: Path, texts: list[str], mode: str) -> npt.NDArray[np.float64]:
    """By hand: one text at a time, so that there is no padding, with the stock model and numpy."""
    model, encoder, found = AutoModel.from_pretrained(folder).eval(), Encoder(folder / "tokenizer.json", 32), []
    for text in texts:
        (row,) = encoder.encode([(text, None)])
        with torch.no_grad():
            states = model(torch.tensor([row.input_ids])).last_hidden_state[0].double().numpy()
        state = states[0] if mode == "cls" else states.mean(0)
        found.append(state / np.linalg.norm(state))
    return np.array(found)


@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_the_vector_by_hand(folder: Path, mode: str) -> None:
    if mode == "cls":
        pooled_by(folder, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    model, encoder = heads.load("embedding", folder), Encoder(folder / "tokenizer.json", 32)
    assert type(model) is BertModel
    found = heads.answers(model, "embedding", encoder.encode([(text, None) for text in SENTENCES]), encoder.pad_id)
    assert np.allclose(found, vectors(folder, SENTENCES, mode), atol=1e-5)
    assert heads.width(model, embedding()) == 32 and heads.fits(model, embedding())


def test_padding_says_nothing_and_zeros_stay_zeros() -> None:
    from attar.teachers.heads.embedding import normalised, pooled

    states, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    other = torch.where(mask[..., None].bool(), states, torch.full_like(states, 1e4))
    assert torch.equal(pooled(states, mask, "mean"), pooled(other, mask, "mean"))
    assert torch.allclose(pooled(states, mask, "mean")[0], states[0, :2].mean(0))
    assert not normalised(torch.zeros(1, 3)).any()
    assert torch.isfinite(pooled(states, torch.zeros_like(mask), "mean")).all()


def test_a_checkpoint_without_a_pooler_is_taken(folder: Path) -> None:
    BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder / "bare")
    whole, bare = heads.load("embedding", folder), heads.load("embedding", folder / "bare")
    encoder = Encoder(folder / "tokenizer.json", 32)
    rows = encoder.encode([(text, None) for text in SENTENCES])
    found = [heads.answers(model, "embedding", rows, encoder.pad_id) for model in (whole, bare)]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ({}, "mean"),  # the library's own default
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_cls_token": True}, "pooled by cls and mean, and attar knows mean, cls"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "pooled by max, and attar knows"),
        ({"pooling_mode_mean_tokens": False}, "pooled by nothing"),
        ({"pooling_mode": "lasttoken"}, "pooled by lasttoken"),
    ],
)
def test_poolings_that_a_folder_states(tmp_path: Path, flags: dict[str, Any], mode: str) -> None:
    pooled_by(tmp_path, **flags)
    if mode in ("mean", "cls"):
        assert heads.pooling.read(tmp_path) == mode
        return
    with pytest.raises(AttarError, match=mode) as caught:
        heads.pooling.read(tmp_path)
    assert "1_Pooling/config.json" in caught.value.line()


def test_modules_that_a_folder_lists(tmp_path: Path) -> None:
    assert heads.pooling.read(tmp_path) is None
    new = "sentence_transformers.sentence_transformer.modules"
    listed = [{"idx": 0, "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
    listed += [{"idx": 1, "path": "1_Pooling", "type": f"{new}.pooling.Pooling"}]
    written(tmp_path / "modules.json", json.dumps(listed))
    pooled_by(tmp_path, pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    assert heads.pooling.read(tmp_path) == "cls"
    for strange, said in (({"type": "sentence_transformers.models.Dense"}, "'Dense'"), ("Dense", "''")):
        written(tmp_path / "modules.json", json.dumps([*listed, strange]))
        with pytest.raises(AttarError, match=f"has a module {said}, and attar knows Transformer, Pooling, Normalize"):
            heads.pooling.read(tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 99))
def test_the_score_by_scipy(rows: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    found, truth = random.normal(size=(2 * rows, width)), random.normal(size=rows)
    encoded = type("", (), {"targets": truth.astype(np.float32)})()
    scores = embedding().score(list(found.astype(np.float32)), encoded)
    cosines = [1 - distance.cosine(found[2 * n], found[2 * n + 1]) for n in range(rows)]
    assert scores["spearman"] == pytest.approx(stats.spearmanr(cosines, truth).statistic, abs=1e-6)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(cosines, truth).statistic, abs=1e-3)


def test_a_pair_is_two_sequences_and_a_text_is_one(folder: Path) -> None:
    task, encoder = embedding(), Encoder(folder / "tokenizer.json", 32)
    pairs, texts = task.encode(PAIRS, encoder), task.encode(TEXTS, encoder)
    assert (pairs.count, len(pairs.features), texts.count, len(texts.features)) == (12, 24, 32, 32)
    assert pairs.features[1] == encoder.encode([(PAIRS[0].text_pair or "", None)])[0]
    assert pairs.owners.tolist() == [n // 2 for n in range(24)] and np.isnan(texts.targets).all()
    part, sequences = pairs.of([3])
    assert sequences.tolist() == [6, 7] and part.targets[0] == np.float32(float(PAIRS[3].label))


def files(folder: Path, **options: Any) -> data.Data:
    """A table with two texts and no label, plain lines, and prose by a pattern, with a dev file."""
    written(folder / "two.tsv", "a\tb\none\ttwo\nthree\tone\n")
    written(folder / "one.jsonl", '{"a": "four"}\n{"a": "five"}\n')
    written(folder / "lines.txt", "\n six  seven \n\neight\nsix  seven\n")
    (folder / "books").mkdir(exist_ok=True)
    for name in ("a", "b"):
        written(folder / f"books/{name}.txt", f"Dr. {name} reads\nhere. Nothing else!\n\nThe end of {name}\n")
    written(folder / "dev.tsv", "a\tb\tlabel\nx\ty\t1.5\nx\tz\t2\n")
    names = ("two.tsv", "one.jsonl", "lines.txt", "books/*.txt")
    spec = SPEC | {"dev": {"path": str(folder / "dev.tsv")}, "train": [{"path": str(folder / name)} for name in names]}
    return data.load(Task.model_validate(spec | options))


def test_every_text_is_a_row(tmp_path: Path) -> None:
    found = files(tmp_path)
    prose = ["Dr. a reads here.", "Nothing else!", "The end of a", "Dr. b reads here.", "The end of b"]
    assert [row.text for row in found.train] == [
        *("one", "two", "three", "four", "five", "six  seven", "eight"),
        *prose,
    ]
    assert all(row.text_pair is None and not row.label for row in found.train)
    assert found.train[2].where.endswith("two.tsv:3") and found.train[6].where.endswith("lines.txt:4")
    assert [tuple(row[:3]) for row in found.dev] == [("x", "y", "1.5"), ("x", "z", "2")]
    told = [remark.rpartition(": ")[2] for remark in found.remarks]
    assert told == ["1 texts that stand there again were left out"] * 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("dev.tsv", "a\tb\tlabel\nx\ty\t\n", r"dev\.tsv:2: the column 'label' holds no label"),
        ("dev.tsv", "a\tb\tlabel\nx\ty\thigh\n", r"dev\.tsv:2: 'high' is not a number"),
        ("dev.tsv", "a\tb\tlabel\nx\t \t1\n", r"dev\.tsv:2: the column 'b' holds no text"),
        ("dev.tsv", "a\tlabel\nx\t1\n", r"no column 'b'"),
        ("two.tsv", "a\tb\nx\t \n", r"two\.tsv:2: the column 'b' holds no text"),
        ("two.tsv", "c\tb\nx\ty\n", r"no column 'a'"),
        ("lines.txt", "a\tb\nx\ty\n", r"lines\.txt: the first line of this text file names the columns of a table"),
        ("lines.txt", " \n", r"lines\.txt: the file is empty"),
        ("books/a.txt", "\x00\udcff", r"a\.txt:1: a byte that is not UTF-8"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    files(tmp_path)
    spec = SPEC | {"dev": {"path": str(tmp_path / "dev.tsv")}}
    names = ("two.tsv", "lines.txt", "books/*.txt")
    spec["train"] = [{"path": str(tmp_path / one)} for one in names]
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AttarError, match=said):
        found = data.load(Task.model_validate(spec))
        embedding().check(found.dev)


def test_bad_rows_may_be_left_out(tmp_path: Path) -> None:
    files(tmp_path)
    written(tmp_path / "two.tsv", "a\tb\nx\t \nx\ty\n")
    spec = SPEC | {"dev": {"path": str(tmp_path / "dev.tsv")}, "train": {"path": str(tmp_path / "two.tsv")}}
    found = data.load(Task.model_validate(spec | {"bad_rows": "skip"}))
    assert [row.text for row in found.train] == ["x", "y"]
    assert "1 rows are bad and were left out, the first:" in found.remarks[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"teacher": {}}, r"taken as it is: set teacher\.finetune: false; `kind: regression` fine-tunes one"),
        ({"distil": {"prediction": {"hard": 1}}}, "hard needs labels, and an embedding learns from texts alone"),
        ({"task": {"dev": None}}, "an embedding is scored on pairs of texts with a score; name their file in `dev`"),
        ({"task": {"text_pair": None}}, "name its second text in `text_pair`"),
        ({"task": {"dev": {"path": "a", "format": "lines"}}}, "format lines holds texts alone"),
        ({"task": {"metric": "accuracy"}}, "this task is an embedding"),
        ({"task": {"both_orders": True}}, "`both_orders` needs `kind: classification or regression`"),
        ({"task": {"train": {"path": "a", "format": "squad"}}}, "format squad is not of an embedding, which has tsv"),
        ({"distil": {"augment": {}}}, "the answers of an embedding are tied to them"),
        ({"task": {"kind": "regression"}, "distil": {"prediction": {"similarity": 1}}}, "need `kind: embedding`"),
    ],
)
def test_what_a_recipe_cannot_ask(change: dict[str, Any], said: str) -> None:
    spec: dict[str, Any] = {"name": "x", "task": SPEC, "teacher": {"finetune": False}}
    task = {"task": SPEC | change["task"]} if "task" in change else {}
    with pytest.raises(ValueError, match=said):
        Recipe.model_validate(spec | change | task)


def pair(folder: Path, **student: object) -> Pair:
    teacher = heads.load("embedding", folder).eval().requires_grad_(False)
    spec = recipe.Student.model_validate({"layers": 2} | student)
    task, encoder = embedding(), Encoder(folder / "tokenizer.json", 32)
    built = students.build(teacher, spec, "embedding")
    train, dev = task.encode(TEXTS, encoder), task.encode(PAIRS, encoder)
    mapped = layer_map.resolve(spec.layer_map, 2, 4)
    return Pair(teacher, built, mapped, train, dev, task, encoder.pad_id, 0, silent, "digest")


def apart(found: Pair, loss: str) -> float:
    """What a loss should make smaller, over all texts at once.

    How far the directions are from the teacher's, or the cosines from the teacher's cosines, or how many texts' teacher
    vectors are nearer to another text's vector.
    """
    ours, theirs = (
        np.asarray(heads.answers(model, found.task.head, found.train.features, found.pad_id))
        for model in (found.student, found.teacher)
    )
    if loss == "soft":
        return float(np.linalg.norm(ours - theirs, axis=1).mean())
    if loss == "similarity":
        return float(np.abs(ours @ ours.T - theirs @ theirs.T).mean())
    return float(((ours @ theirs.T).argmax(1) != np.arange(len(ours))).mean())


@pytest.mark.parametrize(
    ("kind", "loss", "plan"),
    [
        ("distilbert", "soft", {}),
        ("distilbert", "contrastive", {"soft": 0, "contrastive": 1}),
        ("tinybert", "similarity", {"soft": 0, "similarity": 1}),
    ],
)
def test_a_student_learns_its_teachers_vectors(
    folder: Path, tmp_path: Path, kind: str, loss: str, plan: dict[str, Any]
) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32} if kind == "tinybert" else {}
    found = pair(folder, kind=kind, start="random", **shape)
    before = apart(found, loss)
    settings = {"epochs": 12, "batch_size": 8, "learning_rate": 2e-3, "keep": "last"}
    state = answers.learn_answers(found, recipe.Prediction.model_validate(settings | plan), tmp_path)
    assert set(state.epochs[0]["losses"]) == {loss}
    assert apart(found, loss) < 0.7 * before


def test_vectors_of_other_widths_are_not_compared(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="tinybert", hidden_size=16, intermediate_size=32)
    for plan in ({"soft": 1}, {"soft": 0, "contrastive": 1}):
        name = list(plan)[-1]
        fix = f"equal widths, and they are 32 and 16; set {name}: 0 and similarity: 1"
        with pytest.raises(UsageError, match=rf"distil\.prediction\.{name}: .*{fix}"):
            answers.learn_answers(found, recipe.Prediction.model_validate(plan), tmp_path)
    with pytest.raises(UsageError, match="an embedding has no probabilities"):
        answers.check(
            found.teacher, found.student, found.task, recipe.Prediction(soft=0, similarity=1, divergence="reverse")
        )
    with pytest.raises(UsageError, match="the rows of an embedding have no labels to learn from"):
        heads.loss(found.teacher, found.task, found.train.batch(np.arange(2), 0))


def test_the_folder_of_a_student_says_how_it_is_read(folder: Path, tmp_path: Path) -> None:
    """The road from a recipe, with the intermediate phase, of a teacher that is pooled by [CLS]."""
    pooled_by(folder, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    written(tmp_path / "lines.txt", "".join(f"{row.text}\n" for row in TEXTS))
    written(tmp_path / "dev.tsv", "a\tb\tlabel\n" + "".join(f"{a}\t{b}\t{y}\n" for a, b, y, _ in PAIRS))
    files = {"train": {"path": str(tmp_path / "lines.txt")}, "dev": {"path": str(tmp_path / "dev.tsv")}}
    phase = {"epochs": 1, "batch_size": 8}
    spec = Recipe.model_validate(
        {
            "name": "tiny",
            "threads": 1,
            "task": SPEC | files | {"max_length": 32},
            "teacher": {"model": str(folder), "finetune": False},
            "distil": {"intermediate": phase, "prediction": phase},
            "export": {"lengths": [32]},
        }
    )
    found = pipeline.run(spec, tmp_path / "run", until="distil")
    assert found.reload_check()["passed"] and found.results["distil"]["width"] == 32
    assert found.bundle_card().width == 32
    for place in (found.out / "teacher", found.out / "student"):
        listed = json.loads((place / "modules.json").read_text("utf-8"))
        names = [module["type"].rpartition(".")[2] for module in listed]
        assert names == ["Transformer", "Pooling", "Normalize"] and listed[1]["path"] == "1_Pooling"
        stated = json.loads((place / "1_Pooling/config.json").read_text("utf-8"))
        assert [name for name, value in stated.items() if value is True] == ["pooling_mode_cls_token"]
        assert stated["word_embedding_dimension"] == 32
        assert json.loads((place / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"] == 32
        rows = [text for row in PAIRS for text in row[:2]]
        assert np.allclose(found.outputs(place.name)["dev"], vectors(place, rows, "cls"), atol=1e-5)
    taught = found.results["teach"]
    assert np.allclose(vectors(folder, rows, "cls"), vectors(found.out / "teacher", rows, "cls"), atol=1e-6)
    expected = stats.spearmanr(
        (vectors(folder, rows, "cls")[::2] * vectors(folder, rows, "cls")[1::2]).sum(1),
        [float(row.label) for row in PAIRS],
    )
    assert taught["scores"]["dev"]["spearman"] == pytest.approx(expected.statistic, abs=1e-6)


def test_the_cosine_does_not_hang_on_the_lengths(folder: Path) -> None:
    card = forms.card(embedding(), {}, 3)
    assert card.shape(9) == (3,) and card.kind == "embedding"
    posed = forms.form(card).pose(Asked("play", "snow"), Encoder(folder / "tokenizer.json", 32))
    a, b = np.array([1, 2, 2], np.float32), np.array([4, 0, 3], np.float32)
    assert posed.answer([a, b]).said == pytest.approx(10 / 15)
    assert posed.answer([a, 0 * b]).document()["cosine"] == 0


def test_minilm_as_it_is_ranks_real_pairs() -> None:
    path = data_set("stsb/sts-dev.csv")
    header = ["genre", "file", "year", "number", "score", "a", "b"]
    split = {"path": str(path), "format": "tsv", "header": header}
    rows = data.load(Task.model_validate(SPEC | {"dev": split, "train": split, "label": "score"})).dev[::15]
    source = checkpoint.locate("minilm")
    assert isinstance(source, Path) and heads.pooling.read(source) == "mean"
    encoder = Encoder(source / "tokenizer.json", 64)
    encoded = embedding().encode(rows, encoder)
    found = heads.answers(heads.load("embedding", source), "embedding", encoded.features, encoder.pad_id)
    assert embedding().score(found, encoded)["spearman"] > 0.8

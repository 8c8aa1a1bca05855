"""The task of question answering: from files and recipes to batches, scores, and a student that was distilled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar import pipeline, recipe_file
from attar.errors import AttarError, UsageError
from attar.recipe import Recipe, Task
from attar.tasks import data, kinds
from attar.tasks.encoding import Encoder
from attar.tasks.reading import EncodedWindows, ReadingTask
from attar.tasks.squad import Answer, Question
from attar.teachers import checkpoint, heads, question_answering
from conftest import tiny_teacher, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st

ROOMS = ["kitchen", "bedroom", "house"]
FILLER = ["light", "music", "warm", "please", "quiet", "evening", "song", "turn", "down", "play"]
FORM = {
    "name": "mood",
    "question": "how is it",
    "options": {"1": "sun", "0": "rain"},
    "text": "sentence",
    "label": "mood",
}


def squad_file(path: Path, articles: int = 6, rows: int = 4, *, impossible: bool = False, wrong: int = 0) -> Path:
    """Articles whose contexts hold one room among other words; the last questions of `wrong` articles are misplaced."""
    found = []
    for article in range(articles):
        paragraphs = []
        for row in range(rows):
            generator = np.random.default_rng((article, row))
            words = [*generator.choice(FILLER, 6), ROOMS[generator.integers(3)], *generator.choice(FILLER, 3)]
            context = " ".join([*words, "in", str(article), str(row)])
            start = context.index(words[6]) + (article < wrong and row == rows - 1)
            asked: dict[str, Any] = {"id": f"{article} {row}", "question": "which room"}
            asked["answers"] = [{"text": words[6], "answer_start": start}]
            if impossible and row == 0:
                asked |= {"answers": [], "is_impossible": True}
            paragraphs.append({"context": context, "qas": [asked]})
        found.append({"title": f"article {article}", "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "2.0", "data": found}), "utf-8")
    return path


def moods(path: Path, rows: int = 20) -> Path:
    lines = [f"{FILLER[n % 10]} {('snow', 'morning')[n % 2]} {n}\t{n % 2}" for n in range(rows)]
    path.write_text("\n".join(["sentence\tmood", *lines]) + "\n", "utf-8")
    return path


def task(**settings: Any) -> Task:
    return Task.model_validate({"kind": "question_answering", "train": {"path": "a.json"}} | settings)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(tiny_tokenizer(tmp_path_factory.mktemp("words")), 16)


def asked(*words: int) -> list[Question]:
    """A question for each number of context words; its answer is the last one."""
    contexts = [" ".join([*["music", *FILLER * 3][: count - 1], "kitchen"]) for count in words]
    return [Question(str(n), "which room", c, (Answer("kitchen", c.index("kitchen")),)) for n, c in enumerate(contexts)]


def test_a_batch_holds_windows_and_the_pieces_of_their_answers(encoder: Encoder) -> None:
    rows = asked(4, 20)
    encoded = ReadingTask(task(stride=4), rows).encode(rows, encoder)
    assert [window.row for window in encoded.windows] == sorted(window.row for window in encoded.windows)
    assert encoded.lengths == [len(row.input_ids) for row in encoded.features] and max(encoded.lengths) == 16
    picked = np.array([len(encoded.windows) - 1, 0])
    batch = encoded.batch(picked, encoder.pad_id)
    assert batch.inputs["input_ids"].shape == (2, max(encoded.lengths[n] for n in picked))
    assert batch.owner.tolist() == [0, 1] and encoded.sequences(picked).tolist() == picked.tolist()
    words = encoder.tokenizer.encode("kitchen", add_special_tokens=False).ids
    for row, (start, end) in zip(batch.inputs["input_ids"], batch.targets, strict=True):
        assert row[start : end + 1].tolist() == words
    first = next(n for n, window in enumerate(encoded.windows) if window.row == 1)
    assert encoded.batch(np.array([first]), 0).targets.tolist() == [[0, 0]]  # the answer is in a later window


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(4, 18))
def test_what_fits_keeps_all_windows_of_a_question(encoder: Encoder, words: list[int], length: int) -> None:
    rows = asked(*words)
    encoded = ReadingTask(task(stride=4), rows).encode(rows, encoder)
    part, sequences = encoded.fitting(length)
    assert [part.features[n] for n in range(len(sequences))] == [encoded.features[n] for n in sequences]
    kept = {row.id for row in part.questions}
    for number, row in enumerate(rows):
        own = [n for n, window in enumerate(encoded.windows) if window.row == number]
        assert (row.id in kept) == all(encoded.lengths[n] <= length for n in own)
        assert (row.id in kept) == (set(own) <= set(sequences.tolist())) == bool(set(own) & set(sequences.tolist()))
    assert [part.questions[window.row].id for window in part.windows] == [
        rows[encoded.windows[n].row].id for n in sequences
    ]


def right_answers(encoded: EncodedWindows) -> list[np.ndarray]:
    found = [np.zeros((length, 2), np.float32) for length in encoded.lengths]
    for values, window in zip(found, encoded.windows, strict=True):
        values[window.start, 0] = values[window.end, 1] = 9
    return found


def test_scores_are_of_questions_and_follow_what_is_asked(encoder: Encoder) -> None:
    rows = asked(4, 20, 9)
    plain = ReadingTask(task(stride=4), rows)
    encoded = plain.encode(rows, encoder)
    answers = right_answers(encoded)
    assert plain.metric == "f1" and plain.score(answers, encoded) == {"exact": 1.0, "f1": 1.0}
    assert plain.tune(answers, encoded) == {}
    lost = [np.zeros_like(values) if w.row == 1 else values for values, w in zip(answers, encoded.windows, strict=True)]
    assert plain.score(lost, encoded)["exact"] == pytest.approx(2 / 3)
    none = [*rows, Question("n", "which room", "turn down the song", impossible=True)]
    doubtful = ReadingTask(task(stride=4), rows, ["nothing"])  # among rows that were set aside
    assert doubtful.metric == "best_f1"
    encoded = doubtful.encode(none, encoder)
    answers = right_answers(encoded)
    scores = doubtful.score(answers, encoded)
    assert scores["best_f1"] == scores["NoAns_f1"] == scores["HasAns_f1"] == 1.0
    assert not [name for name in scores if "thresh" in name] and max(scores.values()) <= 1
    threshold = doubtful.tune(answers, encoded)["no_answer_threshold"]
    assert -18 <= threshold < 18  # null less best: 0 - 18 where there is an answer, 18 - 0 where there is none
    assert ReadingTask(task(metric="exact"), none).metric == "exact"


def test_a_recipe_reads_files_halves_and_classifications(tmp_path: Path) -> None:
    path, table = squad_file(tmp_path / "a.json", wrong=2), moods(tmp_path / "moods.tsv")
    both = [{"path": str(path), "part": half} for half in ("first half", "second half")]
    mood = {"path": str(table), "as_question": FORM}
    found = data.load(task(train=[both[0], mood], dev=[both[1], mood], test={"path": str(path)}))
    assert [len(found.train), len(found.dev), len(found.test)] == [11 + 20, 11 + 20, 22]
    first, second = ({row.article for row in rows if not row.source} for rows in (found.train, found.dev))
    assert len(first) == len(second) == 3 and not first & second
    assert found.labels == ["option", "words"]
    assert sum("left out 2 answers" in remark for remark in found.remarks) == 3 and str(path) in found.remarks[0]
    (row,) = [row for row in found.train if row.where.endswith(":4")]
    assert row.context == "sun, rain. warm snow 2" and row.answers == (Answer("rain", 5),)
    again = data.load(task(train=[both[0], mood], dev=both[1]), seed=5)
    assert again.train == found.train  # other seeds have the same halves
    other = tmp_path / "other"
    other.mkdir()
    moved = [{"path": str(squad_file(other / "b.json", wrong=2)), "part": "first half"}]
    moved.append({"path": str(moods(other / "c.tsv")), "as_question": FORM})
    assert data.load(task(train=moved, dev=both[1])).digests()["train"] == found.digests()["train"]
    asked = {
        half: data.load(task(train=both[0], dev=mood | {"part": half})).dev for half in ("first half", "second half")
    }
    assert [len(rows) for rows in asked.values()] == [10, 10]
    assert {row.id for rows in asked.values() for row in rows} == {f"mood/{number}" for number in range(1, 21)}
    held = data.load(task(train={"path": str(path)}, holdout=0.3))
    assert held.dev and not {row.article for row in held.dev} & {row.article for row in held.train}


def test_a_mixture_is_of_the_training_rows(tmp_path: Path) -> None:
    path, table = squad_file(tmp_path / "a.json"), moods(tmp_path / "moods.tsv", 6)
    files = [{"path": str(path)}, {"path": str(table), "as_question": FORM}]
    spec = task(train=files, dev=files, mixture={"rows": 36, "limit": 12})
    found = data.load(spec)
    assert sum(row.source == "mood" for row in found.train) == 12 and len(found.train) == 36
    assert len(found.dev) == 30
    assert kinds.KINDS["question_answering"].build(spec, found.train, found.labels).metric == "score"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metric": "mcc"}, "metric mcc scores a classification, this task is a question answering"),
        ({"train": {"path": "a.tsv", "format": "tsv"}}, "format tsv is not of a question answering"),
        ({"kind": "classification", "train": {"path": "a", "part": "first half"}}, "`part` needs `kind: question"),
        ({"train": {"path": "a", "format": "squad", "as_question": FORM}}, "format squad is not of"),
        ({"kind": "classification", "train": {"path": "a", "as_question": FORM}}, "`as_question` needs"),
        ({"kind": "classification", "train": {"path": "a", "format": "squad"}}, "format squad is not of"),
        ({"kind": "classification", "mixture": {"rows": 3}}, "`mixture` needs"),
        ({"kind": "regression", "stride": 3}, "`stride` needs"),
        ({"train": None, "builtin": "assistant"}, "`builtin` is a classification"),
        ({"train": {"path": "a", "as_question": FORM | {"name": "a b"}}}, r"as_question\.name"),
    ],
)
def test_recipes_that_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    values = {"kind": "question_answering", "train": {"path": "a.json"}} | settings
    with pytest.raises(UsageError, match=words):
        recipe_file.parse({"name": "x", "task": {k: v for k, v in values.items() if v is not None}})


def test_files_and_rows_that_cannot_be_scored(tmp_path: Path) -> None:
    table = moods(tmp_path / "moods.tsv")
    with pytest.raises(AttarError, match=r"moods\.tsv: the file's ending is not \.json.*as_question"):
        data.load(task(train={"path": str(table)}))
    with pytest.raises(AttarError, match=r"nowhere\.json: no such file"):
        data.load(task(train={"path": str(tmp_path / "nowhere.json")}))
    unknown = {"path": str(table), "as_question": FORM | {"options": {"1": "sun", "2": "rain"}}}
    with pytest.raises(AttarError, match=r"moods\.tsv:2: the label '0' has no option"):
        data.load(task(train=unknown))
    mood = data.load(task(train={"path": str(table), "as_question": FORM})).train
    with pytest.raises(AttarError, match=r"no question to score by f1.*metric: score"):
        ReadingTask(task(metric="f1"), mood)
    turned = FORM | {"options": {"0": "rain", "1": "sun"}}
    other = data.load(task(train={"path": str(table), "as_question": turned})).train
    with pytest.raises(AttarError, match="rows of 'mood' have different options"):
        ReadingTask(task(), mood).check([*mood, *other])


def test_a_recipe_teaches_and_distils(tmp_path: Path) -> None:
    """One span model for questions, some of them impossible, and a classification; its student is one too."""
    tiny_teacher(tmp_path / "model")
    train = squad_file(tmp_path / "train.json", 8, 6, impossible=True)
    files = [{"path": str(train), "part": "first half"}, {"path": str(moods(tmp_path / "m.tsv"))}]
    files[1]["as_question"] = FORM  # type: ignore[assignment]
    spec = {
        "name": "reading",
        "threads": 1,
        "task": {
            "kind": "question_answering",
            "train": files,
            "dev": [files[0] | {"part": "second half"}, files[1]],
            "max_length": 32,
            "stride": 4,
        },
        "teacher": {"model": str(tmp_path / "model"), "training": {"epochs": 2, "learning_rate": 1e-3}},
        "student": {"kind": "distilbert", "layers": 1},
        "distil": {"intermediate": {"epochs": 1}, "prediction": {"epochs": 1}},
        "export": {"tflite": []},
    }
    context = pipeline.run(Recipe.model_validate(spec), tmp_path / "run", until="distil")
    card = context.task_card()
    assert (card["kind"], card["metric"], card["labels"]) == ("question_answering", "score", ["start", "end"])
    for stage, folder in (("teach", "teacher"), ("distil", "student")):
        scores = context.results[stage]["scores"]["dev"]
        assert {"f1", "best_f1", "mood_accuracy", "score", "NoAns_f1"} <= set(scores)
        assert all(0 <= value <= 1 for value in scores.values())
        assert context.task.score(context.outputs(folder)["dev"], context.splits(folder)["dev"]) == pytest.approx(
            scores
        )
        assert context.results[stage]["training"][-1]["epochs"][-1]["scores"]["score"] <= 1
    taught = context.results["teach"]
    assert taught["tuned"] == pytest.approx(
        context.task.tune(context.outputs("teacher")["dev"], context.splits(folder)["dev"])
    )  # type: ignore[attr-defined]
    model = heads.load("span", tmp_path / "run" / "student")
    assert model.config.num_labels == 2
    assert checkpoint.unique_parameters(model) < taught["parameters"]
    row = context.data.dev[1]
    found = question_answering.answer(model, context.encoder("student"), row.question, row.context, stride=4)
    assert found.spans and row.context[found.spans[0].start : found.spans[0].end] == found.spans[0].text

"""Slots with intents and multiple choice as a recipe states them: from their files to a student with the same head."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar import pipeline, recipe_file
from attar.errors import AttarError, UsageError
from attar.recipe import Recipe, Task
from attar.tasks import data
from attar.teachers import heads
from helpers import TAGGED, data_set, parallel
from transformers import AutoConfig

SLOTS = [TAGGED[number] for number in (0, 1, 2, 3, 5, 7)]
CHOICES = [
    ("turn on", ["the lights", "the forecast"], "A"),
    ("play some", ["snow", "quiet music", "morning"], "B"),
    ("will it rain", ["volume", "every light", "tomorrow"], "C"),
    ("stop the", ["song", "weekend"], "A"),
    ("how warm is", ["the song", "it outside"], "B"),
    ("what is the", ["forecast", "switch off", "turn on"], "A"),
]


def asked(folder: Path, name: str, rows: list[tuple[str, list[str], str]]) -> dict[str, str]:
    """Write rows as AI2's JSONL."""
    lines = []
    for stem, texts, key in rows:
        choices = [{"label": "ABC"[place], "text": text} for place, text in enumerate(texts)]
        lines.append(json.dumps({"question": {"stem": stem, "choices": choices}, "answerKey": key}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return {"path": str(folder / f"{name}.jsonl"), "format": "commonsenseqa"}


def run(folder: Path, model: Path, task: dict[str, Any], student: dict[str, Any], until: str) -> pipeline.Context:
    """Run a recipe; the runs of one folder share their teacher."""
    phase = {"epochs": 12, "learning_rate": 3e-3, "batch_size": 4}
    spec = Recipe.model_validate(
        {
            "name": "tiny",
            "threads": 1,
            "task": task | {"max_length": 32},
            "teacher": {"model": str(model), "training": phase},
            "student": student,
            "distil": {"intermediate": phase | {"epochs": 1}, "prediction": phase | {"hard": 1.0}},
            "export": {"tflite": []},
        }
    )
    return pipeline.run(spec, folder / "runs" / (student.get("kind") or "teacher"), until=until)


STUDENTS = [{"kind": "tinybert", "layers": 2, "hidden_size": 24, "intermediate_size": 48}, {"kind": "distilbert"}]


def test_slots_and_intents_are_taught_and_distilled(teacher: Path, tmp_path: Path) -> None:
    task = {
        "kind": "token_classification",
        "train": parallel(tmp_path, "train", SLOTS * 4),
        "dev": parallel(tmp_path, "dev", SLOTS),
    }
    taught = run(tmp_path, teacher, task, {}, "teach")
    assert taught.task.metric == "joint_accuracy"
    assert taught.task_card()["labels"][-3:] == ["intent:lights", "intent:music", "intent:weather"]
    assert taught.results["teach"]["scores"]["dev"]["joint_accuracy"] > 0.6
    for student, name in zip(STUDENTS, ("Bert", "DistilBert"), strict=True):
        found = run(tmp_path, teacher, task, student, "distil")
        assert found.stages[0]["reused"]
        assert found.results["distil"]["scores"]["dev"]["slot_f1"] > 0.6
        assert found.reload_check()["passed"]
        config = AutoConfig.from_pretrained(found.out / "student")
        assert config.architectures == [f"{name}ForTokenClassification"]
        assert [config.id2label[number] for number in range(taught.task.outputs)] == taught.task.labels


def test_choices_are_taught_and_distilled(teacher: Path, tmp_path: Path) -> None:
    train, dev = (
        asked(tmp_path, "train", [*CHOICES * 4, ("which of one", ["this"], "A")]),
        asked(tmp_path, "dev", CHOICES),
    )
    task = {"kind": "multiple_choice", "train": train, "dev": dev, "bad_rows": "skip"}
    taught = run(tmp_path, teacher, task, {}, "teach")
    assert len(taught.data.train) == 24
    assert taught.data.remarks == [
        f"{train['path']}: 1 rows are no question and were left out, the first: {train['path']}:25: "
        "a question with one candidate; a choice needs two or more"
    ]
    assert taught.results["teach"]["scores"]["dev"]["accuracy"] > 0.8
    for student, name in zip(STUDENTS, ("Bert", "DistilBert"), strict=True):
        found = run(tmp_path, teacher, task, student, "distil")
        assert found.results["distil"]["scores"]["dev"]["accuracy"] > 0.6
        assert found.reload_check()["passed"]
        config = AutoConfig.from_pretrained(found.out / "student")
        assert config.architectures == [f"{name}ForMultipleChoice"]
    with pytest.raises(AttarError, match=r"train\.jsonl:25: a question with one candidate"):
        run(tmp_path, teacher, task | {"bad_rows": "refuse"}, {}, "teach")


def test_labels_of_rows_that_were_held_out_are_outputs_too(tmp_path: Path) -> None:
    spec = Task.model_validate(
        {"kind": "token_classification", "train": parallel(tmp_path, "all", SLOTS), "holdout": 0.5, "limit": 1}
    )
    found = data.load(spec)
    assert (len(found.train), len(found.dev)) == (1, 3)
    task = data.kinds.KINDS[spec.kind].build(spec, found.train, found.labels)
    kinds = ["device", "item", "kind", "mood", "room", "time"]
    intents = ["intent:lights", "intent:music", "intent:weather"]
    assert task.labels == ["O", *(f"B-{kind}" for kind in kinds), "I-time", *intents]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_the_columns_of_a_choice_stand_in_the_recipe(tmp_path: Path, name: str) -> None:
    sign = "\t" if name == "a.tsv" else ","
    cells = [["sent1", "sent2", "one", "two", "gold"], ["A cook sits down.", "She", "eats.", "melts.", "0"]]
    text = "\n".join(sign.join(row) for row in cells)
    if name == "a.jsonl":
        text = json.dumps(dict(zip(*cells, strict=True)))
    (tmp_path / name).write_text(text + "\n", "utf-8")
    columns = {"text": ["context", "sent1"], "start": "sent2", "candidates": ["one", "two"], "label": "gold"}
    files = {"kind": "multiple_choice", "train": {"path": str(tmp_path / name)}}
    (row,), remarks = data.kinds.read(Task.model_validate(files | columns), "train")
    assert row[:3] == ("A cook sits down.", ["She eats.", "She melts."], 0)
    assert remarks == []
    with pytest.raises(AttarError, match=rf"{name}:.: no column 'twos'.*did you mean 'two'.*set task\.candidates"):
        data.kinds.read(Task.model_validate(files | columns | {"candidates": ["one", "twos"]}), "train")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"metric": "slot_f1"}, "metric slot_f1 scores a token classification, this task is a classification"),
        (
            {"kind": "multiple_choice", "candidates": ["a"], "metric": "f1"},
            "metric f1 scores a classification or question answering, this task is a multiple choice",
        ),
        ({"kind": "token_classification", "metric": "accuracy"}, "accuracy scores a classification or multiple choice"),
        ({"train": {"path": "x", "format": "conll"}}, "format conll is not of a classification, which has tsv, csv"),
        (
            {"kind": "token_classification", "train": {"path": "x", "format": "tsv"}},
            "format tsv is not of a token classification, which has parallel, conll, rasa",
        ),
        (
            {
                "kind": "multiple_choice",
                "train": {"path": "x", "format": "arc"},
                "dev": {"path": "y", "format": "rasa"},
            },
            "format rasa is not of a multiple choice, which has columns, commonsenseqa, openbookqa, arc, hellaswag",
        ),
        ({"kind": "multiple_choice"}, "set `candidates`"),
        ({"candidates": ["a", "b"]}, "`candidates` needs `kind: multiple_choice`"),
        (
            {"kind": "token_classification", "bad_rows": "skip"},
            "`bad_rows` needs `kind: classification or regression or multiple_choice or embedding`",
        ),
        ({"kind": "token_classification", "text_pair": "b"}, "`text_pair` needs `kind: classification or regression"),
        ({"kind": "token_classification", "train": None, "builtin": "assistant"}, "`builtin` is a classification"),
    ],
)
def test_what_does_not_belong_to_the_kind_is_refused(task: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_file.parse({"name": "x", "task": {"train": {"path": "x.tsv"}, "max_length": 32} | task})
    assert words in caught.value.line()
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(("name", "train", "dev"), [("snips", 13084, 700), ("commonsenseqa", 8767, 974)])
def test_ready_recipes_read_their_data(monkeypatch: pytest.MonkeyPatch, name: str, train: int, dev: int) -> None:
    monkeypatch.setenv("ATTAR_DATA", str(data_set(name).parent))
    spec = recipe_file.load(Path(name))
    found = data.load(spec.task, spec.seed)
    assert (len(found.train), len(found.dev)) == (train, dev)
    task = data.kinds.KINDS[spec.task.kind].build(spec.task, found.train, found.labels)
    task.check(found.dev)
    assert task.metric == ("joint_accuracy" if name == "snips" else "accuracy")


def test_a_pair_in_both_orders_has_one_answer(teacher: Path, tmp_path: Path) -> None:
    """Whichever text comes first, the answer is the same; it goes to the student too."""
    rows = [(a, b, float(x == y)) for a, _, x in SLOTS for b, _, y in SLOTS if a < b]
    (tmp_path / "pairs.tsv").write_text("a\tb\tlabel\n" + "".join(f"{a}\t{b}\t{s}\n" for a, b, s in rows * 3), "utf-8")
    (tmp_path / "turned.tsv").write_text("a\tb\tlabel\n" + "".join(f"{b}\t{a}\t{s}\n" for a, b, s in rows), "utf-8")
    files = {name: {"path": str(tmp_path / f"{file}.tsv")} for name, file in (("train", "pairs"), ("dev", "turned"))}
    task = {"kind": "regression", "text": "a", "text_pair": "b", "both_orders": True, **files}
    found = run(tmp_path, teacher, task, STUDENTS[0], "distil")
    assert found.results["teach"]["scores"]["dev"]["spearman"] > 0.5
    assert found.reload_check()["passed"]
    straight = found.task.encode(found.data.train[: len(rows)], found.encoder("teacher"))
    for role in ("teacher", "student"):
        model = heads.load("sequence", found.out / role)
        sums = [
            np.stack(heads.answers(model, "sequence", split.features, found.encoder("teacher").pad_id))
            .reshape(-1, 2)
            .sum(1)
            for split in (straight, found.splits("teacher")["dev"])
        ]
        np.testing.assert_allclose(*sums, atol=1e-4)


def test_a_label_that_no_row_is_left_of_may_have_a_name(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"{t}\t{n % 3}\n" for n, (t, _, _) in enumerate(SLOTS)))
    files = {name: {"path": str(tmp_path / "a.tsv")} for name in ("train", "dev")}
    names = {"0": "lights", "1": "music", "2": "weather"}
    found = run(tmp_path, teacher, {**files, "label_names": names, "limit": 1}, {}, "teach")
    assert found.data.counts() == {"train": 1, "dev": 6}
    assert list(AutoConfig.from_pretrained(found.out / "teacher").label2id) == ["lights", "music", "weather"]

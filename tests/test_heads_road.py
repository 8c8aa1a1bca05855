"""Every head goes the whole road, a trimmed vocabulary on it: to a bundle whose answers are the PyTorch student's.

A pair in both orders goes its road in test_gpt_road.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar import pipeline, recipe
from attar.cli import main
from attar.errors import AttarError, UsageError
from attar.export import answers, bundle, golden, manifest
from attar.export.answers import Asked
from attar.export.predict import Predictor
from attar.recipe import Recipe
from attar.tasks import as_question, windows
from attar.tasks.reading import ReadingTask
from attar.tasks.table import Example
from attar.teachers import heads
from conftest import SENTENCES
from helpers import parallel
from test_kinds import CHOICES, SLOTS, asked

Capture = pytest.CaptureFixture[str]
CONTEXT = " ".join(SENTENCES)


def squad(folder: Path) -> dict[str, str]:
    """A SQuAD 2.0 file: words of a context, and one question that it does not answer."""
    contexts = [" ".join(SENTENCES[:3]), " ".join(SENTENCES[3:6]), CONTEXT]
    paragraphs = []
    for place, context in enumerate(contexts):
        words = context.split()
        rows: list[dict[str, Any]] = []
        for number in range(0, len(words), 6):
            word = words[number]
            told = {"question": f"which {word}", "answers": [{"text": word, "answer_start": context.index(word)}]}
            none = {"question": "snow", "answers": [], "is_impossible": True}
            rows.append({"id": f"{place}-{number}", **(told if place or number else none)})
        paragraphs.append({"context": context, "qas": rows})
    (folder / "squad.json").write_text(json.dumps({"data": [{"title": "a", "paragraphs": paragraphs}]}), "utf-8")
    return {"path": str(folder / "squad.json")}


def pairs(folder: Path) -> dict[str, str]:
    """Pairs of texts with a score."""
    lines = [f"{a}\t{b}\t{float(x == y)}\n" for a, _, x in SLOTS for b, _, y in SLOTS if a < b]
    (folder / "pairs.tsv").write_text("a\tb\tlabel\n" + "".join(lines), "utf-8")
    return {"path": str(folder / "pairs.tsv")}


TASKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "tokens": lambda folder: {"kind": "token_classification", "train": parallel(folder, "train", SLOTS * 2)},
    "span": lambda folder: {
        "kind": "question_answering", "train": squad(folder), "stride": 6, "max_question": 8, "max_answer": 4,
    },
    "choice": lambda folder: {"kind": "multiple_choice", "train": asked(folder, "train", CHOICES * 2)},
    "embedding": lambda folder: {"kind": "embedding", "text": "a", "text_pair": "b", "train": pairs(folder)},
}  # fmt: skip
_runs: dict[str, pipeline.Context] = {}


@pytest.fixture(params=TASKS)
def road(request: pytest.FixtureRequest, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Context:
    """A whole run of each kind, made once; the static file is made for those whose graph has a part of its own."""
    name = request.param
    if name not in _runs:
        folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
        task = TASKS[name](folder)
        phase = {"epochs": 8, "learning_rate": 3e-3, "batch_size": 8}
        static = name in ("tokens", "embedding")
        taught = {"soft": 0, "similarity": 1.0} if name == "embedding" else {"hard": 1.0}
        trim = {"trim": {"coverage": 1.0 if name == "span" else 0.9}}  # pieces are compared where rows are in step
        spec = {
            "name": "tiny",
            "threads": 1,
            "task": task | {"dev": task["train"], "max_length": 32},
            "teacher": {"model": str(teacher), "training": phase, "finetune": name != "embedding"},
            "student": {"kind": "tinybert", "layers": 1, "hidden_size": 24, "intermediate_size": 48},
            "distil": {"intermediate": None, "prediction": phase | taught},
            "compress": [trim | ({"heal": None} if name == "span" else {"heal": {"prediction": {**phase, **taught}}})],
            "export": {"ort": [], "tflite": ["fp32"] if static else [], "lengths": [32], "tolerance": 40},
            "measure": {"lengths": [16], "threads": [1], "queries": 2, "warmup": 1},
        }
        _runs[name] = pipeline.run(Recipe.model_validate(spec), folder / "run")
    return _runs[name]


def pytorch(road: pipeline.Context, rows: list[Asked]) -> list[Any]:
    """What the saved student says, all sequences in one padded batch."""
    model = heads.load(road.task.head, road.student)
    posed = [road.form.pose(row, road.encoder("student")) for row in rows]
    features = [row for one in posed for row in one.features]
    return answers.said(posed, heads.answers(model, road.task.head, features, road.encoder("student").pad_id))


def same(found: list[Any], wanted: list[Any]) -> bool:
    close = [abs(a - b) < 1e-3 if isinstance(a, float) else a == b for a, b in zip(found, wanted, strict=True)]
    return all(close)


def test_every_artefact_is_proved_and_the_bundle_answers_as_pytorch_does(road: pipeline.Context) -> None:
    record = json.loads((road.out / "run.json").read_text("utf-8"))
    assert all(model["status"] == "ok" for model in record["models"]), record["checks"]
    models = {model["name"]: model for model in record["models"]}
    assert {"model.onnx", "model-int8.onnx"} <= set(models)
    metric, student = road.task.metric, models["student"]["scores"]["dev"]
    assert models["model.onnx"]["scores"]["dev"][metric] == pytest.approx(student[metric], abs=1e-6)
    # of a student that knows little two pieces may be as good, and another processor's rounding take the other one
    assert models["model.onnx"]["golden_agreement"] > 0.9 and models["model.onnx"]["cost"]["latencies"]
    assert not [check for check in bundle.verify(road.out / "bundle") if not check.passed]
    assert metric in (road.out / "report.md").read_text("utf-8")
    rows = [road.form.asked(row) for row in road.data.dev]
    wanted = pytorch(road, rows)
    assert len(set(wanted)) > 1  # or the test would say nothing
    for file in [name for name in models if name.startswith("model") and "int8" not in name and " in " not in name]:
        found = [answer.said for answer in Predictor(road.out / "bundle", file).predict(rows)]
        alike = [same([ours], [theirs]) for ours, theirs in zip(found, wanted, strict=True)]
        assert sum(alike) > 0.9 * len(alike), file


def test_golden_examples_hold_every_sequence_of_a_row(road: pipeline.Context) -> None:
    examples = golden.read(road.out / "bundle" / "golden.jsonl")
    dev = road.splits("student")["dev"]
    for example in examples:
        posed = road.form.pose(example.asked, road.encoder("student"))
        assert [one.features[:2] for one in example.sequences] == [row[:2] for row in posed.features]
        for one in example.sequences:
            assert one.answer.shape == road.bundle_card().shape(len(one.input_ids))
    assert len(examples) == min(dev.count, golden.ROWS)
    several = max(len(example.sequences) for example in examples)
    assert (several > 1) == (road.task.head != "tokens")
    notes = json.loads((road.out / "run.json").read_text("utf-8"))["notes"]
    assert any("of one inference" in note for note in notes) == (several > 1)


WORDS = {
    "tokens": (["play the song in the kitchen"], "play the song\nhow warm is it\n"),
    "span": (["which lights", "--pair", CONTEXT], f"which lights\t{CONTEXT}\nsnow\tplay the song\n"),
    "choice": (["turn on", "--candidate", "the lights", "--candidate", "snow"], "turn on\tthe lights\tsnow\tmusic\n"),
    "sequence": (["play the song", "--pair", "play music"], "play the song\tplay music\n"),
    "embedding": (["play the song", "--pair", "play music"], "play the song\tplay music\nsnow\n"),
}


def test_the_command_answers(road: pipeline.Context, tmp_path: Path, capsys: Capture) -> None:
    folder, (words, lines) = str(road.out / "bundle"), WORDS[road.task.head]
    assert main(["predict", folder, *words, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["text"] == words[0] and one["truncated"] is False
    if road.task.head == "tokens":
        assert one["intent"] == max(one["intents"], key=one["intents"].__getitem__)
        assert all(one["text"][slot["start"] : slot["end"]] == slot["text"] for slot in one["slots"])
    elif road.task.head == "span":
        assert one["no_answer_threshold"] is not None
        spans = one["spans"] + ([one["answer"]] if one["answer"] else [])
        assert spans and all(CONTEXT[span["start"] : span["end"]] == span["text"] for span in spans)
        assert (one["answer"] is None) == (one["no_answer"] > one["no_answer_threshold"])
    elif road.task.head == "choice":
        assert sum(one["probabilities"]) == pytest.approx(1) and one["answer"] == one["candidates"][one["choice"]]
    elif road.task.head == "embedding":
        texts = [("play the song", None), ("play music", None)]
        first, second = (answer.said for answer in Predictor(road.out / "bundle").predict(texts))
        assert len(first) == 24 and np.linalg.norm(first) == pytest.approx(1, abs=1e-3)
        assert one["cosine"] == pytest.approx(np.dot(first, second), abs=1e-4)
        assert main(["predict", folder, "snow", "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert set(alone) == {"text", "embedding", "truncated"} and len(alone["embedding"]) == 24
        assert main(["predict", folder, "snow"]) == 0
        assert "(24 numbers; --json gives all)" in capsys.readouterr().out
    else:
        turned = Predictor(road.out / "bundle").predict([("play music", "play the song")])
        assert one["value"] == pytest.approx(turned[0].said, abs=1e-5)
    assert main(["predict", folder, *words]) == 0
    assert capsys.readouterr().out.strip()
    (tmp_path / "lines.txt").write_text(lines, "utf-8")
    assert main(["predict", folder, "--file", str(tmp_path / "lines.txt")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == lines.count("\n")


def test_what_the_model_does_not_read_is_one_line(road: pipeline.Context, capsys: Capture) -> None:
    wrong = {
        "tokens": (["a", "--pair", "b"], 2, "this model reads single texts"),
        "span": (["a"], 2, "this model reads a question and its context; give the context with --pair"),
        "choice": (["a", "--candidate", "b"], 1, "a question with one candidate; a choice needs two or more"),
        "sequence": (["a"], 2, "this model reads pairs of texts"),
        "embedding": (["a", "--candidate", "b"], 2, "this model reads one text, or two to compare"),
    }
    words, code, line = wrong[road.task.head]
    assert main(["predict", str(road.out / "bundle"), *words]) == code
    assert capsys.readouterr().err == f"attar: tiny: {line}\n"


def damaged(road: pipeline.Context, folder: Path, change: dict[str, Any]) -> Path:
    """A copy of the bundle whose task's card has these other values."""
    shutil.copytree(road.out / "bundle", folder)
    words = json.loads((folder / manifest.NAME).read_text("utf-8"))
    words["task"] |= change
    (folder / manifest.NAME).write_text(json.dumps(words), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "translation"}, "task.kind"),
        ({"head": "sideways"}, "task.head"),
        ({"kind": "classification", "head": "tokens"}, "the head of classification is 'sequence'"),
        ({"tokens": {"slots": ["O", "B-x"]}, "labels": ["O"]}, "task"),
        ({"kind": "embedding", "head": "embedding", "width": 0, "tokens": None, "span": None}, "task.width"),
        ({"span": {"stride": -1, "max_question": 1, "max_answer": 1, "n_best": 1}}, "task.span.stride"),
    ],
)
def test_a_foreign_card_is_refused(road: pipeline.Context, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = damaged(road, tmp_path / "bundle", change)
    with pytest.raises(AttarError) as caught:
        Predictor(folder)
    assert said in caught.value.line() and "\n" not in caught.value.line()
    (check,) = bundle.verify(folder)
    assert not check.passed and said in check.detail


def test_a_card_of_another_task_is_told_from_the_answers(road: pipeline.Context, tmp_path: Path) -> None:
    other = {"kind": "classification", "head": "sequence", "labels": ["a", "b"], "pair": False, "both_orders": False}
    folder = damaged(road, tmp_path / "bundle", other | {"tokens": None, "span": None, "width": None})
    with pytest.raises(AttarError, match=r"answers of shape .* and the manifest's task has"):
        Predictor(folder).predict([("play the song", None)])
    assert any(not check.passed for check in bundle.verify(folder))


def test_a_threshold_decides_between_words_and_none(teacher: Path) -> None:
    card = manifest.SpanCard(stride=2, max_question=8, max_answer=3, n_best=5)
    encoder = golden_encoder(teacher)
    for threshold, found in ((None, True), (1e9, True), (-1e9, False)):
        form = answers.form(
            manifest.TaskCard(
                kind="question_answering",
                head="span",
                labels=["start", "end"],
                pair=True,
                span=card.model_copy(update={"no_answer_threshold": threshold}),
            )
        )
        posed = form.pose(Asked("which", "play the song"), encoder)
        logits = [np.random.default_rng(0).normal(size=(len(row.input_ids), 2)) for row in posed.features]
        answer = posed.answer([values.astype(np.float32) for values in logits])
        assert (answer.said is not None) is found
        assert answer.document()["answer"] is not None or threshold == -1e9
    empty = form.pose(Asked("which", ""), encoder)
    answer = empty.answer([np.zeros((len(row.input_ids), 2), np.float32) for row in empty.features])
    assert answer.said is None and answer.document()["no_answer"] is None and json.dumps(answer.document())


def golden_encoder(teacher: Path) -> Any:
    from attar.tasks.encoding import Encoder

    return Encoder(teacher / "tokenizer.json", 32)


def test_a_classification_is_asked_as_it_was_taught(teacher: Path) -> None:
    """By hand: the logits favour the words of one option, and its label is the answer."""
    spec = recipe.Task.model_validate(
        {
            "kind": "question_answering",
            "stride": 2,
            "train": {
                "path": "rooms.tsv",
                "as_question": {
                    "name": "rooms",
                    "question": "which room?",
                    "options": {"0": "kitchen", "1": "bedroom"},
                },
            },
        }
    )
    told = as_question.Form("rooms", "which room?", {"0": "kitchen", "1": "bedroom"}, "{options}. {text}")
    row = as_question.ask(Example("turn on the lamp", None, "1", "x:1"), told, 1)
    form = answers.form(answers.card(ReadingTask(spec, [row]), {}))
    encoder = golden_encoder(teacher)
    asked = Asked("turn on the lamp", ask="rooms")
    posed = form.pose(asked, encoder)
    assert posed.features == [window.features for window in windows.encode([row], encoder, 2)]
    (window,) = posed.windows  # type: ignore[attr-defined]
    for number, option in enumerate(row.options):
        logits = np.zeros((len(window.features.input_ids), 2), np.float32)
        first, last = windows.places(window, row.context, option.start, option.end) or (0, 0)
        logits[first, 0], logits[last, 1] = 1, 2
        answer = posed.answer([logits])
        assert answer.said == option.label == str(number)
        assert answer.document()["probabilities"][option.label] == pytest.approx(1 / (1 + np.exp(-3)))
        assert answer.document()["ask"] == "rooms"
    with pytest.raises(UsageError, match="taught no 'room'; did you mean 'rooms'"):
        form.pose(Asked("a", ask="room"), encoder)
    with pytest.raises(UsageError, match="rooms reads single texts"):
        form.pose(Asked("a", "b", ask="rooms"), encoder)


@pytest.mark.parametrize(
    ("cut", "text", "slots"),
    [
        ("blanks", "play the song, please", ["song"]),
        ("blanks", "play the 'song'", ["'song'"]),
        ("signs", "play the song, please", ["song"]),
        ("blanks", "play the ...", ["..."]),
    ],
)
def test_a_slot_is_cut_as_the_training_rows_are(teacher: Path, cut: str, text: str, slots: list[str]) -> None:
    """The third word is a song, whatever the model is."""
    tokens = {"slots": ["O", "B-song"], "intents": [], "cut": cut}
    form = answers.form(
        manifest.TaskCard.model_validate(
            {"kind": "token_classification", "head": "tokens", "labels": ["O", "B-song"], "tokens": tokens}
        )
    )
    posed = form.pose(Asked(text), golden_encoder(teacher))
    (row,) = posed.features
    logits = np.tile(np.float32([1, 0]), (len(row.input_ids), 1))
    logits[posed.aligned.firsts[2]] = [0, 1]  # type: ignore[attr-defined]
    found = posed.answer([logits]).document()
    assert [slot["text"] for slot in found["slots"]] == slots
    assert all(text[slot["start"] : slot["end"]] == slot["text"] for slot in found["slots"])
    with pytest.raises(UsageError, match="single texts"):
        form.pose(Asked(text, "pair"), golden_encoder(teacher))

"""Steps of `compress`: each makes the student smaller, is healed, reused, and the bundle is of the last one."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from attar import pipeline, stages
from attar.compress import blocks, healing
from attar.errors import AttarError, UsageError
from attar.export.predict import Predictor
from attar.recipe import Recipe
from attar.recipe_file import parse
from attar.tasks.encoding import Encoder
from attar.teachers import checkpoint, heads
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import parallel, written
from test_kinds import SLOTS
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

PHASE = {"epochs": 8, "learning_rate": 3e-3, "batch_size": 8}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    tiny_teacher(folder / "teacher")
    lines = [f"{SENTENCES[n % 8]} {SENTENCES[(n + 3) % 8]}\t{LABELS[n % 8 % 3]}\n" for n in range(32)]
    written(folder / "rows.tsv", "text\tlabel\n" + "".join(lines))
    return folder


def spec(home: Path, *steps: dict[str, Any], **parts: Any) -> Recipe:
    rows = {"path": str(home / "rows.tsv")}
    values = {
        "name": "steps",
        "threads": 1,
        "task": {"train": rows, "dev": rows, "max_length": 32},
        "teacher": {"model": str(home / "teacher"), "training": PHASE},
        "student": {"kind": "tinybert", "layers": 1},
        "distil": {"intermediate": None, "prediction": PHASE},
        "compress": list(steps),
        "export": {"onnx": ["fp32"], "ort": [], "tflite": [], "tolerance": 40},
        "measure": {"lengths": [16], "threads": [1], "queries": 2, "warmup": 1},
    }
    return Recipe.model_validate(values | parts)


TRIM = {"trim": {"coverage": 0.8}, "heal": {"prediction": PHASE}}
AGAIN = {"trim": {"pieces": 80}, "heal": None}


def test_the_bundle_is_of_the_last_step(home: Path) -> None:
    run = pipeline.run(spec(home, TRIM, AGAIN), home / "runs" / "both")
    names = [stage["name"] for stage in run.stages]
    assert names == ["teach", "distil", "1-trim", "2-trim", "export", "verify", "measure", "bundle"]
    sizes = [run.results[stage]["parameters"] for stage in ("distil", "1-trim", "2-trim")]
    assert sizes[0] > sizes[1] > sizes[2]
    phases = [(one["stage"], one["phase"]) for name in ("1-trim", "2-trim") for one in run.results[name]["training"]]
    assert phases == [("1-trim", "prediction")]  # the second was not healed
    record = json.loads((run.out / "run.json").read_text("utf-8"))
    files = {model["name"]: model for model in record["models"]}
    assert (
        files["student"]["parameters"] == sizes[-1] and files["student"]["file"] == "student-2-trim/model.safetensors"
    )
    assert files["teacher.onnx"]["status"] == files["model.onnx"]["status"] == "ok"  # each with its own pieces
    road = record["road"]
    assert [(stone["stage"], stone["parameters"]) for stone in road] == list(
        zip(("distil", "1-trim", "2-trim"), sizes, strict=True)
    )
    assert all(len(stone["latencies"]) == 1 and stone["latencies"][0]["ratio"] for stone in road)  # in turns
    assert not list((run.out / "measurement").glob("*.onnx"))
    page = (run.out / "report.md").read_text("utf-8")
    shown = page.split("The student's road")[1].split("##")[0]
    assert f"{sizes[0] / sizes[1]:.2f}×" in shown and "| 2-trim |" in shown and "model.onnx" in shown
    ours, theirs = (Tokenizer.from_file(str(run.out / name / "tokenizer.json")) for name in ("bundle", "teacher"))
    assert ours.get_vocab_size() == 80 < theirs.get_vocab_size()
    model = AutoModelForSequenceClassification.from_pretrained(run.student).eval()
    ids = torch.tensor([ours.encode(SENTENCES[0]).ids])
    (found,) = Predictor(run.out / "bundle").predict([(SENTENCES[0],)])
    shares = {model.config.id2label[n]: p for n, p in enumerate(model(ids).logits[0].softmax(0).tolist())}
    assert dict(found.probabilities) == pytest.approx(shares, abs=1e-4)


HEAL = {"heal": {"prediction": PHASE}}
ORDERS = {
    "prune first": [
        {"prune": {"heads": 0.5, "ffn": 0.5, "scope": "global", "steps": 2}, **HEAL},
        {"prune": {"layers": 0.3, "importance": "magnitude"}, **HEAL},
        TRIM,
        {"factorize": {"rank": 8}, **HEAL},
    ],
    "share first": [
        {"share": {"part": "ffn", "start": "mean"}, **HEAL},
        {"factorize": {"rank": 8}, "heal": {"intermediate": PHASE, "prediction": PHASE}},
        TRIM,
        {"prune": {"heads": 0.5, "importance": "activation"}, **HEAL},
    ],
}


@pytest.mark.parametrize("order", ORDERS)
def test_operations_follow_each_other_in_any_order(home: Path, tmp_path: Path, order: str) -> None:
    steps = ORDERS[order]
    export = {"onnx": ["int8"], "ort": [], "tflite": [], "tolerance": 40}
    teacher = {"model": str(tiny_teacher(tmp_path / "teacher", layers=3)), "training": PHASE}
    student = {"kind": "tinybert", "layers": 3}
    whole = spec(home, *steps, teacher=teacher, student=student, export=export)
    run = pipeline.run(whole, home / "runs" / order.replace(" ", "-"), until="verify")
    sizes = [run.results[stage]["parameters"] for stage in whole.student_stages]
    assert all(before > after for before, after in pairwise(sizes))
    if order == "prune first":
        assert len(run.results["1-prune"]["training"]) == 2  # a healing after each cut
        kept = run.results["2-prune"]["layers"]
        assert len(kept) == 2 and set(kept) <= set(run.results["distil"]["layers"])
    record = json.loads((run.out / "run.json").read_text("utf-8"))
    assert all(check["passed"] for check in record["checks"]), [c for c in record["checks"] if not c["passed"]]
    assert checkpoint.unique_parameters(heads.load("sequence", run.student)) == sizes[-1]


def test_an_albert_of_fewer_layers_heals_inside(home: Path, tmp_path: Path) -> None:
    """`share` makes an ALBERT of a BERT, whose layers are one; those that stay are compared with the teacher's."""
    teacher = {"model": str(tiny_teacher(tmp_path / "teacher", layers=3)), "training": PHASE}
    steps = [
        {"share": {"part": "all", "start": "first"}, "heal": None},
        {"prune": {"layers": 0.3, "importance": "magnitude"}, "heal": {"intermediate": PHASE | {"epochs": 1}}},
    ]
    whole = spec(home, *steps, teacher=teacher, student={"kind": "tinybert", "layers": 3})
    run = pipeline.run(whole, tmp_path / "run", until="2-prune")
    before, after = (run.results[stage]["layers"] for stage in ("1-share", "2-prune"))
    assert after == before[:2]


def test_weights_learnt_in_4_bits_pass_the_check(home: Path) -> None:
    step = {"quantize": {"bits": 4, "embeddings": 4}, **HEAL}
    export = {"onnx": ["int4"], "ort": [], "tflite": [], "int4": {"embeddings": 4}, "tolerance": 10}
    run = pipeline.run(spec(home, step, export=export), home / "runs" / "rounded", until="verify")
    assert all(check["passed"] for check in run.results["verify"]["checks"]), run.results["verify"]["checks"]
    assert "model-int4.onnx" in [model["name"] for model in run.results["verify"]["models"]]
    student, before = (heads.load("sequence", folder) for folder in (run.student, run.out / "student"))
    assert [name for name, _ in student.named_parameters()] == [name for name, _ in before.named_parameters()]
    table = student.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(blocks.rounded(table, 32, table=True), table, rtol=1e-5, atol=1e-6)
    changed = spec(home, step, export=export | {"int4": {"embeddings": 4, "block": 16}})
    other = pipeline.run(changed, home / "runs" / "other-blocks", until="1-quantize")
    assert [stage["reused"] for stage in other.stages] == [True, True, False]  # the files' grid is what was learnt


def test_steps_are_reused_and_what_follows_a_changed_one_is_made_again(home: Path) -> None:
    first = pipeline.run(spec(home, TRIM, AGAIN), home / "runs" / "first", until="2-trim")
    other = pipeline.run(spec(home, TRIM, AGAIN | {"trim": {"pieces": 85}}), home / "runs" / "other", until="2-trim")
    assert [stage["reused"] for stage in other.stages] == [True, True, True, False]
    bare = pipeline.run(spec(home), home / "runs" / "bare", until="distil")
    assert bare.keys["distil"] == first.keys["distil"]
    exports = [stages.of(one.recipe)[-4].needs for one in (first, bare)]
    assert exports == [("teach", "distil", "2-trim"), ("teach", "distil")]


def test_healing_teaches_again_what_the_trimming_took(home: Path) -> None:
    healed = pipeline.run(spec(home, TRIM), home / "runs" / "healed", until="1-trim")
    bare = pipeline.run(spec(home, TRIM | {"heal": None}), home / "runs" / "unhealed", until="1-trim")
    losses = [epoch["losses"]["soft"] for epoch in healed.results["1-trim"]["training"][0]["epochs"]]
    assert losses[-1] < losses[0]
    ours, theirs = (dict(run_weights(run.student)) for run in (healed, bare))
    assert any(not torch.equal(ours[name], weight) for name, weight in theirs.items())


def run_weights(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder).named_parameters()


def test_pieces_and_layers_are_compared_on_rows_that_both_read_in_step(home: Path) -> None:
    inside = {"trim": {"coverage": 0.96}, "heal": {"intermediate": PHASE, "prediction": PHASE}}
    run = pipeline.run(spec(home, inside), home / "runs" / "inside", until="1-trim")
    (remark,) = [line for line in run.results["1-trim"]["remarks"] if "healed on" in line]
    encoders = [Encoder(run.folder(role) / "tokenizer.json", 32) for role in ("student", "teacher")]
    ours, theirs = (run.task.encode(run.data.train, encoder) for encoder in encoders)
    lengths = [[len(row.input_ids) for row in encoded.features] for encoded in (ours, theirs)]
    kept = [n for n, (one, other) in enumerate(zip(*lengths, strict=True)) if one == other]
    assert f"healed on {len(kept)} of 32" in remark and 0 < len(kept) < 32
    found = healing.in_step(ours, theirs, "1-trim")
    for encoded, kept_of in zip(found, (ours, theirs), strict=True):
        np.testing.assert_array_equal(encoded.lengths, np.array(kept_of.lengths)[kept])


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("[{trim: {coverage: 1.5}}]", "compress.0.trim.coverage"),
        ("[{}]", "a step is one of"),
        ("[{trim: {pieces: 5}}]", "5 pieces were asked for, and special pieces and characters are"),
    ],
)
def test_what_cannot_be_is_one_line(home: Path, steps: str, words: str) -> None:
    with pytest.raises((AttarError, UsageError)) as caught:
        values = spec(home).model_dump(mode="json") | {"compress": yaml.safe_load(steps)}
        pipeline.run(parse(values), home / "runs" / "wrong", until="1-trim")
    assert words in caught.value.line() and "\n" not in caught.value.line()


def test_tokens_are_healed_too(tmp_path: Path, home: Path) -> None:
    rows = parallel(tmp_path, "train", SLOTS * 2)
    task = {"kind": "token_classification", "train": rows, "dev": rows, "max_length": 32}
    run = pipeline.run(spec(home, TRIM, task=task), tmp_path / "run", until="1-trim")
    made = run.results["1-trim"]
    assert 0.8 <= made["reports"][0]["coverage"] < 1  # and yet every row is learnt from
    assert not any("healed on" in line for line in made["remarks"])
    losses = [epoch["losses"]["soft"] for epoch in made["training"][0]["epochs"]]
    assert losses[-1] < losses[0]


def test_a_limit_under_the_tokenizers_own_bytes_is_a_slip(home: Path) -> None:
    with pytest.raises(UsageError, match=r"budget\.max_size: the limit is 0\.0001 MB, and the tokenizer alone takes"):
        pipeline.run(spec(home, budget={"max_size": "100B"}), home / "runs" / "slip")
    assert not (home / "runs" / "slip" / "teacher").exists()


SLIPS = {
    "rank": ([{"factorize": {"rank": 400}}], "factorize.rank"),
    "factorized twice": ([{"factorize": {"rank": 8}}, {"factorize": {"rank": 4}}], "factorized already"),
    "groups": ([{"share": {"groups": 2}}], "share.groups"),
    "shared twice": ([{"share": {}}, {"share": {}}], "shared already"),
    "layers that are gone": ([{"prune": {"layers": 0.5}}, {"share": {"groups": 2}}], "share.groups"),
    "nothing left": ([{"prune": {"hidden": 0.99}}], "prune.hidden"),
    "nothing cut": ([TRIM, {"prune": {"ffn": 0.001}}], "prune.ffn"),
    "few pieces": ([{"trim": {"pieces": 5}}], "trim.pieces"),
    "no texts": ([{"trim": {"corpus": {"paths": ["nowhere.txt"]}}}], "no such file"),
}
NARROW = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "heads": 4}
LESSONS = {
    "cosine": ({"prediction": PHASE | {"cosine": 1}}, NARROW, "distil.prediction.cosine"),
    "relation layer": ({"intermediate": PHASE | {"relations": 1, "relation_layer": 9}}, NARROW, "relation_layer"),
    "one layer": ({"intermediate": PHASE | {"patient": 1}}, {"kind": "tinybert", "layers": 1}, "intermediate.patient"),
    "no plain text": ({"general": {"corpus": {"paths": ["nowhere.txt"]}}}, NARROW, "no such file"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_step_that_cannot_be_is_told_before_anything_is_trained(home: Path, tmp_path: Path, slip: str) -> None:
    steps, words = SLIPS[slip]
    wrong = spec(home, *steps, student={"kind": "tinybert", "layers": 2})
    with pytest.raises(UsageError, match=words):
        pipeline.run(wrong, tmp_path / "run")
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_rehearsal_draws_nothing_from_the_runs_chance(home: Path) -> None:
    from attar.compress import rehearsal

    able = spec(home, TRIM, *ORDERS["share first"], student={"kind": "distilbert", "layers": 2})
    before = torch.get_rng_state()
    context = pipeline.Context(able, home / "runs" / "none", lambda what, done, remark: None)
    rehearsal.rehearse(able, home / "teacher", context.task)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("slip", LESSONS)
def test_a_loss_that_cannot_be_is_told_before_anything_is_trained(home: Path, tmp_path: Path, slip: str) -> None:
    distil, student, words = LESSONS[slip]
    wrong = spec(home, student=student, distil={"intermediate": None, "prediction": PHASE} | distil)
    with pytest.raises(UsageError, match=words):
        pipeline.run(wrong, tmp_path / "run", until="distil")
    assert not (tmp_path / "run" / "teacher").exists()


def test_random_embeddings_that_nothing_teaches_are_refused(home: Path) -> None:
    frozen = {"intermediate": None, "prediction": PHASE | {"freeze_embeddings": True}}
    with pytest.raises(ValueError, match="every phase of `distil` freezes them"):
        spec(home, student={"kind": "tinybert", "start": "random"}, distil=frozen)
    spec(home, student={"kind": "tinybert"}, distil=frozen)
    spec(home, student={"kind": "tinybert", "start": "random"}, distil=frozen | {"intermediate": PHASE})


def test_a_teacher_whose_answers_are_no_numbers_is_told(home: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tiny_teacher(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    names = {
        "id2label": dict(enumerate(sorted(LABELS))),
        "label2id": {name: n for n, name in enumerate(sorted(LABELS))},
    }
    config = json.loads((broken / "config.json").read_text("utf-8"))
    (broken / "config.json").write_text(json.dumps(config | names), "utf-8")
    taken = spec(home, teacher={"model": str(broken), "finetune": False})
    with pytest.raises(AttarError, match="answers to 32 of 32 dev texts are no numbers"):
        pipeline.run(taken, tmp_path / "run", until="teach")

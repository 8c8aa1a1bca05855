"""DistilGPT: fewer layers of a GPT, on plain text alone or before a task, and what the commands make of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attar import cli, pipeline, recipe, students
from attar.benchmarks import record
from attar.compress import general
from attar.errors import AttarError, UsageError
from attar.recipe_file import parse
from attar.tasks import corpus
from attar.teachers import causal, checkpoint, pretrain
from attar.teachers.perplexity import perplexity
from conftest import SENTENCES
from helpers import made_once, silent, written
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPT2LMHeadModel, PreTrainedModel

SHAPES = ("gpt2-mini", "gpt1-mini")
TEXT = "\n\n".join(f"{SENTENCES[n % 8]}. {SENTENCES[(n * n + 3) % 8]}." for n in range(120))
IDS = torch.randint(0, 250, (3, 12), generator=torch.Generator().manual_seed(4))


def make(folder: Path, shape: str) -> None:
    """A GPT of four layers that has learnt a little."""
    plan = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "keep": "last"}
    sizes = {"layers": 4, "hidden_size": 32, "heads": 2, "positions": 32, "max_length": 16, "dropout": 0.0}
    stated = {"corpus": {"paths": [str(written(folder / "text.txt", TEXT))]}, "objective": "causal", "shape": shape}
    spec = recipe.Pretrain.model_validate(stated | sizes | {"vocabulary": {"size": 300}, "training": plan})
    pretrain.pretrain(spec, 0, folder, silent)


@pytest.fixture(scope="session")
def gpts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        shape: made_once(tmp_path_factory, shape, lambda folder, shape=shape: make(folder, shape)) for shape in SHAPES
    }


@pytest.fixture(scope="session")
def gpt(gpts: dict[str, Path]) -> Path:
    return gpts["gpt2-mini"]


def load(folder: Path) -> PreTrainedModel:
    return checkpoint.load(AutoModelForCausalLM, folder, families=checkpoint.DECODERS).eval()


def plan(source: Path, **options: Any) -> dict[str, Any]:
    values = {"batch_size": 8, "max_length": 16, "learning_rate": 3e-3, "evaluations": 1, **options}
    return {"corpus": {"paths": [str(source / "text.txt")]}, **values}


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_with_all_layers_it_computes_what_its_teacher_does(gpts: dict[str, Path], shape: str) -> None:
    teacher = load(gpts[shape])
    student = students.build(teacher, recipe.Student(kind="distilgpt", layers=4), "lm").eval()
    assert torch.equal(student(IDS).logits, teacher(IDS).logits)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_second_layer_and_all_the_rest(gpts: dict[str, Path], shape: str, tmp_path: Path) -> None:
    teacher = load(gpts[shape])
    student = students.build(teacher, recipe.Student(kind="distilgpt"), "lm")
    ours, theirs = student.state_dict(), teacher.state_dict()
    for place, layer in enumerate((2, 4)):
        name = "attn.c_attn.weight"
        assert torch.equal(ours[f"transformer.h.{place}.{name}"], theirs[f"transformer.h.{layer - 1}.{name}"])
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items() if ".h." not in name)
    assert student.lm_head.weight is student.base_model.get_input_embeddings().weight
    checkpoint.save(student, tmp_path)
    held = sum(weight.numel() for weight in load_file(tmp_path / "model.safetensors").values())
    assert held == checkpoint.unique_parameters(student) < checkpoint.unique_parameters(teacher)


def test_random_starts_know_nothing(gpt: Path) -> None:
    student = students.build(load(gpt), recipe.Student(kind="distilgpt", start="random"), "lm")
    assert not torch.equal(student.lm_head.weight, load(gpt).lm_head.weight)


@torch.no_grad()
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_its_losses(gpt: Path, direction: str) -> None:
    """Token by token, against torch's own divergence and the library's own causal loss."""
    settings = recipe.General.model_validate(plan(gpt, temperature=2.0, divergence=direction))
    teacher = load(gpt)
    student = students.build(teacher, recipe.Student(kind="distilgpt"), "lm").eval()
    objective = general.GeneralDistillation(teacher, student, [2, 4], settings, None)
    batch = objective.prepare({"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}, torch.Generator())
    found = objective(batch)
    ours, theirs = (F.log_softmax(model(IDS).logits / 2, -1).flatten(0, 1) for model in (student, teacher))
    sides = (ours, theirs) if direction == "forward" else (theirs, ours)
    soft = F.kl_div(*sides, reduction="batchmean", log_target=True) * 4
    assert float(found["soft"]) == pytest.approx(5 * float(soft), rel=1e-4)
    assert float(found["hard"]) == pytest.approx(2 * float(student(IDS, labels=IDS).loss), rel=1e-4)
    assert set(found) == {"soft", "hard", "cosine"}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_comes_nearer_to_its_teacher(gpts: dict[str, Path], shape: str, tmp_path: Path) -> None:
    source = gpts[shape]
    settings = recipe.General.model_validate(plan(source, epochs=3))
    spec = recipe.Student(kind="distilgpt", layers=2)
    start = students.build(load(source), spec, "lm")
    found = general.distil(spec, settings, source, 0, tmp_path, corpus.of(settings.corpus), silent)
    checkpoint.save(start, tmp_path / "start")
    checkpoint.save_tokenizer(source, tmp_path / "start")
    before, after = (perplexity(causal.load(str(one)), TEXT).per_piece for one in (tmp_path / "start", tmp_path))
    assert after < 0.9 * before
    curve = [epoch["scores"]["perplexity"] for epoch in found["training"][0]["epochs"]]
    assert curve[-1] < curve[0]


def language(source: Path, folder: Path, **options: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "task": {"kind": "language_modelling", "dev": {"path": str(written(folder / "dev.txt", TEXT[:1500]))}},
        "teacher": {"model": str(source)},
        "student": {"kind": "distilgpt", "layers": 2},
        "distil": {"general": plan(source)},
        **options,
    }


def test_attar_distil_makes_a_language_model(gpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Perplexity and parameters of both in the record; the student scores as it did, and goes on with a text."""
    file, run = tmp_path / "recipe.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(language(gpt, tmp_path)), "utf-8")
    assert cli.main(["distil", str(file), "--out", str(run), "--json"]) == 0
    teacher, student = json.loads(capsys.readouterr().out)["models"]
    assert teacher["parameters"] > student["parameters"] == checkpoint.unique_parameters(load(run / "student"))
    assert isinstance(AutoModelForCausalLM.from_pretrained(run / "student"), GPT2LMHeadModel)
    for one in (teacher, student):
        expected = perplexity(causal.load(str(run / one["name"])), (tmp_path / "dev.txt").read_text())
        assert one["scores"]["dev"]["perplexity"] == pytest.approx(expected.per_piece, rel=1e-6)
        assert 1 < one["scores"]["dev"]["perplexity"] < 300 and one["rows"]["dev"] == expected.pieces
    assert cli.main(["distil", str(file), "--out", str(run), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert f"perplexity {student['scores']['dev']['perplexity']:.2f}" in shown and "report.html" not in shown
    assert cli.main(["continue", str(run / "student"), "turn on", "--max-pieces", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["continuations"]
    sheet = {"name": "s", "scores": [{"kind": "perplexity", "texts": [str(tmp_path / "dev.txt")], "random": False}]}
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet), "utf-8")
    assert cli.main(["score", str(run / "teacher"), str(run / "student"), str(tmp_path / "sheet.yaml"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"][0]["results"]
    for result, one in zip(scores, (teacher, student), strict=True):
        assert result["metrics"]["perplexity"] == pytest.approx(one["scores"]["dev"]["perplexity"], rel=1e-6)
    for command in (["report", str(run)], ["score", str(run / "student"), str(file)]):
        assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
        assert "a language model" in capsys.readouterr().err


def test_no_search_is_for_a_language_model(gpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "recipe.yaml", yaml.safe_dump(language(gpt, tmp_path)))
    assert cli.main(["compress", str(file), "--out", str(tmp_path / "run"), "--trials", "2", "--max-size", "9MB"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "`search` compares scores of a task, and a language model has none" in line
    assert not (tmp_path / "run" / "teacher").exists()


def test_a_language_model_is_reused(gpt: Path, tmp_path: Path) -> None:
    stated = parse(language(gpt, tmp_path))
    first = pipeline.run(stated, tmp_path / "one", until="distil")
    assert [stage["name"] for stage in first.stages] == ["teach", "general", "distil"]
    again = pipeline.run(stated, tmp_path / "two", until="distil")
    assert all(stage["reused"] for stage in again.stages)
    models = record.load(tmp_path / "two").models
    assert math.isfinite(models[1].scores["dev"]["word_perplexity"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"student": {"kind": "distilbert"}}, "needs `student.kind: distilgpt`"),
        ({"distil": {}}, "and `distil.general`"),
        ({"task": {"builtin": "assistant", "max_length": 64}}, "attention scores and relations teach encoders"),
        ({"task": {"kind": "language_modelling"}}, "text to be scored on"),
        (
            {"task": {"kind": "language_modelling", "dev": {"path": "x.txt"}, "train": {"path": "x"}}},
            "text to be scored",
        ),
        ({"task": {"kind": "language_modelling", "dev": {"path": "x.txt"}, "metric": "accuracy"}}, "scores a"),
    ],
)
def test_recipes_that_cannot_be(gpt: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(language(gpt, tmp_path, **change))
    assert words in caught.value.line()


def test_an_empty_text_an_encoder_and_another_width_are_refused(gpt: Path, teacher: Path, tmp_path: Path) -> None:
    stated = language(gpt, tmp_path)
    written(tmp_path / "dev.txt", " \n")
    with pytest.raises(AttarError, match="no text"):
        pipeline.run(parse(stated), tmp_path / "a", until="distil")
    with pytest.raises(AttarError, match="from a bert teacher; use one of gpt2"):
        pipeline.run(parse(language(teacher, tmp_path) | {"distil": stated["distil"]}), tmp_path / "b", until="distil")
    with pytest.raises(UsageError, match="keeps its teacher's hidden_size"):
        students.build(load(gpt), recipe.Student(kind="distilgpt", hidden_size=16), "lm")
    with pytest.raises(UsageError, match=r"student\.kind"):
        students.build(load(gpt), recipe.Student(kind="tinybert"), "lm")
    short = recipe.General.model_validate(plan(gpt, max_length=32) | {"corpus": {"paths": [str(tmp_path / "few.txt")]}})
    written(tmp_path / "few.txt", "turn on")
    with pytest.raises(AttarError, match="fewer than one row of 32"):
        general.distil(recipe.Student(kind="distilgpt"), short, gpt, 0, tmp_path, corpus.of(short.corpus), silent)
    with pytest.raises(UsageError, match="attention scores teach encoders"):
        wrong = recipe.General.model_validate(plan(gpt, attention=1.0))
        general.distil(recipe.Student(kind="distilgpt"), wrong, gpt, 0, tmp_path / "c", corpus.of(wrong.corpus), silent)


@pytest.mark.parametrize("with_general", [False, True])
def test_a_gpt_classifier_has_a_student(gpt: Path, tmp_path: Path, with_general: bool) -> None:
    lines = [f"{n % 2}\t{SENTENCES[n % 2]}" for n in range(60)]
    rows = written(tmp_path / "rows.tsv", "label\ttext\n" + "\n".join(lines) + "\n")
    phase = {"epochs": 2, "batch_size": 8, "learning_rate": 2e-3}
    stated = {
        "name": "x",
        "task": {"train": {"path": str(rows)}, "max_length": 32},
        "teacher": {"model": str(gpt), "training": phase | {"epochs": 3}},
        "student": {"kind": "distilgpt", "layers": 2},
        "distil": {
            "general": plan(gpt) if with_general else None,
            "intermediate": phase | {"attention": 0.0},
            "prediction": phase,
        },
        "export": {"lengths": [32]},
    }
    found = pipeline.run(parse(stated), tmp_path / "run", until="distil").results["distil"]
    assert found["layers"] == [2, 4] and found["scores"]["dev"]["accuracy"] > 0.9

"""Several processes: torchrun starts two, and they learn what one learns, from the same batches, in one folder."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attar import recipe, resuming, search, students, training
from attar.cli import main
from attar.compress import general
from attar.errors import UsageError
from attar.files import read_json, write_json
from attar.processes import Processes
from attar.recipe_file import parse
from attar.stages.stage import stated
from attar.tasks import corpus
from attar.teachers import pretrain
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import PreTrainedModel

SEED = 3
WORDS = ["warm", "soup", "with", "fresh", "bread", "and", "salt", "old", "boats", "cross", "the", "cold", "grey", "sea"]
OBJECTIVES: dict[str, dict[str, Any]] = {  # 5 rows a batch are 3 and 2; one row is left for an epoch's last batch
    "mlm": {"objective": "mlm", "shape": "bert-mini", "limit": 11},
    "next_sentence": {"objective": "next_sentence", "shape": "bert-mini", "limit": 11},
    "causal": {"objective": "causal", "shape": "gpt2-mini", "limit": 11},
}
GENERAL: dict[str, tuple[dict[str, Any], str]] = {  # from what was pre-trained: every loss, alone or together
    "mlm": ({"embedding": 1.0, "hidden": 1.0, "attention": 1.0}, "distilbert"),
    "causal": ({"divergence": "reverse"}, "distilgpt"),
}
STOPPED = {"objective": "mlm", "shape": "bert-mini", "limit": 15, "dropout": 0.1}
# What each process runs: all objectives and students to their end, then a recipe during which the first one is killed.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from attar import pipeline, recipe, students
from attar.compress import general
from attar.processes import launched
from attar.recipe_file import load
from attar.tasks import corpus
from attar.teachers import pretrain

folder, processes, steps = Path(sys.argv[1]), launched(), 0

def silent(what, done, remark):
    pass

def cut(what, done, remark):
    global steps
    steps += what == "mlm"
    if steps == 5:
        os.kill(os.getpid(), signal.SIGKILL)

def without_dropout(*given):
    student = build(*given)
    for module in student.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    return student

build, students.build = students.build, without_dropout

def make(name, work):
    (folder / name).mkdir(exist_ok=True)
    found = work(folder / name)
    (folder / f"{name}-{processes.rank}.json").write_text(json.dumps(found))
    processes.wait()

with processes.joined():
    processes.first or processes.called()
    with processes.together(1):
        for name, values in json.loads((folder / "specs.json").read_text()).items():
            spec = recipe.Pretrain.model_validate(values)
            make(name, lambda out: pretrain.pretrain(spec, 3, out, silent, processes))
        for name, (values, kind) in json.loads((folder / "general.json").read_text()).items():
            plan, student = recipe.General.model_validate(values), recipe.Student(kind=kind, layers=1)
            text, teacher = corpus.of(plan.corpus), folder / name
            make(name + "-student", lambda out: general.distil(student, plan, teacher, 3, out, text, silent, processes))
    processes.first or processes.called()
pipeline.run(load(folder / "recipe.yaml"), folder / "run", until="teach", progress=cut)
"""


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes of a script or a module; a port is found by itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *words]
    hidden = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | hidden)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, chance = tmp_path_factory.mktemp("texts"), random.Random(1)
    for number in range(3):
        lines = [" ".join(chance.choices(WORDS, k=chance.randint(4, 9))) + "." for _ in range(40)]
        (folder / f"{number}.txt").write_text("\n\n".join(lines), "utf-8")
    return folder


def spec(texts: Path, options: dict[str, Any], **training: Any) -> recipe.Pretrain:
    """Each step is an entry of the curve: as many evaluations as there are batches; float32, to compare closely."""
    plan = {"epochs": 2, "batch_size": 5, "learning_rate": 1e-3, "keep": "last", "evaluations": 100}
    plan |= {"precision": "float32", **training}
    sizes = {"layers": 1, "hidden_size": 32, "heads": 2, "max_length": 16, "dropout": 0.0, "vocabulary": {"size": 300}}
    return recipe.Pretrain.model_validate(
        {"corpus": {"paths": [str(texts / "*.txt")]}, **sizes, **options, "training": plan}
    )


def distillation(texts: Path, options: dict[str, Any]) -> dict[str, Any]:
    plan = {"epochs": 2, "batch_size": 5, "learning_rate": 1e-3, "evaluations": 100, "limit": 11, "max_length": 16}
    return {"corpus": {"paths": [str(texts / "*.txt")]}, **plan, **options}


def recipe_values(texts: Path, folder: Path) -> dict[str, Any]:
    return {
        "name": "together",
        "seed": SEED,
        "pretrain": spec(texts, STOPPED).model_dump(mode="json"),
        "task": {"train": {"path": str(folder / "rows.tsv")}, "max_length": 16},
        "teacher": {"training": {"epochs": 1}},
    }


@pytest.fixture(scope="module")
def together(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of every objective, and of a recipe that was cut short."""
    folder = tmp_path_factory.mktemp("together")
    specs = {name: spec(texts, options) for name, options in {**OBJECTIVES, "stopped": STOPPED}.items()}
    write_json(folder / "specs.json", {name: one.model_dump(mode="json") for name, one in specs.items()})
    plans = {name: (distillation(texts, options), kind) for name, (options, kind) in GENERAL.items()}
    write_json(folder / "general.json", plans)
    rows = [f"{n % 2}\t{WORDS[n % 2]} {WORDS[n % 7]}" for n in range(40)]
    (folder / "rows.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", "utf-8")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_values(texts, folder)), "utf-8")
    (folder / "script.py").write_text(SCRIPT, "utf-8")
    done = launch(str(folder / "script.py"), str(folder))
    assert done.returncode != 0 and "SIGKILL" in done.stderr, done.stderr  # the cut, and nothing before it
    return folder


def curve(results: dict[str, Any]) -> list[dict[str, float]]:
    return [entry["losses"] | entry["scores"] for entry in results["training"][0]["epochs"]]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_learn_what_one_learns(texts: Path, together: Path, tmp_path: Path, name: str) -> None:
    alone = pretrain.pretrain(spec(texts, OBJECTIVES[name]), SEED, tmp_path, lambda what, done, remark: None)
    found = read_json(together / f"{name}-0.json")
    assert len(curve(found)) == len(curve(alone)) == 2 * 3  # steps
    for ours, theirs in zip(curve(found), curve(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (together / name, tmp_path))
    assert ours.keys() == theirs.keys()
    for weight, tensor in theirs.items():
        assert torch.allclose(ours[weight], tensor, rtol=1e-3, atol=1e-5), weight
    assert (together / name / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()
    assert read_json(together / f"{name}-1.json") == {}  # the second process leaves it to the first


@pytest.mark.parametrize("name", GENERAL)
def test_two_processes_distil_what_one_distils(
    texts: Path, together: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Dropout is each process's own chance, and so left out."""
    build = students.build

    def without_dropout(*given: Any) -> PreTrainedModel:
        student = build(*given)
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return student

    monkeypatch.setattr(students, "build", without_dropout)
    options, kind = GENERAL[name]
    plan = recipe.General.model_validate(distillation(texts, options))
    student = recipe.Student(kind=kind, layers=1)  # type: ignore[arg-type]
    text = corpus.of(plan.corpus)
    alone = general.distil(student, plan, together / name, SEED, tmp_path, text, lambda what, done, remark: None)
    found = read_json(together / f"{name}-student-0.json")
    assert len(curve(found)) == len(curve(alone)) == 2 * 3
    for ours, theirs in zip(curve(found), curve(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (together / f"{name}-student", tmp_path))
    for weight, tensor in theirs.items():
        assert torch.allclose(ours[weight], tensor, rtol=1e-3, atol=1e-5), weight


def test_a_killed_run_of_two_goes_on_to_the_same_bytes(together: Path) -> None:
    """With dropout, whose chance is each process's own; what follows the pre-training is the first one's alone."""
    run = together / "run"
    assert (run / ".work-pretrain" / "checkpoints" / training.NAME).is_file() and not (run / "pretrained").exists()
    done = launch("-m", "attar.cli", "teach", str(together / "recipe.yaml"), "--out", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("✓ pretrain") == done.stderr.count("✓ teach") == 1  # the second process is silent
    assert done.stdout.count("dev  accuracy") == 1
    whole = read_json(together / "stopped-0.json")
    assert curve(read_json(run / "stages" / "pretrain.json")["results"]) == curve(whole)
    ours, theirs = (run / "pretrained", together / "stopped")
    assert (ours / "model.safetensors").read_bytes() == (theirs / "model.safetensors").read_bytes()
    assert not list(run.glob(".work*"))


def test_what_is_for_one_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched = {"epochs": 1, "space": {"student.layers": [1, 2]}}
    values = {"name": "x", "teacher": {"model": str(teacher)}, "task": {"builtin": "assistant", "max_length": 64}}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="start one process"):
        search.run(parse(values | {"search": searched}), tmp_path / "run")
    assert main(["study", "students"]) == 2 and "a study runs in one process" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@given(st.integers(1, 9), st.integers(1, 5))
def test_every_row_is_taken_once(size: int, count: int) -> None:
    batch = {"input_ids": torch.arange(size)[:, None]}
    shares = [Processes(count, rank).share(batch) for rank in range(count)]
    assert all(len(own["input_ids"]) for own, _ in shares)
    taken = [row for own, weight in shares if weight for row in own["input_ids"].flatten().tolist()]
    assert sorted(taken) == list(range(size))
    sizes = [len(own["input_ids"]) for own, weight in shares if weight]
    assert max(sizes) - min(sizes) <= 1


def test_bfloat16_stays_near_float32(texts: Path, tmp_path: Path) -> None:
    def learn(name: str, **plan: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        settings = spec(texts, OBJECTIVES["mlm"], **plan)
        (tmp_path / name).mkdir()
        found = pretrain.pretrain(settings, SEED, tmp_path / name, lambda what, done, remark: None)
        return curve(found), load_file(tmp_path / name / "model.safetensors")

    exact, weights = learn("float32", precision="float32")
    rounded, others = learn("bfloat16", precision="bfloat16")
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours == pytest.approx(theirs, rel=0.02) and ours != theirs
    assert all(tensor.dtype == torch.float32 for tensor in others.values())
    if not torch.cuda.is_available():
        left_to_the_hardware, same = learn("auto", precision="auto")
        curves, wanted = (rounded, others) if training._rounds("cpu") else (exact, weights)
        assert left_to_the_hardware == curves and all(torch.equal(same[name], wanted[name]) for name in wanted)


def test_keys_and_checkpoints_are_as_they_were_before_there_were_later_fields(texts: Path) -> None:
    plain, rounded = (spec(texts, STOPPED, **plan) for plan in ({"precision": "auto"}, {"precision": "bfloat16"}))
    written = plain.training.model_dump(mode="json")
    assert written.pop("precision") == "auto" and written.pop("optimizer") == "adamw"
    whole = plain.model_dump(mode="json")
    assert whole.pop("start") == "random" and stated(plain) == whole | {"training": written}
    assert stated(rounded)["training"]["precision"] == "bfloat16"
    assert resuming.same_plan(json.dumps(written), plain.training)
    assert not resuming.same_plan(json.dumps(written), rounded.training)

"""Several processes learn a task: torchrun starts two, and teacher, student and healed student are those of one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from attar import pipeline, stages
from attar.compress.cache import Cache
from attar.context import Context
from attar.errors import AttarError
from attar.files import read_json, write_json
from attar.processes import Processes
from attar.recipe_file import load
from conftest import LABELS, SENTENCES
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_heads_road import TASKS
from test_processes import launch

PHASE = {"epochs": 2, "batch_size": 5, "learning_rate": 2e-4, "keep": "last", "evaluations": 100}
INSIDE = PHASE | {"hidden": 1.0, "attention": 1.0, "relations": 1.0, "patient": 1.0}
STEPS = [
    {"prune": {"heads": 0.5, "ffn": 0.5}, "heal": {"intermediate": INSIDE, "prediction": PHASE | {"hard": 0.5}}},
    {"quantize": {"bits": 8}, "heal": {"prediction": PHASE}},
]
NAMES = ["sequence", "whole", *TASKS]
# What each process runs: teachers and students of every head, in one touch with each other; or a command.
SCRIPT = """
import sys
from pathlib import Path
from test_processes_tasks import NAMES, calm, learn
from attar.cli import main
from attar.processes import launched

calm()
if len(sys.argv) > 2:
    sys.exit(main(sys.argv[1:]))
folder, processes = Path(sys.argv[1]), launched()
with processes.joined():
    processes.first or processes.called()
    with processes.together(1):
        for name in NAMES:
            learn(folder / f"{name}.yaml", folder / name, processes)
    processes.first or processes.called()
"""


def calm() -> None:
    """Leave dropout out: it is each process's own chance."""
    torch.nn.Dropout.forward = lambda self, states: states  # type: ignore[method-assign]


@pytest.fixture
def calmly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, states: states)


def silent(what: str, done: float, remark: str) -> None:
    """No progress."""


def learn(recipe: Path, out: Path, processes: Processes) -> None:
    """Teach and distil by the stages themselves; the curves of all phases are written to `curves.json`."""
    spec = load(recipe)
    context, found = Context(spec, out, silent, processes=processes), []
    for stage in stages.of(spec):
        if stage.together(spec) or processes.first:
            (out / stage.folder).mkdir(parents=True, exist_ok=True)
            context.results[stage.name] = stage.build(context, out / stage.folder)
            found += context.results[stage.name].get("training", [])
        processes.wait()
        if stage.name == "distil":
            break
    if processes.first:
        write_json(out / "curves.json", curves(found))


def curves(phases: list[dict[str, Any]]) -> list[Any]:
    """The losses of every phase, step by step."""
    return [[entry["losses"] for entry in phase["epochs"]] for phase in phases]


def recipe(name: str, folder: Path, teacher: Path) -> dict[str, Any]:
    """A recipe whose batches of 5 leave one row for the last: one process has nothing to do."""
    lines = [f"{LABELS[n % 3]}\t{SENTENCES[n % 8]}" for n in range(11)]
    (folder / "rows.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n", "utf-8")
    task: dict[str, Any] = {"train": {"path": str(folder / "rows.tsv")}}
    if name in TASKS:
        task = TASKS[name](folder)
    embedding = name == "embedding"
    answers = {"soft": 0, "similarity": 1.0, "contrastive": 1.0} if embedding else {"hard": 0.5}
    narrow = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "intermediate_size": 48}
    cosine = {"cosine": 1.0} if name == "whole" else {}
    return {
        "name": "together",
        "seed": 3,
        "threads": 1,
        "task": task | {"dev": task["train"], "max_length": 32},
        "teacher": {"model": str(teacher), "training": PHASE, "finetune": not embedding},
        "student": {"kind": "distilbert", "layers": 2} if name in ("whole", "embedding") else narrow,
        "distil": {
            "cache": {"states": 1e7} if name == "sequence" else {},
            "intermediate": INSIDE | cosine,
            "prediction": PHASE | answers | cosine,
        },
        "compress": STEPS if name == "sequence" else [],
    }


@pytest.fixture(scope="module")
def home(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipes, and what the processes run; the attention's dropout is the configuration's."""
    folder = tmp_path_factory.mktemp("tasks")
    model = folder / "model"
    shutil.copytree(teacher, model)
    write_json(model / "config.json", read_json(model / "config.json") | {"attention_probs_dropout_prob": 0.0})
    for name in NAMES:
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe(name, folder, model)), "utf-8")
    (folder / "script.py").write_text(f"import sys\nsys.path[:0] = {sys.path!r}\n{SCRIPT}", "utf-8")
    return folder


@pytest.fixture(scope="module")
def together(home: Path) -> Path:
    """What two processes learnt of every task."""
    done = launch(str(home / "script.py"), str(home))
    assert done.returncode == 0, done.stderr
    return home


def alike(ours: list[Any], theirs: list[Any]) -> None:
    assert [len(phase) for phase in ours] == [len(phase) for phase in theirs]
    for our_phase, their_phase in zip(ours, theirs, strict=True):
        for one, other in zip(our_phase, their_phase, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4)


def same_weights(ours: Path, theirs: Path) -> None:
    """In the mean: Adam makes whole steps of a gradient that is nothing but rounding, as that of an unread bias is."""
    one, other = load_file(ours / "model.safetensors"), load_file(theirs / "model.safetensors")
    assert {name: tensor.shape for name, tensor in one.items()} == {name: t.shape for name, t in other.items()}
    apart = torch.cat([(one[name] - tensor).abs().flatten() for name, tensor in other.items()])
    assert float(apart.mean()) < 1e-4  # each phase moves a weight by about 1e-3


@pytest.mark.usefixtures("calmly")
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_learn_a_task_as_one_does(together: Path, tmp_path: Path, name: str) -> None:
    learn(together / f"{name}.yaml", tmp_path, Processes())
    ours, theirs = (json.loads((folder / "curves.json").read_text("utf-8")) for folder in (together / name, tmp_path))
    assert len(ours) == (2 if name == "embedding" else 3)
    alike(ours, theirs)
    for stage in ("teacher", "student"):
        same_weights(together / name / stage, tmp_path / stage)


@pytest.mark.usefixtures("calmly")
def test_the_whole_road_of_two_is_that_of_one(home: Path, tmp_path: Path) -> None:
    """A student is taught, distilled, cut, and healed twice by two; files, records and words are the first one's."""
    done = launch(str(home / "script.py"), "prune", str(home / "sequence.yaml"), "--out", str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("✓ distil") == done.stderr.count("✓ 1-prune") == 1
    pipeline.run(load(home / "sequence.yaml"), tmp_path / "one", until="2-quantize")
    for stage in ("teach", "distil", "1-prune", "2-quantize"):
        one, two = (read_json(tmp_path / run / "stages" / f"{stage}.json")["results"] for run in ("one", "two"))
        alike(curves(two["training"]), curves(one["training"]))
        assert two["scores"]["dev"] == pytest.approx(one["scores"]["dev"]) and two["parameters"] == one["parameters"]
    for folder in ("teacher", "student", "student-1-prune", "student-2-quantize"):
        same_weights(tmp_path / "two" / folder, tmp_path / "one" / folder)
    assert not list((tmp_path / "two").glob(".work*"))


def test_a_process_with_other_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Processes(2, 1)
    monkeypatch.setattr(two, "agree", lambda number: 7)
    monkeypatch.setattr(two, "mean", lambda values: values / 2)
    two.same(7, "weights")
    with pytest.raises(AttarError, match="different weights"):
        two.same(8, "weights")


@given(st.integers(1, 7), st.integers(2, 4))
def test_answers_of_all_have_the_gradients_of_one(size: int, count: int) -> None:
    """Averaged over the processes, for a loss in which rows meet; one that has no row has none of it."""
    texts, weights = torch.randn(size, 3), torch.randn(3, 2, requires_grad=True)

    def loss(answers: torch.Tensor) -> torch.Tensor:
        return (answers @ answers.T).pow(2).mean() + answers.exp().mean()

    whole = torch.autograd.grad(loss(texts @ weights), weights)[0]
    sharers = [Processes(count, rank) for rank in range(count)]
    parts = [texts[one.rows(size)[0]] @ weights for one in sharers]
    each = -(-size // count)
    padded = [torch.nn.functional.pad(part.detach(), (0, 0, 0, each - len(part))) for part in parts]
    found = []
    with mock.patch("accelerate.utils.gather", lambda own: torch.cat(padded)):
        for one, part in zip(sharers, parts, strict=True):
            gathered = one.gather(part, size)
            assert torch.equal(gathered, texts @ weights) or torch.allclose(gathered, texts @ weights)
            found.append(torch.autograd.grad(loss(gathered), weights)[0])
    assert torch.allclose(torch.stack(found).mean(0), whole, rtol=1e-3, atol=1e-4)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(2, 4))
def test_parts_of_a_mean_are_the_mean_over_all(lengths: list[int], count: int) -> None:
    values = [torch.arange(length) + 10.0 * row for row, length in enumerate(lengths)]
    sharers, parts = [Processes(count, rank) for rank in range(count)], []
    for one in sharers:
        rows, weight = one.rows(len(values))
        own = torch.cat(values[rows])
        parts.append((own.mean(), torch.tensor(len(own)), weight))
    counts = torch.stack([weight * count for _, count, weight in parts]).mean()
    found = []
    for one, part in zip(sharers, parts, strict=True):
        with mock.patch.object(one, "mean", lambda own: counts):
            found.append(one.part(*part))
    assert torch.allclose(torch.stack(found).mean(), torch.cat(values).mean())


def test_shards_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process makes its own of the missing ones; where one is gone, what it left out is missed."""
    made: list[int] = []

    def make(first: int, end: int) -> list[dict[str, Any]]:
        made.extend(range(first, end))
        return [{"x": np.full(1, number, np.float32)} for number in range(first, end)]

    for rank in (0, 1):
        processes = Processes(2, rank)
        monkeypatch.setattr(processes, "agree", lambda number: number)
        monkeypatch.setattr(processes, "wait", lambda: None)
        with pytest.raises(AssertionError):
            Cache(tmp_path / str(rank), "key", [20_000_000] * 4, make, silent, "states", processes)
    assert made == [0, 2, 1, 3]

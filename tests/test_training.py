"""The training loop: it learns, it keeps the best epoch, and an interruption changes nothing."""

import contextlib
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from attar import optimizers, training
from attar.compress import attention_cost
from attar.errors import AttarError
from attar.recipe import Optimization
from attar.tasks import batching
from conftest import tiny_config
from helpers import Stop
from safetensors.torch import load_file
from torch import nn
from transformers import BertForSequenceClassification

ROWS = 60
LENGTHS = [4 + row % 7 for row in range(ROWS)]


STEPS = 3 * 8  # epochs x batches


def job(folder: Path, stop_at: int | None = None, seen: list[int] | None = None, **plan: object) -> training.Job:
    """A small classifier with dropout on seeded data; fails on purpose before step `stop_at`, counts its steps."""
    torch.manual_seed(0)
    inputs, noise = torch.randn(ROWS, 8), torch.randn(8, 3)
    targets = (inputs @ noise).argmax(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 3))
    calls = 0

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        nonlocal calls
        if calls == stop_at:
            raise Stop
        calls += 1
        if seen is not None:
            seen.append(calls)
        return {"task": nn.functional.cross_entropy(model(inputs[rows]), targets[rows])}

    def evaluate() -> training.Scores:
        return {"accuracy": float((model(inputs).argmax(1) == targets).float().mean())}

    settings = Optimization.model_validate({"epochs": 3, "batch_size": 8, "learning_rate": 0.05, **plan})
    return training.Job("test", model, loss, LENGTHS, settings, 5, folder, "accuracy", evaluate, checkpoint_seconds=0)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], training.State]:
    whole = job(tmp_path_factory.mktemp("whole"))
    state = training.fit(whole)
    return weights(whole.model), state


@pytest.mark.parametrize("stop_at", [0, 1, 7, 8, 9, 15, 23])
def test_a_stopped_training_ends_with_the_same_weights(
    tmp_path: Path, stop_at: int, undisturbed: tuple[dict[str, torch.Tensor], training.State]
) -> None:
    with pytest.raises(Stop):
        training.fit(job(tmp_path, stop_at))
    torch.manual_seed(999)  # whatever the process did in between
    seen: list[int] = []
    again = job(tmp_path, seen=seen)
    state = training.fit(again)
    assert len(seen) == STEPS - stop_at  # it went on, and did not begin again
    expected, whole = undisturbed
    for name, tensor in weights(again.model).items():
        assert torch.equal(tensor, expected[name]), name
    drop = ("seconds", "examples_per_second")
    assert [{k: v for k, v in e.items() if k not in drop} for e in state.epochs] == [
        {k: v for k, v in e.items() if k not in drop} for e in whole.epochs
    ]


def test_a_finished_phase_is_not_trained_again(
    tmp_path: Path, undisturbed: tuple[dict[str, torch.Tensor], training.State]
) -> None:
    training.fit(job(tmp_path))
    again = job(tmp_path, stop_at=0)  # any further step would stop it
    state = training.fit(again)
    assert state.done
    assert all(torch.equal(tensor, undisturbed[0][name]) for name, tensor in weights(again.model).items())


def test_it_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    best = job(tmp_path / "best", epochs=6)
    state = training.fit(best)
    scores = [epoch["scores"]["accuracy"] for epoch in state.epochs]
    assert max(scores) > 0.8
    assert state.kept == 1 + scores.index(max(scores))
    assert best.evaluate is not None
    assert best.evaluate()["accuracy"] == pytest.approx(max(scores))
    last = training.fit(job(tmp_path / "last", epochs=2, keep="last"))
    assert last.kept == 2


def test_a_loss_that_is_no_number_stops_with_the_cure(tmp_path: Path) -> None:
    broken = job(tmp_path)
    broken.loss = lambda rows: {"task": torch.tensor(float("nan"), requires_grad=True)}
    with pytest.raises(AttarError, match="learning_rate"):
        training.fit(broken)


BAD = 17  # a row


def without_number(broken: training.Job, what: str) -> training.Job:
    """The job with a row whose loss, or whose gradient alone, is no number."""
    inner, (first, *_) = broken.loss, broken.model.parameters()

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        found = inner(rows)
        if BAD in rows:
            zero = first.sum() * 0
            found["bad"] = zero * float("nan") if what == "loss" else zero.abs().sqrt()  # whose slope is infinite there
        return found

    broken.loss = loss
    return broken


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_divergence_names_its_batch_and_leaves_the_state_before_it(tmp_path: Path, what: str) -> None:
    batches = batching.shuffled(LENGTHS, 8, 5, 0)
    place = next(number for number, rows in enumerate(batches) if BAD in rows)
    broken = without_number(job(tmp_path / "broken"), what)
    with pytest.raises(training.DivergedError) as caught:
        training.fit(broken)
    line = caught.value.line()
    assert line.startswith("test: the loss is") and f"at step {place + 1}, " in line
    assert f"rows {', '.join(map(str, sorted(batches[place].tolist())))} (" in line
    assert what in line
    with pytest.raises(Stop):  # the same training, stopped by hand before that batch
        training.fit(stopped := job(tmp_path / "stopped", place))
    for name, weight in weights(stopped.model).items():
        assert torch.equal(weights(broken.model)[name], weight)
    states = [load_file(tmp_path / name / training.NAME) for name in ("broken", "stopped")]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert states[0].keys() == states[1].keys()
    again = without_number(job(tmp_path / "broken", seen=(seen := [])), what)
    with pytest.raises(training.DivergedError) as repeated:
        training.fit(again)
    assert repeated.value.line() == line and len(seen) == 1  # at once
    mended = job(tmp_path / "broken")  # the row is right now: it goes on
    assert training.fit(mended).done


def test_the_rows_of_a_batch_are_named_by_where_they_were_read(tmp_path: Path) -> None:
    """Of several files, each once; by their numbers where some are not known."""
    one = job(tmp_path)
    one.where = ["b.tsv:30", "b.tsv:4", "data[7]", "a.tsv:2"].__getitem__
    assert training._named(one, [0, 1, 2, 3]) == "b.tsv:4, 30; data[7]; a.tsv:2"
    one.where = ["a.tsv:3", ""].__getitem__
    assert training._named(one, [0, 1]) == "0, 1 (the first is 0)"
    one.where = lambda row: f"a.tsv:{row}"
    assert training._named(one, list(range(70))).endswith(", 63 and 6 more")


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        training.fit(job(tmp_path, 5))
    with pytest.raises(AttarError, match="another plan"):
        training.fit(job(tmp_path, epochs=4))


def test_the_rate_rises_and_falls() -> None:
    rates = [training._schedule(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[99] == pytest.approx(1 / 90)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_moving_average_is_kept_in_place_of_the_last_weights(tmp_path: Path) -> None:
    """Recomputed from the weights after every step of the same training without an average."""
    plain, trail = job(tmp_path / "plain", keep="last"), []
    inner = plain.loss

    def traced(rows: npt.NDArray[np.int64]) -> training.Losses:
        trail.append(weights(plain.model))
        return inner(rows)

    plain.loss = traced
    training.fit(plain)
    expected = trail[0]
    for step, now in enumerate([*trail[1:], weights(plain.model)], 1):
        decay = min(0.8, (1 + step) / (10 + step))
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
    averaged = job(tmp_path / "averaged", keep="last", average=0.8)
    training.fit(averaged)
    for name, weight in weights(averaged.model).items():
        assert torch.allclose(weight, expected[name], atol=1e-6)
        assert not torch.equal(weight, weights(plain.model)[name])


def test_muons_momentum_survives_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "NARROW", 4)  # so that the first layer is a hidden matrix
    whole = job(tmp_path / "whole", optimizer="muon")
    training.fit(whole)
    with pytest.raises(Stop):
        training.fit(job(tmp_path / "cut", 13, optimizer="muon"))
    names = load_file(tmp_path / "cut" / "checkpoint.safetensors")
    assert {name for name in names if name.endswith("momentum_buffer")} == {"optimizer/0/momentum_buffer"}
    resumed = job(tmp_path / "cut", optimizer="muon")
    training.fit(resumed)
    plain = job(tmp_path / "plain")
    training.fit(plain)
    for name, weight in weights(whole.model).items():
        assert torch.equal(weights(resumed.model)[name], weight)
        assert not torch.equal(weights(plain.model)[name], weight)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_an_average_survives_an_interruption(tmp_path: Path, keep: str) -> None:
    whole = job(tmp_path / "whole", keep=keep, average=0.9)
    training.fit(whole)
    with pytest.raises(Stop):
        training.fit(job(tmp_path / "cut", 13, keep=keep, average=0.9))
    resumed = job(tmp_path / "cut", keep=keep, average=0.9)
    training.fit(resumed)
    for name, weight in weights(whole.model).items():
        assert torch.equal(weights(resumed.model)[name], weight)


def test_scores_are_taken_within_epochs_too(tmp_path: Path) -> None:
    """Eight batches an epoch in three parts; what is kept scored best of all, also after an interruption."""
    whole = job(tmp_path / "whole", evaluations=3)
    state = training.fit(whole)
    places = [entry["epoch"] for entry in state.epochs]
    assert places == [epoch + part for epoch in range(3) for part in (3 / 8, 6 / 8, 1)]
    scores = {entry["epoch"]: entry["scores"]["accuracy"] for entry in state.epochs}
    assert state.kept == max(scores, key=lambda place: scores[place])
    whole.model.eval()
    assert whole.evaluate is not None and whole.evaluate()["accuracy"] == state.best
    with pytest.raises(Stop):
        training.fit(job(tmp_path / "cut", 6, evaluations=3))
    resumed = job(tmp_path / "cut", evaluations=3)
    again = training.fit(resumed)
    assert [entry["losses"] for entry in again.epochs] == [entry["losses"] for entry in state.epochs]
    for name, weight in weights(whole.model).items():
        assert torch.equal(weights(resumed.model)[name], weight)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_freed_memory_is_kept() -> None:
    """A block that is freed and asked for again costs no new pages; in a process of its own, since it stays so."""
    code = """
import resource, torch
from attar import training
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(8_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
training.keep_freed_memory()
faults()
print(before, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 10


@pytest.mark.parametrize(
    ("precision", "longest", "plain"),
    [("float32", 13, False), ("float32", 128, False), ("bfloat16", 128, True), ("bfloat16", 129, False)],
)
def test_short_rows_are_learnt_through_plain_attention(
    tmp_path: Path, precision: str, longest: int, plain: bool
) -> None:
    """On a CPU; the model has its own attention before and after, and when the training ends by an error."""
    model, seen = BertForSequenceClassification(tiny_config(60)), []
    inputs, stops = torch.randint(1, 60, (4, 9)), plain

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        seen.append(model.bert.config._attn_implementation)
        if stops:
            raise Stop
        return {"task": model(input_ids=inputs[rows]).logits.pow(2).mean()}

    plan = Optimization(epochs=1, batch_size=2, precision=precision)  # type: ignore[arg-type]
    whole = training.Job("test", nn.ModuleDict({"inside": model}), loss, [3, longest, 3, 3], plan, 5, tmp_path)
    with pytest.raises(Stop) if stops else contextlib.nullcontext():
        training.fit(whole)
    cpu = not torch.cuda.is_available()
    assert set(seen) == {"eager" if plain and cpu else "sdpa"} and model.config._attn_implementation == "sdpa"


def test_plain_attention_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding is hidden from both."""
    losses, inputs, mask = [], torch.randint(1, 60, (6, 9)), torch.ones(6, 9, dtype=torch.long)
    mask[::2, 5:] = 0
    for name in ("plain", "fused"):
        monkeypatch.setattr(training, "_plain", lambda job, name=name: name == "plain")
        torch.manual_seed(1)
        model = BertForSequenceClassification(tiny_config(60, hidden_dropout_prob=0, attention_probs_dropout_prob=0))

        def loss(rows: npt.NDArray[np.int64], model: nn.Module = model) -> training.Losses:
            answers = model(input_ids=inputs[rows], attention_mask=mask[rows]).logits
            return {"task": (answers - 1).pow(2).mean()}

        plan = Optimization(epochs=3, batch_size=2, learning_rate=1e-3, evaluations=3)
        state = training.fit(training.Job("test", model, loss, [9] * 6, plan, 5, tmp_path / name))
        losses.append([entry["losses"]["task"] for entry in state.epochs])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 9


def test_the_cost_of_both_attentions_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    attention_cost.main(["--length", "2", "3"])
    printed = capsys.readouterr().out
    assert "fused / plain" in printed and "bfloat16" in printed and "│ 3 " in printed

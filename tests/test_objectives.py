"""Pre-training objectives: losses against other computations, golden curves, stock checkpoints."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from attar.errors import AttarError, UsageError
from attar.teachers import objectives, shapes
from attar.teachers.objectives import replaced_token, segments
from attar.teachers.objectives.base import IGNORED
from attar.teachers.objectives.segments import Row
from sample_objectives import CLS, MASK, NAMES, PAD, PIECES, SEP, SIZES, VOCABULARY, batch, objective, seed, within
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, ElectraForPreTraining

# ---- losses


def cross_entropy(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log p in float64 numpy, labels of -100 left out."""
    scores, truth = logits.detach().double().numpy().reshape(-1, logits.shape[-1]), labels.numpy().reshape(-1)
    scores, truth = scores[truth != IGNORED], truth[truth != IGNORED]
    largest = scores.max(1, keepdims=True)
    logs = scores - largest - np.log(np.exp(scores - largest).sum(1, keepdims=True))
    return float(-logs[np.arange(len(truth)), truth].mean())


def arguments(prepared: objectives.Batch) -> objectives.Batch:
    return {name: prepared[name] for name in ("input_ids", "attention_mask", "token_type_ids")}


@pytest.mark.parametrize("shape", ["bert-mini", "albert-mini", "electra-mini"])
def test_mlm_loss_is_the_librarys_and_numpys(shape: str) -> None:
    learner = objective("mlm", shape, mask_rate=0.4).eval()
    prepared = learner.prepare(batch(), seed(1))
    found = learner(prepared)
    whole = learner.model(**arguments(prepared), labels=prepared["labels"])
    assert found.keys() == {"mlm"}
    assert float(found["mlm"]) == pytest.approx(float(whole.loss), rel=1e-5)
    assert float(found["mlm"]) == pytest.approx(cross_entropy(whole.logits, prepared["labels"]), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "label", "logits"),
    [
        ("next_sentence", "bert-mini", "next_sentence_label", "seq_relationship_logits"),
        ("sentence_order", "albert-mini", "sentence_order_label", "sop_logits"),
    ],
)
def test_pair_losses_are_the_librarys_and_numpys(name: str, shape: str, label: str, logits: str) -> None:
    learner = objective(name, shape, mask_rate=0.4).eval()
    prepared = learner.prepare(batch(pair=True), seed(1))
    found = learner(prepared)
    whole = learner.model(**arguments(prepared), labels=prepared["labels"], **{label: prepared["pair_label"]})
    assert found.keys() == {"mlm", name}
    assert float(sum(found.values())) == pytest.approx(float(whole.loss), rel=1e-5)
    assert float(found[name]) == pytest.approx(cross_entropy(whole[logits], prepared["pair_label"]), rel=1e-5)
    assert float(found["mlm"]) == pytest.approx(cross_entropy(whole.prediction_logits, prepared["labels"]), rel=1e-5)


@pytest.mark.parametrize("shape", ["gpt2-mini", "gpt1-mini"])
def test_causal_loss_is_the_librarys_and_numpys(shape: str) -> None:
    learner = objective("causal", shape).eval()
    rows = {name: tensor for name, tensor in batch().items() if name != "token_type_ids"}
    labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, IGNORED)
    whole = learner.model(**rows, labels=labels)
    found = float(learner.loss(rows, seed())["lm"])
    assert found == pytest.approx(float(whole.loss), rel=1e-5)
    assert found == pytest.approx(cross_entropy(whole.logits[:, :-1], labels[:, 1:]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_never_contributes(name: str) -> None:
    learner = objective(name, NAMES[name], mask_rate=0.4).eval()
    prepared = learner.prepare(batch((9, 9), pair=True), seed(1))
    fill = {"input_ids": 7, "labels": IGNORED, "chance": 0.5}
    wider = {
        key: tensor if tensor.ndim == 1 else torch.nn.functional.pad(tensor, (0, 5), value=fill.get(key, 0))
        for key, tensor in prepared.items()
    }
    for key, value in learner(prepared).items():
        assert float(learner(wider)[key]) == pytest.approx(float(value), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_learn_from_is_a_loss_of_zero(name: str) -> None:
    """No piece is chosen (or follows another): zero, not a number that is none."""
    learner = objective(name, NAMES[name]).eval()
    rows = segments.batch([Row(segments.Features([7], [0]), 0)], PAD)
    prepared = rows | {"labels": torch.tensor([[IGNORED]]), "chance": torch.tensor([[0.5]])}
    losses = learner(prepared)
    assert float(losses["lm" if name == "causal" else "mlm"]) == 0.0
    torch.stack(list(losses.values())).sum().backward()
    assert all(torch.isfinite(w.grad).all() for w in learner.parameters() if w.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_two_halves_of_a_batch_give_the_gradients_of_the_whole(name: str) -> None:
    """What two processes compute: each its rows, counts and gradients averaged."""
    learner = objective(name, NAMES[name], mask_rate=0.4).eval()
    prepared = learner.prepare(batch((12, 7, 9, 5), pair=True), seed(1))

    def gradients(rows: objectives.Batch) -> list[Tensor]:
        learner.zero_grad(set_to_none=True)
        torch.stack(list(learner(rows).values())).sum().backward()
        return [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in learner.parameters()]

    def counts(rows: objectives.Batch) -> list[Tensor]:
        seen: list[Tensor] = []
        learner.across = lambda count: seen.append(count) or count
        learner(rows)
        return seen

    whole = gradients(prepared)
    halves = [{key: tensor[rows] for key, tensor in prepared.items()} for rows in (slice(0, 1), slice(1, 4))]
    pairs = [(a + b) / 2 for a, b in zip(counts(halves[0]), counts(halves[1]), strict=True)]
    found = []
    for half in halves:
        left = iter(pairs)
        learner.across = lambda count, left=left: next(left)
        found.append(gradients(half))
    for a, b, both in zip(*found, whole, strict=True):
        assert torch.allclose((a + b) / 2, both, rtol=1e-4, atol=1e-6)


# ---- ELECTRA


def electra(**numbers: float) -> replaced_token.ReplacedTokenDetection:
    return objective("replaced_token", "electra-mini", **({"generator_size": 0.5, "mask_rate": 0.3} | numbers))  # type: ignore[return-value]


def test_electras_losses_are_the_librarys() -> None:
    learner = electra().eval()
    rows = batch()
    prepared = learner.prepare(rows, seed(1))
    chosen = prepared["labels"] != IGNORED
    assert (prepared["input_ids"][chosen] == MASK).all()  # the paper's masks: no random pieces, none kept
    found = learner(prepared)
    filled = learner.generator(**arguments(prepared), labels=prepared["labels"])
    assert float(found["mlm"]) == pytest.approx(float(filled.loss), rel=1e-5)
    corrupted, replaced = learner.corrupt(prepared, filled.logits[chosen])
    assert torch.equal(corrupted[~chosen], rows["input_ids"][~chosen])
    assert torch.equal(replaced, corrupted != rows["input_ids"])
    judged = learner.model(**arguments(prepared) | {"input_ids": corrupted}, labels=replaced.long())
    assert float(found["replaced_token"]) == pytest.approx(50 * float(judged.loss), rel=1e-5)
    real = rows["attention_mask"].bool()
    scores, truth = judged.logits[real].detach().double().numpy(), replaced[real].numpy()
    p = 1 / (1 + np.exp(-scores))
    by_hand = float(-np.where(truth, np.log(p), np.log(1 - p)).mean())
    assert float(found["replaced_token"]) == pytest.approx(50 * by_hand, rel=1e-4)
    assert float(electra(discriminator_weight=1.0).eval()(prepared)["replaced_token"]) == pytest.approx(
        by_hand, rel=1e-4
    )


def test_a_sample_that_is_the_original_counts_as_original() -> None:
    learner = electra()
    labels = torch.tensor([[IGNORED, 9, 11, IGNORED]])
    prepared = {
        "input_ids": torch.tensor([[CLS, MASK, MASK, SEP]]),
        "labels": labels,
        "chance": torch.full((1, 4), 0.5),
    }
    certain = torch.full((2, VOCABULARY), -50.0)
    certain[0, 9], certain[1, 12] = 50.0, 50.0
    corrupted, replaced = learner.corrupt(prepared, certain)
    assert corrupted.tolist() == [[CLS, 9, 12, SEP]]
    assert replaced.tolist() == [[False, False, True, False]]


def test_samples_follow_the_generators_distribution() -> None:
    logits = torch.randn(8, generator=seed(1)) * 2
    logits[3] = -math.inf
    chance = torch.rand(50_000, generator=seed(2))
    drawn = replaced_token.sample(logits.expand(50_000, 8), chance)
    probabilities = logits.softmax(-1).tolist()
    for piece, share in enumerate(probabilities):
        count = int((drawn == piece).sum())
        assert count == 0 if share == 0 else within(count, 50_000, share)
    assert replaced_token.sample(logits[None], torch.tensor([0.0])).item() == 0
    last = replaced_token.sample(torch.zeros(1, 30_000), torch.tensor([1.0 - 2**-24]))
    assert last.item() == 29_999


def test_embeddings_are_one_and_learn_once() -> None:
    learner = electra()
    theirs, ours = learner.model.electra.embeddings, learner.generator.electra.embeddings
    assert ours.word_embeddings.weight is theirs.word_embeddings.weight
    assert ours.position_embeddings.weight is theirs.position_embeddings.weight
    assert learner.generator.generator_lm_head.weight is theirs.word_embeddings.weight
    assert ours.token_type_embeddings.weight is not theirs.token_type_embeddings.weight
    assert sum(weight is theirs.word_embeddings.weight for weight in learner.parameters()) == 1
    prepared = learner.eval().prepare(batch(), seed(1))

    def gradient(*names: str) -> Tensor:
        learner.zero_grad(set_to_none=True)
        losses = learner(prepared)
        torch.stack([losses[name] for name in names]).sum().backward()
        assert theirs.word_embeddings.weight.grad is not None
        return theirs.word_embeddings.weight.grad.clone()

    both, one, other = gradient("mlm", "replaced_token"), gradient("mlm"), gradient("replaced_token")
    assert torch.allclose(both, one + other, atol=1e-6)
    assert float(one.abs().sum()) > 0 and float(other.abs().sum()) > 0


def test_the_generator_does_not_see_the_discriminators_loss() -> None:
    learner = electra().eval()
    shared = {id(weight) for weight in learner.model.parameters()}
    own = [weight for weight in learner.generator.parameters() if id(weight) not in shared]
    losses = learner.loss(batch(), seed(1))
    losses["replaced_token"].backward(retain_graph=True)
    assert own and all(weight.grad is None for weight in own)
    assert all(weight.grad is not None for weight in learner.model.parameters())
    losses["mlm"].backward()
    assert all(weight.grad is not None for weight in own)


def test_one_encoder_for_both_learns_from_both_losses() -> None:
    learner = electra(tied="all", generator_size=1.0)  # type: ignore[arg-type]
    assert learner.generator.electra is learner.model.electra
    names = [name for name, _ in learner.named_parameters()]  # each weight once
    assert all(name.startswith(("model.", "generator.generator_")) for name in names)
    losses = learner.eval().loss(batch(), seed(1))
    deep = learner.model.electra.encoder.layer[0].attention.self.query.weight
    for loss in losses.values():
        (gradient,) = torch.autograd.grad(loss, deep, retain_graph=True)
        assert float(gradient.abs().sum()) > 0
    with pytest.raises(UsageError, match="a generator of the model's size"):
        electra(tied="all")  # type: ignore[arg-type]


def test_the_generators_shape() -> None:
    base = shapes.config(shapes.shape("electra-base"))
    third = replaced_token.generator_config(base, 1 / 3)
    assert (third.hidden_size, third.intermediate_size, third.num_attention_heads) == (256, 1024, 4)  # ELECTRA, table 6
    assert (third.embedding_size, third.num_hidden_layers) == (768, 12)
    for size, message in [(0.0, "above 0"), (1.5, "at most 1"), (0.7, "heads do not divide")]:
        with pytest.raises(UsageError, match=message):
            replaced_token.generator_config(base, size)


# ---- all objectives


@pytest.mark.parametrize("name", NAMES)
def test_saved_models_are_stock_checkpoints(name: str, tmp_path: Path) -> None:
    learner = objective(name, NAMES[name]).eval()
    learner.save(tmp_path)
    kinds = {"mlm": AutoModelForMaskedLM, "causal": AutoModelForCausalLM, "replaced_token": ElectraForPreTraining}
    again, report = kinds.get(name, AutoModel).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    ids = batch()["input_ids"]
    with torch.no_grad():
        expected = learner.model.base_model(ids).last_hidden_state
        assert torch.equal(again.eval().base_model(ids).last_hidden_state, expected)
    assert "generator" not in {path.name for path in tmp_path.iterdir()}


def test_wrong_objectives() -> None:
    config = shapes.config(shapes.shape("bert-mini", **SIZES))
    with pytest.raises(UsageError, match="sentence_order"):
        objectives.build("sentence_ordr", config, PIECES)
    with pytest.raises(UsageError, match="does not train bert"):
        objectives.build("causal", config, PIECES)
    with pytest.raises(UsageError, match="needs the tokenizer"):
        objectives.build("mlm", config, None)
    with pytest.raises(AttarError, match="61 pieces"):
        objectives.build("mlm", config, replace(PIECES, vocabulary=61))


def curve(name: str, steps: int = 6) -> list[float]:
    """The summed loss of a few steps on one batch, without dropout."""
    learner = objective(name, NAMES[name], mask_rate=0.4)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3, weight_decay=0.01)
    chance, found = seed(7), []
    for _ in range(steps):
        loss = torch.stack(list(learner.loss(batch(pair=True), chance).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


GOLDEN = {
    "mlm": [4.0917, 3.9917, 3.9758, 3.9479, 3.8724, 3.7421],
    "next_sentence": [4.8242, 4.6251, 4.5705, 4.4715, 4.3785, 4.3437],
    "sentence_order": [4.7691, 4.6035, 4.3678, 4.1154, 4.0479, 3.7471],
    "causal": [4.1274, 3.8390, 3.6830, 3.5586, 3.4520, 3.3486],
    "replaced_token": [38.6156, 38.1266, 37.7408, 37.2246, 36.6664, 34.8358],
}


@pytest.mark.parametrize("name", NAMES)
def test_golden_curves(name: str) -> None:
    assert curve(name) == pytest.approx(GOLDEN[name], rel=2e-3)
    assert GOLDEN[name][-1] < GOLDEN[name][0]

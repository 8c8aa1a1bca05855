"""Multiple choice with a stock model: its own loss where it has one, the formula where candidates differ in number."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attar import recipe
from attar.errors import AttarError
from attar.recipe import Optimization
from attar.tasks import choice
from attar.tasks.choice import ChoiceTask, Pairs, Question
from attar.tasks.encoding import Encoder, collate
from attar.tasks.task import Batch
from attar.teachers import checkpoint, heads
from attar.teachers.finetune import finetune
from helpers import silent
from hypothesis import given
from hypothesis import strategies as st

ASKED = [
    ("turn on", ["the lights", "the forecast"]),
    ("play some", ["quiet music", "snow", "morning"]),
    ("will it rain", ["tomorrow", "volume", "every light"]),
    ("stop the", ["song", "weekend"]),
    ("make the bedroom", ["lamp brighter", "forecast", "weekend sun", "song"]),
    ("how warm is", ["it outside", "the song"]),
    ("what is the", ["forecast", "switch off", "turn on"]),
    ("switch the light", ["off", "sun or snow"]),
]
QUESTIONS = [
    Question(stem, found[turn:] + found[:turn], (len(found) - turn) % len(found), f"x:{number}")
    for number, (stem, found) in enumerate(ASKED)
    for turn in [number % len(found)]
]
SPEC = {"kind": "multiple_choice", "train": {"path": "train.jsonl", "format": "commonsenseqa"}}
TASK = ChoiceTask(recipe.Task.model_validate(SPEC), QUESTIONS)


@pytest.fixture(scope="module")
def encoder(teacher: Path) -> Encoder:
    return Encoder(teacher / "tokenizer.json", 32)


@pytest.fixture(scope="module")
def pairs(encoder: Encoder) -> Pairs:
    return choice.encode(QUESTIONS, encoder)


def test_the_right_candidate_stands_where_gold_says() -> None:
    assert [row.candidates[row.gold] for row in QUESTIONS] == [found[0] for _, found in ASKED]
    assert len({row.gold for row in QUESTIONS}) > 2


def test_with_equal_numbers_it_is_the_stock_models_loss(teacher: Path, encoder: Encoder) -> None:
    rows = [row for row in QUESTIONS if len(row.candidates) == 2]
    pairs = choice.encode(rows, encoder)
    torch.manual_seed(0)
    model = heads.create(TASK, teacher).eval()
    batch = pairs.batch(np.arange(len(rows)), encoder.pad_id)
    stacked = {name: torch.from_numpy(array).reshape(len(rows), 2, -1) for name, array in batch.inputs.items()}
    with torch.no_grad():
        stock = model(**stacked, labels=torch.from_numpy(pairs.gold))
        scores = heads.feed(model, "choice", batch.inputs)
        losses = heads.loss(model, TASK, batch)
    torch.testing.assert_close(scores.reshape(-1, 2), stock.logits)
    assert set(losses) == {"task"}
    torch.testing.assert_close(losses["task"], stock.loss)


@given(st.lists(st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=5), min_size=1, max_size=5), st.data())
def test_the_loss_is_the_softmax_over_each_questions_candidates(table: list[list[float]], data: st.DataObject) -> None:
    gold = [data.draw(st.integers(0, len(row) - 1)) for row in table]
    scores = torch.tensor([value for row in table for value in row], requires_grad=True)
    owner = np.array([number for number, row in enumerate(table) for _ in row])
    batch = Batch({}, np.array(gold), owner)
    loss = heads.HEADS["choice"].loss(scores[:, None], torch.ones(len(owner), 1), batch, TASK)["task"]
    soft = [np.exp(row) / np.exp(row).sum() for row in (np.array(row, np.float64) for row in table)]
    expected = [-np.log(p[g]) for p, g in zip(soft, gold, strict=True)]
    assert float(loss.detach()) == pytest.approx(np.mean(expected), abs=1e-4)
    (slope,) = torch.autograd.grad(loss, scores)
    slopes = [(p - np.eye(len(p))[g]) / len(table) for p, g in zip(soft, gold, strict=True)]
    np.testing.assert_allclose(slope.numpy(), np.concatenate(slopes), atol=1e-5)


def scores_of(model: torch.nn.Module, pairs: Pairs, encoder: Encoder, batch_size: int = 64) -> np.ndarray:
    return np.asarray(heads.answers(model, "choice", pairs.features, encoder.pad_id, batch_size))


def test_it_learns_and_reloads(teacher: Path, encoder: Encoder, pairs: Pairs, tmp_path: Path) -> None:
    from transformers import AutoModelForMultipleChoice

    torch.manual_seed(0)
    model = heads.create(TASK, teacher)
    before = TASK.score(scores_of(model, pairs, encoder), pairs)
    plan = Optimization(epochs=8, batch_size=4, learning_rate=2e-3)
    train, work = TASK.encode(QUESTIONS * 5, encoder), tmp_path / "work"
    state = finetune(model, train, pairs, TASK, encoder.pad_id, plan, seed=1, folder=work, progress=silent)
    scores = scores_of(model, pairs, encoder)
    found = TASK.score(scores, pairs)
    assert found["accuracy"] > 0.8 > max(pairs.chance, before["accuracy"])
    assert found["accuracy"] == max(epoch["scores"]["accuracy"] for epoch in state.epochs)
    assert state.epochs[-1]["losses"]["task"] < state.epochs[0]["losses"]["task"]

    checkpoint.save(model, tmp_path / "chooser")
    again = heads.load("choice", tmp_path / "chooser")
    np.testing.assert_array_equal(scores_of(again, pairs, encoder), scores)
    stock = AutoModelForMultipleChoice.from_pretrained(tmp_path / "chooser").eval()
    row = QUESTIONS[1]
    features = encoder.encode([(row.context, candidate) for candidate in row.candidates])
    inputs = {name: torch.from_numpy(array)[None] for name, array in collate(features, encoder.pad_id).items()}
    with torch.no_grad():
        logits = stock(**inputs).logits[0].numpy()
    np.testing.assert_allclose(logits, scores[pairs.starts[1] : pairs.starts[2], 0], atol=1e-4)


def test_batches_change_no_score(teacher: Path, encoder: Encoder, pairs: Pairs) -> None:
    torch.manual_seed(0)
    model = heads.create(TASK, teacher)
    alone = scores_of(model, pairs, encoder, batch_size=1)
    assert alone.shape == (len(pairs.features), TASK.outputs)
    np.testing.assert_allclose(scores_of(model, pairs, encoder), alone, atol=1e-4)


@given(st.lists(st.integers(0, len(QUESTIONS) - 1), min_size=1, max_size=6, unique=True))
def test_a_batch_holds_the_pairs_of_its_questions(pairs: Pairs, encoder: Encoder, rows: list[int]) -> None:
    numbers = np.array(rows)
    batch = pairs.batch(numbers, encoder.pad_id)
    expected = [pair for row in rows for pair in np.flatnonzero(pairs.owner == row)]
    assert pairs.sequences(numbers).tolist() == expected
    for pieces, mask, pair in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], expected, strict=True):
        assert pieces[mask == 1].tolist() == pairs.features[pair].input_ids
    assert [rows[place] for place in batch.owner] == pairs.owner[expected].tolist()
    assert batch.targets.tolist() == [QUESTIONS[row].gold for row in rows]


@pytest.mark.parametrize("length", [4, 8, 9, 10, 32])
def test_a_question_fits_where_all_its_pairs_do(pairs: Pairs, encoder: Encoder, length: int) -> None:
    part, sequences = pairs.fitting(length)
    rows = [row for row, pieces in enumerate(pairs.lengths) if pieces <= length]
    assert sequences.tolist() == [pair for pair, row in enumerate(pairs.owner) if row in rows]
    assert part.features == [pairs.features[pair] for pair in sequences]
    assert part.lengths == [pairs.lengths[row] for row in rows]
    answers = np.random.default_rng(length).normal(size=(len(pairs.features), 1)).astype(np.float32)
    right = pairs.answers(answers[:, 0]) == pairs.gold
    if rows:
        assert TASK.score([answers[pair] for pair in sequences], part)["accuracy"] == pytest.approx(right[rows].mean())


def test_a_model_without_the_head_does_not_answer(teacher: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    with pytest.raises(AttarError, match=r"does not load: classifier\.bias has the shape \(3,\) .* asks \(1,\)"):
        heads.load("choice", teacher)
    AutoModel.from_pretrained(teacher).save_pretrained(tmp_path)
    with pytest.raises(AttarError, match=r"the weights lack classifier\.bias and 1 more; set teacher\.finetune: true"):
        heads.load("choice", tmp_path)


def test_a_model_of_another_family_is_refused(tmp_path: Path) -> None:
    from transformers import MPNetConfig, MPNetModel

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    MPNetModel(MPNetConfig(vocab_size=20, max_position_embeddings=8, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(AttarError, match="'mpnet' is not one of bert"):
        heads.create(TASK, tmp_path)


def test_distilbert_has_no_segments_and_can_choose(encoder: Encoder, pairs: Pairs, tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    size = encoder.tokenizer.get_vocab_size()
    config = DistilBertConfig(vocab_size=size, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=64)
    DistilBertModel(config).save_pretrained(tmp_path)
    model = heads.create(TASK, tmp_path)
    assert checkpoint.takes(model) == ("input_ids", "attention_mask")
    assert scores_of(model, pairs, encoder).shape == (len(pairs.features), 1)

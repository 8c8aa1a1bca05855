"""Causal models: likelihoods against torch's own, batches against single rows, windows, and seeded continuations."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from attar.errors import AttarError, UsageError
from attar.tasks.decoding import Decoding
from attar.teachers import causal
from attar.teachers.continuation import continuations, continued
from attar.teachers.perplexity import perplexity
from conftest import tiny_teacher
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

KINDS = ["gpt2", "openai-gpt"]
POSITIONS = 40
TEXTS = [
    "The baker opened the shop before the sun came up.",
    "A small boat crossed the lake, and nobody saw it.",
    "She read the letter twice and put it in a drawer.",
    "When the rain stopped, the children ran to the river.",
    "He said that the film was long, dull and badly lit.",
    "What a warm and clever story; I would see it again!",
    "Nothing in the garden grows without water and light.",
]
WORDS = sorted({word.strip(".,;!") for text in TEXTS for word in text.split()})


def tiny_tokenizer(vocab_size: int = 330, end: bool = True) -> Any:
    """Train a byte-level BPE tokenizer on the sentences above."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"] if end else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def tiny_gpt(
    folder: Path, kind: str, *, positions: int = POSITIONS, seed: int = 0, layers: int = 2, **tokenizer: Any
) -> Path:
    """Save a small random GPT of either kind with its tokenizer; noise on every weight keeps its answers apart."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    words = tiny_tokenizer(**tokenizer)
    words.save(str(folder / "tokenizer.json"))
    sizes = {"n_positions": positions, "n_embd": 32, "n_layer": layers, "n_head": 4}
    config = AutoConfig.for_model(kind, vocab_size=words.get_vocab_size(), **sizes)
    config.bos_token_id = config.eos_token_id = words.token_to_id("<|endoftext|>")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    model.save_pretrained(folder)
    return folder


def sample(**options: Any) -> Decoding:
    return Decoding(method="sample", **options)


@pytest.fixture(scope="module", params=KINDS)
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> causal.Causal:
    return causal.load(str(tiny_gpt(tmp_path_factory.mktemp(request.param) / "model", request.param)))


def log_probabilities(lm: causal.Causal, ids: list[int]) -> torch.Tensor:
    """The stock model's log-probabilities after each piece, (pieces, vocabulary), from one unpadded sequence."""
    with torch.no_grad():
        return lm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)


def test_a_likelihood_is_the_sum_of_log_softmax(lm: causal.Causal) -> None:
    pairs = [(text[:20].rstrip(), " " + text[20:].strip()) for text in TEXTS]
    for (context, continuation), found in zip(pairs, causal.log_likelihoods(lm, pairs, batch_size=3), strict=True):
        before, after = lm.pieces(context), lm.pieces(continuation)
        table = log_probabilities(lm, before + after)[len(before) - 1 : -1]
        expected = table.gather(1, torch.tensor(after)[:, None]).sum()
        assert found.total == pytest.approx(float(expected), abs=1e-3)
        assert found.pieces == len(after)
        assert found.greedy == (table.argmax(1).tolist() == after)
        assert not found.truncated


PIECES = st.lists(st.integers(1, 300), min_size=1, max_size=POSITIONS // 2)


@settings(max_examples=25)
@given(st.lists(st.tuples(PIECES, PIECES), min_size=1, max_size=6), st.integers(1, 4))
def test_padding_changes_nothing(lm: causal.Causal, rows: list[causal.Row], batch_size: int) -> None:
    batched = causal.score(lm, rows, batch_size)
    for row, (total, _) in zip(rows, batched, strict=True):
        ((alone, _),) = causal.score(lm, [row])
        assert total == pytest.approx(alone, abs=1e-3)


def test_a_greedy_path_is_seen_as_such(lm: causal.Causal) -> None:
    ids = lm.pieces(TEXTS[0])
    path = list(ids)
    for _ in range(4):
        path.append(int(log_probabilities(lm, path)[-1].argmax()))
    other = [*path[:-1], (path[-1] + 1) % 300]
    scores = causal.score(lm, [(ids, path[len(ids) :]), (ids, other[len(ids) :])])
    assert [greedy for _, greedy in scores] == [True, False]


def test_too_much_context_is_cut_from_the_left(lm: causal.Causal) -> None:
    long = " ".join(TEXTS)
    (found,) = causal.log_likelihoods(lm, [(long, " and the river")])
    after = lm.pieces(" and the river")
    kept = lm.pieces(long)[-(POSITIONS + 1 - len(after)) :]
    ((expected, _),) = causal.score(lm, [(kept, after)])
    assert found.truncated
    assert found.total == pytest.approx(expected, abs=1e-4)
    assert len(kept + after) - 1 == POSITIONS  # every position is used


def test_lengths_for_the_mean(lm: causal.Causal) -> None:
    (found,) = causal.log_likelihoods(lm, [("The café", " à la carte")])
    assert (found.bytes, found.characters) == (11, 10)  # `à` is two bytes; the blank before is neither
    assert found.by("none") == found.total
    assert found.by("pieces") == found.total / len(lm.pieces(" à la carte"))
    assert found.by("bytes") == found.total / 11
    assert found.by("characters") == found.total / 10


@settings(max_examples=40)
@given(st.lists(st.sampled_from(WORDS), min_size=2, max_size=9), st.data())
def test_a_text_cut_at_a_blank_has_the_same_pieces(lm: causal.Causal, words: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(words) - 1))
    before, after = " ".join(words[:cut]), " ".join(words[cut:])
    whole = lm.pieces(f"{before} {after}")
    context, continuation = lm.row(before, f" {after}")
    assert context + continuation == whole
    assert lm.row(f"{before} ", after) == lm.row(before, f" {after}")


def test_nothing_to_score(tmp_path: Path, lm: causal.Causal) -> None:
    assert lm.row("", "The river")[0] == [lm.end_id]
    with pytest.raises(AttarError, match="empty continuation"):
        causal.log_likelihoods(lm, [("a", "")])
    with pytest.raises(AttarError, match=f"holds {POSITIONS}"):
        causal.score(lm, [([1], [2] * (POSITIONS + 1))])
    bare = causal.load(str(tiny_gpt(tmp_path / "bare", "gpt2", end=False)))
    assert bare.end_id is None
    with pytest.raises(AttarError, match="no end-of-text piece"):
        causal.log_likelihoods(bare, [("", "The river")])
    with pytest.raises(AttarError, match="no end-of-text piece"):
        continuations(bare, "", max_new=2)
    with pytest.raises(AttarError, match="surrogate"):
        causal.log_likelihoods(lm, [("a \ud83d", " b")])


@settings(max_examples=20)
@given(st.data())
def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large(lm: causal.Causal, data: st.DataObject) -> None:
    window = data.draw(st.integers(1, POSITIONS))
    stride = data.draw(st.integers(1, window))
    embeddings = lm.model.get_input_embeddings().weight
    kept = embeddings.detach().clone()
    with torch.no_grad():
        embeddings.zero_()  # the output matrix is the same tensor: every logit is 0
    try:
        found = perplexity(lm, " ".join(TEXTS), window=window, stride=stride)
    finally:
        with torch.no_grad():
            embeddings.copy_(kept)
    assert found.per_piece == pytest.approx(lm.model.config.vocab_size, rel=1e-5)
    assert found.pieces == len(lm.pieces(" ".join(TEXTS)))  # each piece once, the first too


@pytest.mark.parametrize(("window", "stride"), [(40, 40), (40, 20), (24, 7), (16, 1), (8, 8)])
def test_windows_slide_as_stated(lm: causal.Causal, window: int, stride: int) -> None:
    text = " ".join(TEXTS[:4])
    ids = [lm.end_id, *lm.pieces(text)]
    nats, contexts = 0.0, []
    for target in range(1, len(ids)):  # one piece at a time, from the definition
        moves = max(0, -(-(target - window) // stride))
        end = min(len(ids), 1 + window + moves * stride)  # where the piece's window ends
        begin = max(0, end - 1 - window)
        nats -= float(log_probabilities(lm, ids[begin:target])[-1, ids[target]])
        contexts.append(target - begin)
    assert min(contexts[window:]) > window - stride
    found = perplexity(lm, text, window=window, stride=stride, batch_size=3)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.pieces == len(ids) - 1
    assert found.per_piece == pytest.approx(math.exp(found.nats / (len(ids) - 1)))
    assert found.per_word == pytest.approx(math.exp(found.nats / len(text.split())))


def test_a_text_that_fits_has_the_stock_loss(lm: causal.Causal) -> None:
    ids = torch.tensor([[lm.end_id, *lm.pieces(TEXTS[0])]])
    with torch.no_grad():
        loss = float(lm.model(ids, labels=ids).loss)
    assert perplexity(lm, TEXTS[0]).per_piece == pytest.approx(math.exp(loss), rel=1e-4)


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"stride": -1}, {"stride": 9, "window": 8}, {"window": POSITIONS + 1}]
)
def test_a_window_that_does_not_slide(lm: causal.Causal, options: dict[str, int]) -> None:
    with pytest.raises(AttarError, match="stride"):
        perplexity(lm, TEXTS[0], **options)
    with pytest.raises(AttarError, match="too short"):
        perplexity(lm, " ")


@pytest.mark.parametrize("prompt", TEXTS[:3])
def test_greedy_with_and_without_cache_is_the_likeliest_path(lm: causal.Causal, prompt: str) -> None:
    path = lm.pieces(prompt)
    start = len(path)
    for _ in range(12):
        path.append(int(log_probabilities(lm, path)[-1].argmax()))
    free = dataclasses.replace(lm, end_id=None)
    for cache in (True, False):
        assert continuations(free, prompt, max_new=12, cache=cache) == [lm.tokenizer.decode(path[start:])]


def test_it_stops_at_end_of_text(lm: causal.Causal) -> None:
    free = dataclasses.replace(lm, end_id=None)
    (text,) = continuations(free, TEXTS[1], max_new=12)
    path = lm.pieces(TEXTS[1])
    start = len(path)
    for _ in range(12):
        path.append(int(log_probabilities(lm, path)[-1].argmax()))
    made = path[start:]
    end = made[3]
    stopped = continuations(dataclasses.replace(lm, end_id=end), TEXTS[1], max_new=12)
    assert stopped == [lm.tokenizer.decode(made[: made.index(end)])]
    assert stopped != [text]


def test_draws_follow_the_seed_and_leave_the_process_alone(lm: causal.Causal) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    options: dict[str, Any] = {"decoding": Decoding(method="sample"), "max_new": 10, "count": 2}
    first = continuations(lm, TEXTS[2], seed=1, **options)
    torch.manual_seed(99)
    assert continuations(lm, TEXTS[2], seed=1, **options) == first
    assert continuations(lm, TEXTS[2], seed=1, cache=False, **options) == first
    assert continuations(lm, TEXTS[2], seed=2, **options) != first
    assert first[0] != first[1]
    torch.manual_seed(3)
    assert torch.equal(torch.get_rng_state(), before)
    continuations(lm, TEXTS[2], seed=5, **options)
    assert torch.equal(torch.get_rng_state(), before)


def test_top_k_and_temperature_draw_as_stated(lm: causal.Causal) -> None:
    ids = lm.pieces(TEXTS[3])
    table = log_probabilities(lm, ids)[-1]
    best = table.topk(2)
    drawn = continuations(lm, TEXTS[3], sample(temperature=2.0, top_k=2), max_new=1, count=400, seed=4)
    names = [lm.tokenizer.decode([int(piece)]) for piece in best.indices]
    assert set(drawn) <= set(names)
    expected = float((best.values / 2.0).softmax(0)[0])
    sigma = math.sqrt(expected * (1 - expected) / 400)
    assert abs(drawn.count(names[0]) / 400 - expected) < 4 * sigma + 1e-9
    greedy = continuations(lm, TEXTS[3], max_new=8)
    assert continuations(lm, TEXTS[3], sample(temperature=5.0, top_k=1), max_new=8) == greedy
    wide = continuations(lm, TEXTS[3], sample(temperature=50.0), max_new=1, count=300)
    assert len(set(wide)) > 50  # no hidden top-k of the library's own


def test_a_long_prompt_leaves_room(lm: causal.Causal) -> None:
    long = " ".join(TEXTS)
    tail = lm.tokenizer.decode(lm.pieces(long)[-(POSITIONS - 5) :])
    assert continuations(lm, long, max_new=5) == continuations(lm, tail, max_new=5)
    with pytest.raises(AttarError, match="new pieces"):
        continuations(lm, "a", max_new=POSITIONS)
    for decoding, count in ((Decoding(), 0), (Decoding(), 2), (sample(), 0), (Decoding(method="beam", beams=3), 4)):
        with pytest.raises(UsageError, match=f"{count} texts"):
            continuations(lm, "a", decoding, max_new=2, count=count)


def test_a_nucleus_holds_the_fewest_pieces_of_its_share(lm: causal.Causal) -> None:
    shares = log_probabilities(lm, lm.pieces(TEXTS[4]))[-1].exp().sort(descending=True)
    size = 1 + int((shares.values.cumsum(0) < 0.5).sum())
    assert 1 < size < 300
    names = {lm.tokenizer.decode([int(piece)]) for piece in shares.indices[:size]}
    drawn = continuations(lm, TEXTS[4], sample(top_p=0.5), max_new=1, count=300)
    assert set(drawn) <= names
    assert len(set(drawn)) > 1


def test_a_beam_as_wide_as_the_vocabulary_finds_the_likeliest_text(lm: causal.Causal) -> None:
    free = dataclasses.replace(lm, end_id=None)
    ids = lm.pieces(TEXTS[5])[:4]
    size = lm.model.config.vocab_size
    first = log_probabilities(lm, ids)[-1]
    rows = torch.tensor([[*ids, piece] for piece in range(size)])
    with torch.no_grad():
        both = first[:, None] + lm.model(rows).logits[:, -1].double().log_softmax(-1)
    best = both.flatten().topk(3).indices.tolist()
    wide = Decoding(method="beam", beams=size)
    assert continued(free, ids, wide, max_new=2, count=3) == [[place // size, place % size] for place in best]


def test_what_is_no_causal_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match=r"'bert' is not one of gpt2, openai-gpt"):
        causal.load(str(tiny_teacher(tmp_path / "bert")))
    good = tiny_gpt(tmp_path / "good", "gpt2")
    weights = load_file(good / "model.safetensors")
    name = random.Random(0).choice(sorted(name for name in weights if ".h.1." in name))
    save_file(
        {key: value for key, value in weights.items() if key != name}, good / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(AttarError, match=f"lack {name}"):
        causal.load(str(good))
    wrong = weights | {name: torch.zeros(3, 5)}
    save_file(wrong, good / "model.safetensors", {"format": "pt"})
    with pytest.raises(AttarError, match=rf"{good}: .* {name} has the shape \(3, 5\) and the configuration asks \("):
        causal.load(str(good))
    (good / "model.safetensors").rename(good / "pytorch_model.bin")
    with pytest.raises(AttarError, match="safetensors alone"):
        causal.load(str(good))


def test_a_vocabulary_that_does_not_match(tmp_path: Path) -> None:
    folder = tiny_gpt(tmp_path / "model", "gpt2")
    tiny_tokenizer(340).save(str(folder / "tokenizer.json"))
    with pytest.raises(AttarError, match="340 pieces and the checkpoint's embedding 330 rows"):
        causal.load(str(folder))
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(AttarError, match="not a tokenizer"):
        causal.load(str(folder))


def test_end_of_text_by_name_or_by_configuration(tmp_path: Path) -> None:
    folder = tiny_gpt(tmp_path / "model", "openai-gpt", end=False)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}), "utf-8")
    assert causal.load(str(folder)).end_id == 7
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 50256}), "utf-8")
    assert causal.load(str(folder)).end_id is None  # a default of the library, not a piece of this tokenizer

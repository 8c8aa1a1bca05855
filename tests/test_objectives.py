"""Pre-training objectives: masks against their rates, rows against the papers, losses against other computations."""

import math
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from attar.errors import AttarError, UsageError
from attar.tasks import sharding
from attar.tasks.corpus import Corpus
from attar.teachers import objectives, shapes
from attar.teachers.objectives import next_sentence, pieces, replaced_token, segments, sentence_order
from attar.teachers.objectives.base import IGNORED
from attar.teachers.objectives.mlm import Masking, mask_pieces
from attar.teachers.objectives.pieces import Pieces
from attar.teachers.objectives.segments import Row, Span
from conftest import SENTENCES, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, ElectraForPreTraining

PAD, UNK, CLS, SEP, MASK, VOCABULARY = 0, 1, 2, 3, 4, 60
PIECES = Pieces(VOCABULARY, PAD, CLS, SEP, MASK, frozenset(range(5)), frozenset(range(40, VOCABULARY)))
SIZES = {"hidden_size": 32, "heads": 4, "layers": 2, "vocabulary": VOCABULARY, "positions": 32}


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def objective(name: str, shape: str, dropout: float = 0.0, **numbers: float) -> objectives.Objective:
    sizes = shapes.shape(shape, **SIZES)
    config = shapes.config(sizes, shapes.Special(pad=PAD), dropout=dropout, attention_dropout=dropout)
    return objectives.build(name, config, PIECES, objectives.Settings(**numbers), seed=5)


def batch(lengths: Sequence[int] = (12, 7, 9), pair: bool = False, number: int = 0) -> objectives.Batch:
    rng = np.random.default_rng(number)
    rows = []
    for place, length in enumerate(lengths):
        body = rng.integers(5, VOCABULARY, length - 3).tolist()
        rows.append(segments.pair(body[:2], body[2:], place % 2, PIECES))
    made = segments.batch(rows, PAD)
    return made if pair else {name: tensor for name, tensor in made.items() if name != "pair_label"}


NAMES = {
    "mlm": "bert-mini",
    "next_sentence": "bert-mini",
    "sentence_order": "albert-mini",
    "causal": "gpt2-mini",
    "replaced_token": "electra-mini",
}


# ---- masking


def within(count: int, total: int, rate: float) -> bool:
    """Five standard deviations of the binomial distribution."""
    return abs(count - total * rate) < 5 * math.sqrt(total * rate * (1 - rate))


@pytest.mark.parametrize("rate", [0.15, 0.4])
@pytest.mark.parametrize("whole_words", [False, True])
def test_masking_rates(rate: float, whole_words: bool) -> None:
    ids = torch.randint(5, VOCABULARY, (400, 100), generator=seed(1))
    if whole_words:  # words of two pieces, so that the number of words that are drawn is known
        ids[:, 0::2], ids[:, 1::2] = ids[:, 0::2] % 35 + 5, ids[:, 1::2] % 20 + 40
    inputs, labels = mask_pieces(ids, torch.ones_like(ids), Masking(PIECES, rate, whole_words=whole_words), seed(2))
    chosen = labels != IGNORED
    if whole_words:
        assert torch.equal(chosen[:, 0::2], chosen[:, 1::2])
        assert within(int(chosen[:, 0::2].sum()), 20_000, rate)
    else:
        assert within(int(chosen.sum()), 40_000, rate)
    count = int(chosen.sum())
    masked = inputs[chosen] == MASK
    same = inputs[chosen] == ids[chosen]
    assert within(int(masked.sum()), count, 0.8)
    assert within(int(same.sum()), count, 0.1 + 0.1 / 55)  # one random piece in 55 is the original
    others = inputs[chosen][~masked & ~same]
    assert set(others.tolist()) == set(range(5, VOCABULARY))
    apart = inputs[chosen][0::2] == MASK, inputs[chosen][1::2] == MASK
    assert within(int((apart[0] & apart[1]).sum()), len(apart[1]), 0.64)  # each piece's fate is its own


@settings(max_examples=60)
@given(
    ids=st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=8, max_size=8), min_size=1, max_size=4),
    real=st.lists(st.integers(0, 8), min_size=4, max_size=4),
    rate=st.floats(0.05, 0.95),
    mask=st.floats(0, 0.6),
    random=st.floats(0, 0.4),
    whole_words=st.booleans(),
    number=st.integers(0, 1000),
)
def test_what_masking_never_does(
    ids: list[list[int]],
    real: list[int],
    rate: float,
    mask: float,
    random: float,
    whole_words: bool,
    number: int,
) -> None:
    before = torch.tensor(ids)
    attention = (torch.arange(8)[None] < torch.tensor(real[: len(ids)])[:, None]).long()
    masking = Masking(PIECES, rate, mask, random, whole_words)
    inputs, labels = mask_pieces(before, attention, masking, seed(number))
    chosen = labels != IGNORED
    assert not (chosen & ((before < 5) | (attention == 0))).any()
    assert torch.equal(labels[chosen], before[chosen])
    assert torch.equal(inputs[~chosen], before[~chosen])
    assert ((inputs[chosen] >= 5) | (inputs[chosen] == MASK)).all()
    again = mask_pieces(before, attention, masking, seed(number))
    assert torch.equal(again[0], inputs) and torch.equal(again[1], labels)
    if whole_words:
        for row in range(len(ids)):
            for place in range(1, real[row]):
                if before[row, place] >= 40 and before[row, place - 1] >= 5:
                    assert chosen[row, place] == chosen[row, place - 1]


def test_masking_is_refused_outside_its_bounds() -> None:
    for numbers in ({"rate": 0.0}, {"rate": 1.0}, {"mask": 0.9, "random": 0.2}, {"mask": -0.1}):
        with pytest.raises(UsageError):
            Masking(PIECES, **numbers)


def test_pieces_of_a_tokenizer(tmp_path: Path) -> None:
    path = tiny_tokenizer(tmp_path)
    found, words = pieces.read(path), Tokenizer.from_file(str(path))
    assert found.vocabulary == words.get_vocab_size() and found.mask == words.token_to_id("[MASK]")
    assert found.special == {words.token_to_id(f"[{name}]") for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    assert len(found.ordinary) == found.vocabulary - 5
    for number in range(found.vocabulary):
        assert bool(found.is_continuing[number]) == words.id_to_token(number).startswith("##")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(AttarError, match="not a tokenizer"):
        pieces.read(tmp_path / "bad.json")
    text = path.read_text().replace("[MASK]", "[HOLE]")
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(AttarError, match=r"lacks \[MASK\]"):
        pieces.read(tmp_path / "other.json")


# ---- rows


class Texts:
    """Documents of sentences, in memory."""

    def __init__(self, documents: list[list[list[int]]]) -> None:
        self.flat = [(number, s) for number, document in enumerate(documents) for s in document]
        self.starts = np.cumsum([0, *map(len, documents)])
        self.sentences = len(self.flat)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def document(self, number: int) -> range:
        return range(int(self.starts[number]), int(self.starts[number + 1]))

    def document_of(self, sentences: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return np.array([document for document, _ in self.flat])[np.asarray(sentences)]

    def span(self, first: int, last: int) -> npt.NDArray[np.int64]:
        return np.array([piece for _, sentence in self.flat[first:last] for piece in sentence], np.int64)

    def lengths(self, sentences: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return np.array([len(sentence) for _, sentence in self.flat], np.int64)[np.asarray(sentences, np.int64)]


def corpus(documents: int = 6, sentences: int = 9, number: int = 0) -> Texts:
    """Every sentence has pieces of its document's own ten ids, rising, so that a text tells where it is from."""
    rng = np.random.default_rng(number)
    return Texts([[[10 * d + 5 + s] * int(rng.integers(1, 6)) for s in range(sentences)] for d in range(documents)])


CORPUS = corpus()


class Endless:
    """One document of so many sentences of twenty pieces, of which nothing is held."""

    def __init__(self, sentences: int) -> None:
        self.sentences = sentences

    def __len__(self) -> int:
        return 1

    def document(self, number: int) -> range:
        return range(self.sentences)

    def lengths(self, sentences: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return np.full(len(np.asarray(sentences)), 20)


def test_listing_the_spans_holds_no_document() -> None:
    """Beside the spans themselves, six times the sentences take no more memory."""
    extra = []
    for sentences in (10_000, 60_000):
        tracemalloc.start()
        found = segments.spans(Endless(sentences), 600, np.random.default_rng(0), short=0.0)  # type: ignore[arg-type]
        extra.append(tracemalloc.get_traced_memory()[1] - 3 * found.nbytes)  # numpy's array grows by half
        tracemalloc.stop()
        assert found[:, 1].tolist() == [*found[1:, 0].tolist(), sentences]
    assert max(extra) < 1_000_000  # the lengths as Python numbers would take twice that


@settings(max_examples=60)
@given(
    lengths=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), max_size=5),
    room=st.integers(2, 20),
    least=st.integers(1, 2),
    short=st.sampled_from([0.0, 0.5]),
    number=st.integers(0, 99),
)
def test_spans(lengths: list[list[int]], room: int, least: int, short: float, number: int) -> None:
    texts = Texts([[[7] * length for length in document] for document in lengths])
    found = segments.spans(texts, room, np.random.default_rng(number), least=least, short=short)
    assert found.shape[1:] == (2,)
    covered = [place for start, stop in found.tolist() for place in range(start, stop)]
    assert covered == sorted(set(covered))
    left_out = set(range(texts.sentences)) - set(covered)
    ends = {texts.document(document).stop for document in range(len(texts))}
    assert all(place + 1 in ends for place in left_out) and (least > 1 or not left_out)
    for start, stop in found.tolist():
        assert stop - start >= least
        assert texts.document_of(start) == texts.document_of(stop - 1)
        if not short:
            sizes = texts.lengths(range(start, stop)).tolist()
            assert sum(sizes) >= room or stop in ends
            assert sum(sizes[:-1]) < room or len(sizes) == least


def test_short_spans_are_as_many_as_bert_has() -> None:
    texts = Texts([[[7]] * 40_000])
    found = segments.spans(texts, 20, np.random.default_rng(0))[:-1]
    short = int((found[:, 1] - found[:, 0] < 20).sum())
    assert within(short, len(found), 0.1 * 18 / 19)  # a random length is 20 itself once in 19


@settings(max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40), st.integers(0, 99))
def test_truncation_by_berts_rule(first: int, second: int, room: int, number: int) -> None:
    a, b = list(range(first)), list(range(100, 100 + second))
    cut_a, cut_b = segments.truncate(a, b, room, np.random.default_rng(number))
    assert len(cut_a) + len(cut_b) == min(room, first + second)
    for cut, whole in ((cut_a, a), (cut_b, b)):  # a part from the middle, in order
        assert not cut or cut == list(range(cut[0], cut[-1] + 1))
        assert set(cut) <= set(whole)
    if len(cut_a) < first and len(cut_b) < second:
        assert abs(len(cut_a) - len(cut_b)) <= 1


def test_truncation_takes_from_both_ends() -> None:
    rng = np.random.default_rng(0)
    front = sum(segments.truncate(list(range(100)), [], 99, rng)[0][0] == 1 for _ in range(2000))
    assert within(front, 2000, 0.5)


def parts(row: Row) -> tuple[list[int], list[int]]:
    """The two texts of a row; checks its special pieces and segments."""
    ids, types = row.features.input_ids, row.features.token_type_ids
    ends = [place for place, piece in enumerate(ids) if piece == SEP]
    assert ids[0] == CLS and len(ends) == 2 and ends[1] == len(ids) - 1
    assert types == [0] * (ends[0] + 1) + [1] * (len(ids) - ends[0] - 1)
    return ids[1 : ends[0]], ids[ends[0] + 1 : -1]


def pair_spans(room: int) -> list[Span]:
    return [Span(*span) for span in segments.spans(CORPUS, room, np.random.default_rng(1), least=2).tolist()]


def test_next_sentence_rows() -> None:
    rng = np.random.default_rng(3)
    rows = [next_sentence.row(CORPUS, span, PIECES, 16, rng) for _ in range(150) for span in pair_spans(13)]
    labels = [row.pair_label for row in rows]
    assert within(labels.count(next_sentence.NEXT), len(rows), 0.5)
    for row in rows:
        first, second = parts(row)
        assert first and second and len(row.features.input_ids) <= 16
        assert first == sorted(first) and second == sorted(second)
        documents = {(piece - 5) // 10 for piece in first}, {(piece - 5) // 10 for piece in second}
        assert len(documents[0]) == len(documents[1]) == 1
        if row.pair_label == next_sentence.NEXT:
            assert documents[0] == documents[1] and first[-1] < second[0]
        else:
            assert documents[0] != documents[1]
    where = {(parts(row)[1][0] - 5) // 10 for row in rows if row.pair_label == next_sentence.RANDOM}
    assert where == set(range(6))


def test_a_true_next_text_continues_the_first_without_a_gap() -> None:
    rng = np.random.default_rng(4)
    for span in pair_spans(13):
        whole = segments.text(CORPUS, span)
        for _ in range(20):
            row = next_sentence.row(CORPUS, span, PIECES, 200, rng)
            if row.pair_label == next_sentence.NEXT:
                first, second = parts(row)
                assert first + second == whole


def test_one_document_has_no_other() -> None:
    one = corpus(documents=1)
    with pytest.raises(AttarError, match="several documents"):
        for number in range(20):
            next_sentence.row(one, Span(0, 4), PIECES, 16, np.random.default_rng(number))


def test_sentence_order_rows() -> None:
    rng = np.random.default_rng(5)
    rows = [(span, sentence_order.row(CORPUS, span, PIECES, 16, rng)) for _ in range(150) for span in pair_spans(13)]
    assert within(sum(row.pair_label == sentence_order.SWAPPED for _, row in rows), len(rows), 0.5)
    for span, row in rows:
        first, second = parts(row)
        assert first and second and len(row.features.input_ids) <= 16
        texts = (first, second) if row.pair_label == sentence_order.IN_ORDER else (second, first)
        assert texts[0][-1] < texts[1][0]
        whole = segments.text(CORPUS, span)
        assert set(texts[0] + texts[1]) <= set(whole)


def test_single_rows() -> None:
    row = segments.single(CORPUS, Span(0, 4), PIECES, 8)
    assert row.features.input_ids == [CLS, *segments.text(CORPUS, Span(0, 4))[:6], SEP]
    made = segments.batch([row, segments.single(CORPUS, Span(0, 1), PIECES, 8)], PAD)
    assert "pair_label" not in made and made["input_ids"].shape == (2, 8)


def test_rows_of_a_corpus_on_disk(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "words")
    halves = [". ".join(SENTENCES[:4]).capitalize() + ".", ". ".join(SENTENCES[4:]).capitalize() + "."]
    for number, text in enumerate(halves):
        (tmp_path / f"{number}.txt").write_text(text.replace(". ", ".\n\n") + "\n", "utf-8")
    texts = sharding.build(Corpus([tmp_path / "0.txt", tmp_path / "1.txt"]), tokenizer, tmp_path / "encoded")
    words, found, rng = Tokenizer.from_file(str(tokenizer)), pieces.read(tokenizer), np.random.default_rng(0)
    starts = [words.encode(line, add_special_tokens=False).ids[:2] for line in SENTENCES]
    found_spans = segments.spans(texts, 20, rng, least=2).tolist()
    assert len(found_spans) >= 2
    for start, stop in found_spans:
        for make in (next_sentence.row, sentence_order.row):
            row = make(texts, Span(start, stop), found, 200, rng)
            ids = row.features.input_ids
            assert ids[0] == found.cls and ids.count(found.sep) == 2
            second = ids[ids.index(found.sep) + 1 :]
            assert ids[1:3] in starts and second[:2] in starts
            whole = segments.text(texts, Span(start, stop))
            if row.pair_label == 0:
                assert [piece for piece in ids if piece not in (found.cls, found.sep)] == whole


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

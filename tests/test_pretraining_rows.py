"""Rows of pre-training against the papers: spans, pairs, order, truncation."""

import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from attar.errors import AttarError
from attar.tasks import sharding
from attar.tasks.corpus import Corpus
from attar.teachers.objectives import next_sentence, pieces, segments, sentence_order
from attar.teachers.objectives.segments import Row, Span
from conftest import SENTENCES, tiny_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_objectives import CLS, PAD, PIECES, SEP, within
from tokenizers import Tokenizer


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


def test_the_length_of_a_row_does_not_tell_its_label() -> None:
    """One span in ten is short, and a text from elsewhere beside it must be as short."""
    rng, many = np.random.default_rng(3), corpus(documents=12, sentences=40)
    spans = [Span(*s) for s in segments.spans(many, 40, np.random.default_rng(1), least=2, short=0.5).tolist()]
    rows = [next_sentence.row(many, span, PIECES, 43, rng) for _ in range(20) for span in spans]
    short = [row.pair_label for row in rows if len(row.features.input_ids) < 30]
    assert len(short) > 200 and within(short.count(next_sentence.NEXT), len(short), 0.5)


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
        assert texts[0][-1] < texts[1][0] and len(first) == len(second)
        whole = segments.text(CORPUS, span)
        assert set(texts[0] + texts[1]) <= set(whole)


def test_neither_lengths_nor_cuts_tell_the_order() -> None:
    """Who sees how long both texts are, and whether they begin and end with a sentence, knows no more than before."""
    begin, middle, end, rng = 5, 6, 7, np.random.default_rng(6)
    many = Texts([[[begin, *[middle] * int(rng.integers(12)), end] for _ in range(60)] for _ in range(60)])
    spans = [Span(*s) for s in segments.spans(many, 24, np.random.default_rng(1), least=2).tolist()]
    seen = dict[tuple[object, ...], list[int]]()
    for row in (sentence_order.row(many, span, PIECES, 27, rng) for _ in range(10) for span in spans):
        first, second = parts(row)
        assert len(first) == len(second)
        kind = (len(first), *(place for one in (first, second) for place in (one[0] == begin, one[-1] == end)))
        seen.setdefault(kind, []).append(int(row.pair_label or 0))
    rows = sum(map(len, seen.values()))
    guessed = sum(max(sum(labels), len(labels) - sum(labels)) for labels in seen.values())
    assert rows > 5000 and guessed / rows < 0.54  # half, and what chance adds to each kind


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
            whole = segments.text(texts, Span(start, stop))
            if make is sentence_order.row:
                assert set(ids) <= {*whole, found.cls, found.sep}
                continue
            assert ids[1:3] in starts and second[:2] in starts
            if row.pair_label == 0:
                assert [piece for piece in ids if piece not in (found.cls, found.sep)] == whole

"""Long contexts in overlapping windows (BERT, arXiv 1810.04805, sections 4.2 and 4.3, and its published code).

- A window is the question, then a part of the context, with the special pieces that the tokenizer's own template puts
  around a pair: `[CLS] q [SEP] c [SEP]` for BERT, `<s> q </s></s> c </s>` for RoBERTa.
- `stride` is the number of context pieces that neighbouring windows share (as in `tokenizers`; the step of BERT's code
  is the room less the stride). It is at most half of the room, so that a short window still moves on.
- A window that does not hold the whole answer is labelled with piece 0, [CLS], as a question without an answer is.
- Offsets count characters of the context. Several pieces may share one character (byte-level BPE), and a piece may
  begin with a blank or lack the accent that follows it; `characters` gives the span as a reader would mark it.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from ..errors import AttarError
from .encoding import Encoder, Features
from .squad import Answer, Question


class Window(NamedTuple):
    """A question with one part of its context."""

    row: int  # the number of its question
    features: Features  # `truncated` says that the question was cut
    first: int  # the place of the first context piece
    offsets: list[tuple[int, int]]  # first character of each context piece, and the one after its last
    start: int = 0  # the place of the answer's first piece; 0, [CLS], where the answer is not in the window
    end: int = 0  # the place of its last piece


Block = tuple[list[int], list[int]]  # ids and segments of some pieces


class _Template(NamedTuple):
    """The special pieces around a pair, and the segments of the two texts."""

    before: Block
    between: Block
    after: Block
    segments: tuple[int, int]

    @property
    def size(self) -> int:
        return sum(len(ids) for ids, _ in (self.before, self.between, self.after))

    def fill(self, question: list[int], context: list[int]) -> Block:
        """Ids and segments of the whole."""
        texts = [(ids, [kind] * len(ids)) for ids, kind in zip((question, context), self.segments, strict=True)]
        blocks = (self.before, texts[0], self.between, texts[1], self.after)
        return [piece for ids, _ in blocks for piece in ids], [kind for _, kinds in blocks for kind in kinds]


def encode(questions: Sequence[Question], encoder: Encoder, stride: int = 128, max_question: int = 64) -> list[Window]:
    """The windows of all questions, in order, each of at most the encoder's length, labelled by the first answer.

    A question is cut to `max_question` pieces, and to half of the window. Raises `AttarError` where the length leaves
    no room for a context or the tokenizer has no template for pairs.
    """
    contexts = list(dict.fromkeys(question.context for question in questions))
    with _whole(encoder.tokenizer) as tokenizer:
        template = _template(tokenizer)
        asked = _pieces(tokenizer, [question.question for question in questions])
        parts = dict(zip(contexts, _pieces(tokenizer, contexts), strict=True))
    space = encoder.max_length - template.size
    if space < 2:
        raise AttarError(f"{encoder.max_length} pieces leave no room for a context", where="max_length")
    windows: list[Window] = []
    for row, (question, words) in enumerate(zip(questions, asked, strict=True)):
        head = words.ids[: min(max_question, space // 2)]
        context = parts[question.context]
        ids, offsets = context.ids, context.offsets
        first = len(template.before[0]) + len(head) + len(template.between[0])
        for begin, end in _cuts(len(ids), space - len(head), stride):
            features = Features(*template.fill(head, ids[begin:end]), len(head) < len(words.ids))
            window = Window(row, features, first, offsets[begin:end])
            windows.append(_label(window, question))
    return windows


def places(window: Window, context: str, start: int, end: int) -> tuple[int, int] | None:
    """The first and last piece of the characters `start` to `end`; None where they are not all in the window."""
    while start < end and context[start].isspace():
        start += 1
    while end > start and context[end - 1].isspace():
        end -= 1
    inside = [n for n, (left, right) in enumerate(window.offsets) if left < right and right > start and left < end]
    if start >= end or not inside:
        return None
    first, last = window.first + inside[0], window.first + inside[-1]
    begin, stop = characters(window, context, first, last)
    return (first, last) if begin <= start and stop >= end else None


def characters(window: Window, context: str, first: int, last: int) -> tuple[int, int]:
    """The characters of the pieces `first` to `last`: without blanks at the ends, with the marks that follow."""
    start, end = window.offsets[first - window.first][0], window.offsets[last - window.first][1]
    while start < end and context[start].isspace():
        start += 1
    while end > start and context[end - 1].isspace():
        end -= 1
    # An accent or a vowel sign belongs to the letter before it, also where the normalizer drops it.
    while start < end < len(context) and unicodedata.category(context[end])[0] == "M":
        end += 1
    return start, end


def _label(window: Window, question: Question) -> Window:
    if not question.answers:
        return window
    answer: Answer = question.answers[0]
    found = places(window, question.context, answer.start, answer.start + len(answer.text))
    return window._replace(start=found[0], end=found[1]) if found else window


def _cuts(count: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Where each window begins and ends among `count` pieces; one empty window where there are none."""
    step = room - min(stride, room // 2)
    begin = 0
    while begin + room < count:
        yield begin, begin + room
        begin += step
    yield begin, count


def _template(tokenizer: Tokenizer) -> _Template:
    """What the tokenizer puts around a pair, read from a sample."""
    sample = tokenizer.encode("a", "a")
    texts = sample.sequence_ids  # None for a special piece
    if not {0, 1} <= set(texts) or texts[0] is not None or texts.index(0) > texts.index(1):
        raise AttarError(
            "the tokenizer does not write a pair of texts as [CLS] question [SEP] context",
            where="tokenizer.json",
            fix="use the tokenizer of an encoder, such as BERT's or RoBERTa's",
        )
    begins, ends = zip(*((texts.index(text), len(texts) - texts[::-1].index(text)) for text in (0, 1)), strict=True)
    parts = (slice(0, begins[0]), slice(ends[0], begins[1]), slice(ends[1], None))
    before, between, after = ((sample.ids[part], sample.type_ids[part]) for part in parts)
    return _Template(before, between, after, (sample.type_ids[begins[0]], sample.type_ids[begins[1]]))


def _pieces(tokenizer: Tokenizer, texts: list[str]) -> list[Encoding]:
    """The pieces of each text alone, without special pieces."""
    try:
        return list(tokenizer.encode_batch(texts, add_special_tokens=False))
    except TypeError:  # half of a surrogate pair: Python holds it, UTF-8 and the library do not
        raise AttarError("a text holds a character that is not Unicode (a lone surrogate)") from None


@contextlib.contextmanager
def _whole(tokenizer: Tokenizer) -> Iterator[Tokenizer]:
    """The tokenizer without its truncation, for as long as the block lasts."""
    truncation = tokenizer.truncation
    tokenizer.no_truncation()
    try:
        yield tokenizer
    finally:
        if truncation is not None:
            tokenizer.enable_truncation(**truncation)

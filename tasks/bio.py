"""Sentences whose words carry labels in the BIO scheme, and their readers.

- A label is `O`, `B-TYPE` or `I-TYPE` (Ramshaw and Marcus, cmp-lg/9505040); anything else is refused by its row.
- An `I-` after `O`, or after another type, starts a new span, as conlleval counts it. Readers write it as `B-`, so
  that a model learns one scheme whatever the file's habit (the IOB2 of Tjong Kim Sang and Veenstra, cs/9907006).
- The words are the file's own. Plain text, as Rasa's files hold it, is cut by `split_words`. A device cuts its texts as
  the training rows are cut (`cut_of`): at the signs, or at the blanks alone where `o'clock` and `st.` are words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import AttarError, UsageError
from ..files import read_json
from . import table

OUTSIDE = "O"
LABEL = re.compile(r"O|[BI]-.+")
WORD = re.compile(r"\w+|[^\w\s]")  # `tomorrow's` is three words: an entity often ends before the sign
RUN = re.compile(r"[^ \t\r\n]+")  # a no-break space is part of a word

Format = Literal["parallel", "conll", "rasa"]
Cut = Literal["signs", "blanks"]


class Span(NamedTuple):
    """The words from `start` up to, not including, `end` are one mention of a type."""

    kind: str
    start: int
    end: int


class Sentence(NamedTuple):
    """Words, one label each, and the intent of the whole where the file states one."""

    words: list[str]
    labels: list[str]
    intent: str | None
    where: str


def spans(labels: Sequence[str]) -> list[Span]:
    """The spans that conlleval counts, in order; a stray `I-` starts one."""
    found: list[Span] = []
    start, kind = 0, ""
    for place, label in enumerate((*labels, OUTSIDE)):
        if label.startswith("I-") and label[2:] == kind:
            continue
        if kind:
            found.append(Span(kind, start, place))
        start, kind = place, label[2:]
    return found


def labels_of(found: Iterable[Span], words: int) -> list[str]:
    """The label of each word, every span opened by `B-`; the spans must lie apart."""
    labels = [OUTSIDE] * words
    for kind, start, end in found:
        labels[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return labels


def split_words(text: str) -> list[tuple[int, int]]:
    """Where the words of a plain text begin and end: runs of letters and digits, and every other sign by itself."""
    return [match.span() for match in WORD.finditer(text)]


def cut_of(rows: Iterable[Sentence]) -> Cut:
    """Where the words of these rows were cut: the rule by which a device finds the same words."""
    whole = all(WORD.findall(word) == [word] for row in rows for word in row.words)
    return "signs" if whole else "blanks"


def cut(text: str, rule: Cut) -> list[tuple[int, int]]:
    """Where the words of a plain text begin and end, by the rule of the training rows."""
    return split_words(text) if rule == "signs" else [match.span() for match in RUN.finditer(text)]


def read(path: Path, kind: Format | None = None, encoding: str = "utf-8") -> list[Sentence]:
    """All sentences of a file, in order.

    `parallel`: `path` is `seq.in` or `NAME.seq.in`; its labels stand beside it in `seq.out`, its intents in `label`
    (which may be missing). `conll`: a word and its label a line (first and last column), an empty line between
    sentences. `rasa`: Rasa NLU's JSON. Without `kind` the file's name decides.

    Raises `AttarError` with file and row for a label outside the scheme, words and labels that differ in number, a
    row without words, and files that do not fit together.
    """
    kind = kind or ("parallel" if path.name.endswith("seq.in") else "rasa" if path.suffix == ".json" else "conll")
    if kind == "parallel":
        sentences = _parallel(path, encoding)
    elif kind == "conll":
        sentences = _conll(path, encoding)
    else:
        sentences = _rasa(path)
    if not sentences:
        raise AttarError("the file holds no sentences", where=str(path))
    return sentences


def _sentence(words: list[str], labels: list[str], intent: str | None, where: str) -> Sentence:
    """Check one sentence and write its labels with a `B-` at every start."""
    if not words:
        raise AttarError("a row without words", where=where)
    if len(words) != len(labels):
        raise AttarError(f"{len(words)} words and {len(labels)} labels", where=where, fix="every word needs one label")
    wrong = next((label for label in labels if not LABEL.fullmatch(label)), None)
    if wrong is not None:
        fix = "labels are O, B-TYPE and I-TYPE"
        raise AttarError(f"the label {wrong!r} is outside the BIO scheme", where=where, fix=fix)
    return Sentence(words, labels_of(spans(labels), len(labels)), intent, where)


def _parallel(path: Path, encoding: str) -> list[Sentence]:
    if not path.name.endswith("seq.in"):
        fix = "name the file of the words, for example train.seq.in"
        raise UsageError("parallel files are named seq.in, seq.out and label", where=str(path), fix=fix)
    stem = path.name.removesuffix("seq.in")
    tags, intents = path.with_name(f"{stem}seq.out"), path.with_name(f"{stem}label")
    words = _lines(path, encoding)
    columns = {tags: _lines(tags, encoding)}
    columns |= {intents: _lines(intents, encoding)} if intents.exists() else {}
    for other, lines in columns.items():
        if len(lines) != len(words):
            raise AttarError(f"{len(lines)} lines, and {path.name} has {len(words)}", where=str(other))
    sentences = []
    for row, line in enumerate(words):
        intent = columns[intents][row].strip() if intents in columns else None
        if intent == "":
            raise AttarError("a row without an intent", where=f"{intents}:{row + 1}")
        # The row is the same in all files; the error about labels is best looked up among the labels.
        sentences.append(_sentence(_cells(line), _cells(columns[tags][row]), intent, f"{tags}:{row + 1}"))
    return sentences


def _conll(path: Path, encoding: str) -> list[Sentence]:
    sentences: list[Sentence] = []
    words: list[str] = []
    labels: list[str] = []
    for row, line in enumerate([*_lines(path, encoding), ""], 1):
        cells = [cell.strip() for cell in line.strip().split("\t")] if "\t" in line.strip() else _cells(line)
        if cells and cells[0] != "-DOCSTART-":
            if len(cells) < 2 or not cells[0] or not LABEL.fullmatch(cells[-1]):
                what = "a word without a label" if len(cells) < 2 else f"{cells[-1]!r} is outside the BIO scheme"
                fix = "a line is a word and O, B-TYPE or I-TYPE"
                raise AttarError(what, where=f"{path}:{row}", fix=fix)
            words.append(cells[0])
            labels.append(cells[-1])
        elif words:
            sentences.append(_sentence(words, labels, None, f"{path}:{row - len(words)}"))
            words, labels = [], []
    return sentences


def _rasa(path: Path) -> list[Sentence]:
    value = read_json(path)
    examples = value.get("rasa_nlu_data", {}) if isinstance(value, dict) else {}
    examples = examples.get("common_examples") if isinstance(examples, dict) else None
    if not isinstance(examples, list):
        raise AttarError("no rasa_nlu_data.common_examples", where=str(path), fix="this is not Rasa NLU's JSON")
    return [_rasa_sentence(example, f"{path}[{number}]") for number, example in enumerate(examples)]


def _rasa_sentence(example: Any, where: str) -> Sentence:
    if not isinstance(example, dict) or not isinstance(example.get("text"), str):
        raise AttarError("an example without a text", where=where)
    text = table.unicode(example["text"], "text", where)
    places = split_words(text)
    starts = {start: number for number, (start, _) in enumerate(places)}
    ends = {end: number + 1 for number, (_, end) in enumerate(places)}
    found: list[Span] = []
    for entity in example.get("entities") or []:
        try:
            span = Span(str(entity["entity"]), starts[entity["start"]], ends[entity["end"]])
        except (KeyError, TypeError):
            what = f"an entity that does not begin and end with a word: {entity}"
            raise AttarError(what, where=where, fix="start and end count characters, the end not included") from None
        if span.start >= span.end or not span.kind:
            raise AttarError(f"an empty entity: {entity}", where=where)
        if any(span.start < other.end and other.start < span.end for other in found):
            raise AttarError(f"two entities share {text[entity['start'] : entity['end']]!r}", where=where)
        found.append(span)
    words = [text[start:end] for start, end in places]
    return _sentence(words, labels_of(found, len(words)), str(example.get("intent") or "") or None, where)


def _lines(path: Path, encoding: str) -> list[str]:
    return table.decode(path, encoding).rstrip("\r\n").split("\n")


def _cells(line: str) -> list[str]:
    """Cut at spaces and tabs alone: a no-break space is part of a word."""
    return [cell for cell in re.split(r"[ \t\r]+", line) if cell]

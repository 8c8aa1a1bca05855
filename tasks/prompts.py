"""Prompts: a task written as text that a language model continues (GPT-3, arXiv 2005.14165, sections 2 and 2.4).

- A prompt is a description, k solved examples and the query, a separator between them; the answer is the candidate
  continuation that the model finds likeliest. Zero-shot is k = 0.
- Examples are drawn for each query by itself, seeded, and never hold the query. The draw for k is the beginning of the
  draw for any larger k, so a curve over k compares prompts that grow, not prompts that change.
- The blank before a word belongs to the word: byte-level BPE writes ` good` and `good` as different pieces.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import AttarError, UsageError, nearest
from ..recipe import Split, Task
from . import table
from .table import Example


class Completion(NamedTuple):
    """A text and how it truly goes on; the continuation begins with its blank."""

    context: str
    continuation: str
    where: str = ""


class Candidates(NamedTuple):
    """A text and several ways to go on, of which `gold` is the number of the right one."""

    context: str
    candidates: tuple[str, ...]
    gold: int
    where: str = ""


def endings(context: str, texts: Sequence[str], gold: int, where: str = "") -> Candidates:
    """A multiple-choice item as continuations of its context, one blank before each: `endings(*question)`.

    Raises `AttarError` for fewer than two candidates, an empty one, or a `gold` that is none of them.
    """
    if len(texts) < 2:
        raise AttarError(f"{len(texts)} candidates where a choice needs two", where=where)
    if not all(text.strip() for text in texts):
        raise AttarError("a candidate holds no text", where=where)
    if not 0 <= gold < len(texts):
        raise AttarError(f"the right answer is candidate {gold} of {len(texts)} (from 0)", where=where)
    return Candidates(context.rstrip(), tuple(f" {text.strip()}" for text in texts), gold, where)


@dataclass(frozen=True)
class Prompt:
    """How a task is written as text.

    `words` gives each label its word (the verbalizer); `pattern` writes an example without its answer and may use
    `{text}` and `{text_pair}`. Radford 2018, section 5, asks for sentiment by `Prompt(words, pattern="{text} very")`.
    """

    words: Mapping[str, str]
    pattern: str = "{text}"
    description: str = ""
    separator: str = "\n\n"

    def __post_init__(self) -> None:
        try:
            parts = list(string.Formatter().parse(self.pattern))
        except ValueError as error:
            raise UsageError(f"the pattern {self.pattern!r} is not readable: {error}", where="prompt") from None
        names = [name for _, name, _, _ in parts if name is not None]
        wrong = next((name for name in names if name not in ("text", "text_pair")), None)
        if wrong is not None or "text" not in names or any(form or change for _, _, form, change in parts):
            what = f"the pattern {self.pattern!r} must hold {{text}} and may hold {{text_pair}}, nothing else in braces"
            raise UsageError(what, where="prompt", fix="write {{ and }} for braces")
        if len(self.words) < 2 or len(set(self.words.values())) < len(self.words) or not all(self.words.values()):
            raise UsageError("each of two or more labels needs a word of its own", where="prompt.words")

    def question(self, example: Example) -> str:
        """The example without its answer; what blank the pattern ends with belongs to the answer."""
        pair = example.text_pair
        if pair is None and "{text_pair}" in self.pattern:
            raise AttarError("the pattern asks for a second text", where=example.where, fix="set task.text_pair")
        return self.pattern.format(text=example.text, text_pair=pair).rstrip()

    def gold(self, example: Example) -> int:
        """The number of the example's label among the words."""
        if example.label not in self.words:
            what = f"the label {example.label!r} has no word"
            raise AttarError(what, where=example.where, fix=nearest(example.label, self.words))
        return list(self.words).index(example.label)

    def answers(self) -> tuple[str, ...]:
        """The continuations among which the model chooses, in the order of the labels."""
        return tuple(f" {word.strip()}" for word in self.words.values())

    def write(self, query: Example, examples: Sequence[Example] = ()) -> Candidates:
        """Description, examples with their answers, and the query; the candidates are the label words."""
        solved = [self.question(example) + self.answers()[self.gold(example)] for example in examples]
        parts = [self.description] if self.description else []
        context = self.separator.join([*parts, *solved, self.question(query)])
        return Candidates(context, self.answers(), self.gold(query), query.where)


class Shots:
    """The rows that examples are drawn from: at random, or `balanced` over the labels to within one example."""

    def __init__(self, pool: Sequence[Example], balanced: bool = True) -> None:
        self.groups: dict[str, list[Example]] = {}
        for row in pool:
            self.groups.setdefault(row.label if balanced else "", []).append(row)

    def draw(self, k: int, seed: int, query: Example) -> list[Example]:
        """`k` examples for the query, in the order they are shown; none has the query's place or texts.

        Raises `AttarError` where the pool holds fewer.
        """
        key = f"{seed}\0{query.text}\0{query.text_pair}"  # Python seeds from a string by sha512: the same everywhere
        order = random.Random(key)
        labels = sorted(self.groups)
        streams = {label: _permuted(self.groups[label], f"{key}\0{label}", query) for label in labels}
        found: list[Example] = []
        while len(found) < k:
            before = len(found)
            for label in order.sample(labels, len(labels)):  # a round: one of each label, in a new order
                found += [row for row in [next(streams[label], None)] if row is not None]
            if len(found) == before:
                raise AttarError(f"{len(found)} rows for {k} examples beside the query", where=query.where)
        return found[:k]


def _permuted(rows: Sequence[Example], key: str, query: Example) -> Iterator[Example]:
    """The rows in a random order without the query (Fisher and Yates, made as far as it is asked for)."""
    chooser = random.Random(key)
    moved: dict[int, int] = {}
    for place in range(len(rows)):
        other = chooser.randrange(place, len(rows))
        row = rows[moved.get(other, other)]
        moved[other] = moved.get(place, place)
        is_query = row.where == query.where and bool(row.where)
        if not is_query and (row.text, row.text_pair) != (query.text, query.text_pair):
            yield row


def lambada(split: Split) -> list[Completion]:
    """LAMBADA (arXiv 1606.06031) from JSONL rows `{"text": …}`: each passage without its last word, and that word."""
    rows = table.read(split, Task(train=split, text="text", label="text"))
    return [last_word(row.text, row.where) for row in rows]


def last_word(text: str, where: str = "") -> Completion:
    """Split a text before its last word, with the white space between them on the word's side."""
    text = text.rstrip()
    parts = text.rsplit(None, 1)
    if len(parts) < 2:
        raise AttarError("a passage of one word has no context", where=where)
    return Completion(parts[0], text[len(parts[0]) :], where)

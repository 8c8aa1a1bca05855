"""Changed copies of a row of texts, and the file that holds them (TinyBERT, arXiv 1909.10351, Algorithm 1).

- Each word that has candidates is replaced with probability `replace` by one of them, all equally likely. Copies that
  equal the row or one another are dropped, so there are at most `copies` of them.
- Of a pair each copy changes one text and leaves the other, in turns. (The authors' script changes one after the other
  too, with all copies for each.)
- The random numbers of a row follow from the seed and the row's number alone: a run that was stopped goes on to the
  same file, and a row's copies do not change with the rows around it.
- The file is JSONL with the task's own columns, so that a person can read it: `training_row`, from 0, is the row that a
  copy was made of, and the label is that row's. A classifier's label may not fit the new words; what the teacher
  answers does, and the student learns that.
- A sentence with slots keeps its number of words and the label of each, whatever stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import recipe
from ..errors import AttarError
from .bio import Sentence
from .table import Example, decode, jsonl_rows

NAME = "train.jsonl"
ROW = "training_row"

Row = Example | Sentence


class Choice(NamedTuple):
    """A place in a text, and the words that may stand there."""

    start: int
    end: int
    candidates: list[str]


def texts(row: Row) -> list[str]:
    """The text of a row, or both of a pair; the words of a sentence with slots, a blank between them."""
    if isinstance(row, Sentence):
        return [" ".join(row.words)]
    return [row.text] if row.text_pair is None else [row.text, row.text_pair]


def copies(row: Row, choices: Sequence[Sequence[Choice]], plan: recipe.Augment, seed: tuple[int, int]) -> list[Row]:
    """At most `plan.copies` changed copies of a row; `choices` are those of its text, and of its second text if any."""
    generator = np.random.default_rng(seed)
    sides = [_changed(text, own, plan, generator) for text, own in zip(texts(row), choices, strict=True)]
    seen, found = {tuple(texts(row))}, list[Row]()
    for number in range(plan.copies):
        side = number % len(sides)
        copy = _with(row, side, sides[side][number])
        if (key := tuple(texts(copy))) not in seen:
            seen.add(key)
            found.append(copy)
    return found


def _with(row: Row, side: int, new: str) -> Row:
    """The row with another text, or second text."""
    if isinstance(row, Sentence):
        return row._replace(words=new.split(" "))
    return row._replace(text=new) if side == 0 else row._replace(text_pair=new)


def _changed(text: str, choices: Sequence[Choice], plan: recipe.Augment, generator: np.random.Generator) -> list[str]:
    """`plan.copies` texts, some of which may be equal."""
    usable = [choice for choice in choices if choice.candidates]
    if not usable:
        return [text] * plan.copies
    drawn = generator.random((plan.copies, len(usable))) < plan.replace
    picked = generator.integers(0, [len(choice.candidates) for choice in usable], (plan.copies, len(usable)))
    found = []
    for change, pick in zip(drawn.tolist(), picked.tolist(), strict=True):
        parts, end = [], 0
        for choice, chosen, number in zip(usable, change, pick, strict=True):
            if chosen:
                word = cased(choice.candidates[number], text[choice.start : choice.end])
                parts += [text[end : choice.start], word]
                end = choice.end
        found.append("".join([*parts, text[end:]]))
    return found


def cased(candidate: str, word: str) -> str:
    """The candidate with the capitals of the word whose place it takes; one that has its own keeps them."""
    if not candidate.islower():
        return candidate
    if word.isupper() and len(word) > 1:
        return candidate.upper()
    return candidate[:1].upper() + candidate[1:] if word[:1].isupper() else candidate


def line(row: Row, number: int, task: recipe.Task) -> str:
    """A copy of training row `number` as a line of the file."""
    if isinstance(row, Sentence):
        values = {ROW: number, "words": row.words, "labels": row.labels, "intent": row.intent}
        return json.dumps(values, ensure_ascii=False) + "\n"
    text, pair, label = _columns(task)
    second = {} if row.text_pair is None else {pair: row.text_pair}
    return json.dumps({ROW: number, text: row.text, **second, label: row.label}, ensure_ascii=False) + "\n"


def read(path: Path, task: recipe.Task) -> Sequence[Row]:
    """The rows of a finished file, which may be empty."""
    if path.is_file() and not path.stat().st_size:
        return []
    rows = jsonl_rows(path, decode(path, "utf-8"))
    try:
        if task.kind == "token_classification":
            return [Sentence(row["words"], row["labels"], row["intent"], where) for where, row in rows]
        text, pair, label = _columns(task)
        return [Example(row[text], row.get(pair), row[label], where) for where, row in rows]
    except KeyError as error:
        raise AttarError(f"a row lacks {error}", where=str(path), fix="delete the folder and repeat") from None


def _columns(task: recipe.Task) -> tuple[str, str, str]:
    """The names of the text, the second text and the label, the first where the recipe names several."""
    names = (task.text, task.text_pair or "", task.label)
    text, pair, label = (name if isinstance(name, str) else name[0] for name in names)
    return text, pair, label

"""Readers of multiple-choice files: AI2's JSONL, OpenBookQA, ARC, HellaSwag, and named columns as SWAG has them.

A row that is no question (`choice.question` says which are) stops the reading, or is left out and listed where the
user chose so: published files hold some, such as rows of ARC without their candidates.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import AttarError, nearest
from . import streams, table
from .choice import Question, question

Format = Literal["commonsenseqa", "openbookqa", "arc", "hellaswag", "columns"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Columns(NamedTuple):
    """The columns of a file like SWAG's. The right candidate is a number from 0, the candidate of that place.

    `start` opens every candidate. Of `candidates`, a single column may hold a JSON list.
    """

    context: str | Sequence[str] = "sent1"  # of several names the first one present, as for `label`
    start: str | None = "sent2"
    candidates: Sequence[str] = ("ending0", "ending1", "ending2", "ending3")
    label: str | Sequence[str] = "label"


@dataclass(frozen=True)
class Questions:
    """What was read, and one line for each row that was left out."""

    rows: list[Question]
    skipped: list[str]


def read(
    path: Path,
    kind: Format,
    columns: Columns | None = None,
    *,
    header: list[str] | None = None,
    encoding: str = "utf-8",
    bad: Literal["refuse", "skip"] = "refuse",
) -> Questions:
    """All questions of a file, in order.

    `commonsenseqa`: JSONL of AI2's form (`question.stem`, `question.choices`, `answerKey`). `openbookqa`: TSV with
    `(A) …` in one cell. `arc`: CSV without a header, question, candidates, letter. `hellaswag`: six lines an item:
    context, number from 0, four endings. `columns`: CSV, TSV or JSONL with named columns, which `header` names for a
    table that has no header line.

    Raises `AttarError` with file and row; with `bad="skip"` rows that are no question are left out and listed.
    """
    text = table.decode(path, encoding)
    rows: list[Question] = []
    skipped: list[str] = []
    for check in _rows(path, text, kind, columns or Columns(), header):
        try:
            rows.append(check())
        except AttarError as error:
            if bad == "refuse":
                raise
            skipped.append(error.line())
    if not rows:
        what = f"none of {len(skipped)} rows is a question" if skipped else "the file holds no questions"
        raise AttarError(what, where=str(path), fix=f"the first: {skipped[0]}" if skipped else "")
    return Questions(rows, skipped)


def _rows(
    path: Path, text: str, kind: Format, columns: Columns, header: list[str] | None
) -> Iterator[Callable[[], Question]]:
    """Each row as a question that is yet to be checked."""
    if kind == "hellaswag":
        return _hellaswag(path, text)
    if kind == "arc":
        return _arc(path, text)
    if kind == "commonsenseqa":
        return (partial(_commonsenseqa, *row) for row in table.jsonl_rows(path, text))
    if kind == "openbookqa":
        return (partial(_openbookqa, *row) for row in table.table_rows(path, text, "tsv", None))
    ending = streams.bare(path).suffix.lower()
    if ending in (".jsonl", ".json"):
        rows = table.jsonl_rows(path, text)
    else:
        rows = table.table_rows(path, text, "tsv" if ending == ".tsv" else "csv", header)
    return (partial(_columns, *row, columns) for row in rows)


def _commonsenseqa(where: str, row: dict[str, Any]) -> Question:
    stem = row.get("question")
    choices = stem.get("choices") if isinstance(stem, dict) else None
    if not isinstance(stem, dict) or not isinstance(choices, list):
        raise AttarError("no question.choices", where=where, fix="a row is {question: {stem, choices}, answerKey}")
    if not all(isinstance(choice, dict) for choice in choices):
        raise AttarError("a choice that is not {label, text}", where=where)
    texts, names = [choice.get("text") for choice in choices], [str(choice.get("label")) for choice in choices]
    return question(stem.get("stem"), texts, names, row.get("answerKey"), where)


def _openbookqa(where: str, row: dict[str, Any]) -> Question:
    for name in ("Question Stem", "Choices", "Answer Key"):
        if name not in row:
            raise AttarError(f"no column {name!r}", where=where, fix=nearest(name, row))
    candidates = _marked(row["Choices"].strip())
    return question(row["Question Stem"], candidates, list(LETTERS[: len(candidates)]), row["Answer Key"], where)


def _marked(text: str) -> list[str]:
    """What stands behind `(A)`, `(B)` and so on.

    A mark counts only where its letter is next: a candidate's own text may hold another, or the same again.
    """
    places: list[int] = []
    for letter in LETTERS:
        place = text.find(f"({letter})", places[-1] + 3 if places else 0)
        if place < 0 or (letter == "A" and place > 0):
            break
        places.append(place)
    ends = [*places[1:], len(text)]
    return [text[start + 3 : ends[number]] for number, start in enumerate(places)]


def _arc(path: Path, text: str) -> Iterator[Callable[[], Question]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            if cells:
                yield partial(_arc_question, cells, f"{path}:{reader.line_num}")
    except csv.Error as error:
        raise AttarError(f"not readable as csv: {error}", where=f"{path}:{reader.line_num}") from None


def _arc_question(cells: list[str], where: str) -> Question:
    if not 3 <= len(cells) <= len(LETTERS):
        raise AttarError(f"{len(cells)} columns", where=where, fix="a row is question, candidates, letter")
    context, *candidates, gold = cells
    while candidates and not candidates[-1].strip():  # questions of three candidates leave the fourth cell empty
        candidates.pop()
    numbered = gold.strip().isdigit()  # some questions of ARC name their candidates 1 to 4
    names = [str(place + 1) if numbered else LETTERS[place] for place in range(len(candidates))]
    return question(context, candidates, names, gold, where)


def _hellaswag(path: Path, text: str) -> Iterator[Callable[[], Question]]:
    lines = text.rstrip().split("\n")
    for start in range(0, len(lines), 6):
        where = f"{path}:{start + 1}"
        context, *rest = lines[start : start + 6]
        # A line too many shifts every item behind it, so nothing of the file can be trusted: this is never skipped.
        if len(rest) < 5 or not rest[0].strip().isdigit():
            fix = "an item is six lines: context, number of the answer, four endings"
            raise AttarError("not an item of six lines", where=where, fix=fix)
        yield partial(question, context, rest[1:], ["0", "1", "2", "3"], rest[0], where)


def _columns(where: str, row: dict[str, Any], columns: Columns) -> Question:
    context = table.column(row, columns.context, where, "text")
    label = table.column(row, columns.label, where, "label")
    opening = table.column(row, columns.start, where, "start") if columns.start else ""
    candidates: list[Any] = [row[table.column(row, name, where, "candidates")] for name in columns.candidates]
    if len(candidates) == 1 and isinstance(candidates[0], list):
        candidates = candidates[0]
    while candidates and candidates[-1] in (None, ""):  # questions may differ in their candidates
        candidates.pop()
    start = row[opening] if opening else ""
    if isinstance(start, str) and start.strip():
        candidates = [f"{start.strip()} {ending}" if isinstance(ending, str) else ending for ending in candidates]
    names = [str(number) for number in range(len(candidates))]
    return question(row[context], candidates, names, row[label], where)

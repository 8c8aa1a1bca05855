"""SQuAD files, versions 1.1 and 2.0 (arXiv 1606.05250, 1806.03822), as questions.

- Offsets count Unicode characters, as the published files and Python do. An answer that does not stand in its context
  at its offset can teach nothing: it is left out and counted, and with it a question that has no other answer; `strict`
  makes it an error.
- What a question lacks to be asked at all (its words, its context, its id) is an error that names its place.
- Data are divided by article, and articles that share a context stay together: no context of dev is seen in training.
  A file of one article holds loose paragraphs under one name, so there each context counts as an article.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import AttarError
from ..files import read_json
from .table import unicode


class Answer(NamedTuple):
    """Words of the context and the character at which they begin."""

    text: str
    start: int


class Option(NamedTuple):
    """A label that stands in the context, and its characters there."""

    label: str
    start: int
    end: int


class Question(NamedTuple):
    """A question about a context; `answers` are all that the annotators gave, and none where it is impossible.

    `options` are those of a classification that is asked as a question (`as_question`), and `source` its name.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    impossible: bool = False
    article: str = ""
    options: tuple[Option, ...] = ()
    source: str = ""
    where: str = ""


class Reading(NamedTuple):
    """What a file held: its questions in order, and the places of what was left out."""

    questions: list[Question]
    misplaced: list[str]  # one place for each answer that is not in its context at its offset
    skipped: list[str]  # questions that have no answer left

    def remark(self) -> str:
        """What was left out in one line; empty where nothing was."""
        if not self.misplaced and not self.skipped:
            return ""
        first = (self.misplaced + self.skipped)[0]
        return (
            f"left out {len(self.misplaced)} answers that are not in their context at their offset and "
            f"{len(self.skipped)} questions without an answer, the first at {first}"
        )


def read(path: Path, strict: bool = False) -> Reading:
    """All questions of a SQuAD JSON file; with `strict`, an answer out of its place raises `AttarError`."""
    reading = Reading([], [], [])
    seen: dict[str, str] = {}
    for where, article, context, row in _rows(path):
        question = _question(row, context, article, where)
        if question.id in seen:
            raise AttarError(f"the id {question.id!r} stands already at {seen[question.id]}", where=where)
        seen[question.id] = where
        wrong = [answer for answer in question.answers if not in_place(answer, context)]
        if strict and (wrong or not (question.answers or question.impossible)):
            what = f"the answer {wrong[0].text!r} is not in the context at {wrong[0].start}" if wrong else "no answer"
            fix = "offsets count Unicode characters from 0" if wrong else "set is_impossible, or take the question out"
            raise AttarError(what, where=question.where, fix=fix)
        reading.misplaced.extend([question.where] * len(wrong))
        right = tuple(answer for answer in question.answers if answer not in wrong)
        if right or question.impossible:
            reading.questions.append(question._replace(answers=right))
        else:
            reading.skipped.append(question.where)
    if not reading.questions:
        raise AttarError("the file holds no question that can be used", where=str(path), fix=reading.remark())
    if len({question.article for question in reading.questions}) == 1:
        contexts = dict.fromkeys(question.context for question in reading.questions)
        numbers = {context: number for number, context in enumerate(contexts, 1)}
        loose = [row._replace(article=f"{row.article} {numbers[row.context]}") for row in reading.questions]
        return reading._replace(questions=loose)
    return reading


def in_place(answer: Answer, context: str) -> bool:
    """Whether the context has the answer, which is not blank, at its offset."""
    start, text = answer.start, answer.text
    return start >= 0 and bool(text.strip()) and context[start : start + len(text)] == text


def hold_out(questions: Sequence[Question], share: float, seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Divide into (train, dev), with about `share` of the questions in dev; both keep their order and hold some.

    Whole articles are moved, and with them all articles that have a context in common.
    """
    names = groups(questions)
    sizes: dict[str, int] = {}
    for name in names:
        sizes[name] = sizes.get(name, 0) + 1
    if len(sizes) < 2:
        where = questions[0].where if questions else ""
        raise AttarError("all questions are of one context", where=where, fix="give more contexts or a dev file")
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    held: set[str] = set()
    count, wanted = 0, share * len(questions)
    for name in order:
        if len(held) < len(order) - 1 and abs(count + sizes[name] - wanted) < abs(count - wanted):
            held.add(name)
            count += sizes[name]
    held = held or {min(order, key=sizes.__getitem__)}
    train = [row for row, name in zip(questions, names, strict=True) if name not in held]
    return train, [row for row, name in zip(questions, names, strict=True) if name in held]


def halves(questions: Sequence[Question], seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Divide the articles so that each half has about as many questions."""
    return hold_out(questions, 0.5, seed)


def groups(questions: Sequence[Question]) -> list[str]:
    """The article of each question; articles that have a context in common are one (union-find)."""
    parent = {row.article: row.article for row in questions}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first: dict[str, str] = {}
    for row in questions:
        parent[root(row.article)] = root(first.setdefault(row.context, row.article))
    return [root(row.article) for row in questions]


def _rows(path: Path) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Place, article, context and raw question of every question of a file."""
    file = read_json(path)
    articles = _list(file, "data", str(path))
    for number, article in enumerate(articles, 1):
        where = f"{path}: article {number}"
        paragraphs = _list(article, "paragraphs", where)
        title = article.get("title")
        name = title if isinstance(title, str) and title.strip() else f"article {number}"
        for place, paragraph in enumerate(paragraphs, 1):
            here = f"{where}, paragraph {place}"
            rows = _list(paragraph, "qas", here)
            context = _words(paragraph, "context", here)
            for row_number, row in enumerate(rows, 1):
                if not isinstance(row, dict):
                    raise AttarError("a question must be a JSON object", where=f"{here}, question {row_number}")
                yield f"{here}, question {row_number}", name, context, row


def _question(row: dict[str, Any], context: str, article: str, where: str) -> Question:
    """One question with its answers, wherever these stand."""
    number = row.get("id")
    name = str(number) if isinstance(number, (str, int)) else ""
    if not name.strip():
        raise AttarError("the question has no id", where=where)
    where = f"{where} (id {name})"
    impossible = row.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise AttarError("is_impossible must be true or false", where=where)
    answers = tuple(_answer(answer, where) for answer in _list(row, "answers", where))
    if impossible and answers:
        raise AttarError("the question is impossible and has answers", where=where)
    return Question(name, _words(row, "question", where), context, answers, impossible, article, where=where)


def _answer(value: Any, where: str) -> Answer:
    text, start = (value.get("text"), value.get("answer_start")) if isinstance(value, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(start, int) or isinstance(start, bool):
        raise AttarError("an answer needs `text` and a whole number `answer_start`", where=where)
    return Answer(text, start)


def _list(value: Any, name: str, where: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise AttarError(f"no list {name!r}", where=where, fix="the file must be SQuAD JSON: data, paragraphs, qas")
    return found


def _words(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise AttarError(f"no words in {name!r}", where=where)
    return unicode(value, name, where)

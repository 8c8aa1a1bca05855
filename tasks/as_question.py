"""Reading comprehension as the universal task: a classification asked as a question (decaNLP, arXiv 1806.08730).

- The options stand in the context, so the answer of every task is a span and one model with one head answers them all.
- Where the options stand is known by their characters; two options may share words (`good`, `not so good`).
- A predicted span means the option it overlaps most, or the one it spells elsewhere in the text. `option_scores`
  compares the options alone, so that a row always gets a label and the task's own metrics apply.
- Data sets are mixed in proportion to their sizes, a limit on a size and a temperature against the large ones
  (T5, arXiv 1910.10683, section 3.5.2).
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import AttarError, UsageError, nearest
from .spans import Logits, Span
from .squad import Answer, Option, Question
from .squad_metrics import normalize
from .table import Example
from .windows import Window, places

T = TypeVar("T")
PLACES = ("text", "text_pair", "options")


@dataclass(frozen=True)
class Form:
    """How a task is asked; `options` gives each label its words, in the order in which they are listed.

    `question` and `context` may use `{text}` and `{text_pair}`; the context lists the options at `{options}`. Where
    texts are longer than a window, `{options} {text}` keeps the options beside the beginning of the text.
    """

    name: str
    question: str
    options: Mapping[str, str]
    context: str = "{text} Options: {options}."

    def __post_init__(self) -> None:
        listed = [name for _, name in _parse(self.context)].count("options")
        if listed != 1 or "options" in {name for _, name in _parse(self.question)} or "text" not in self.places:
            raise UsageError("{options} must stand once in the context, and {text} somewhere", where=self.name)
        words = [normalize(option) for option in self.options.values()]
        if len(words) < 2 or len(set(words)) < len(words) or not all(words):
            raise UsageError("each of two or more labels needs words of its own", where=f"{self.name}.options")

    @property
    def places(self) -> set[str]:
        """What the question and the context take from an example."""
        return {name for _, name in _parse(self.question) + _parse(self.context) if name}


def ask(example: Example, form: Form, number: int) -> Question:
    """The example as a question whose answer is its label's option; `number` tells it from the others of its data set.

    Raises `AttarError` for a label without an option, or where the form and the example differ in the second text.
    """
    if example.label not in form.options:
        what = f"the label {example.label!r} has no option"
        raise AttarError(what, where=example.where, fix=nearest(example.label, form.options))
    if (example.text_pair is None) == ("text_pair" in form.places):
        what = "the form asks for a second text" if example.text_pair is None else "the form leaves out the second text"
        raise AttarError(what, where=example.where, fix="use {text_pair} for a pair, and only there")
    context, options = _fill(form.context, example, form)
    question, _ = _fill(form.question, example, form)
    answer = Answer(form.options[example.label], next(o.start for o in options if o.label == example.label))
    name = f"{form.name}/{number}"
    return Question(name, question, context, (answer,), False, name, tuple(options), form.name, example.where)


def label_of(question: Question, span: Span) -> str | None:
    """The label that a span means: the option it overlaps most, else the one that has its words, else None."""
    overlaps = [min(span.end, option.end) - max(span.start, option.start) for option in question.options]
    best = max(range(len(overlaps)), key=overlaps.__getitem__)
    if overlaps[best] > 0:
        return question.options[best].label
    words = normalize(span.text)
    spelt = (option.label for option in question.options if normalize(_words(question, option)) == words)
    return next(spelt, None)


def option_scores(
    questions: Sequence[Question], windows: Sequence[Window], logits: Sequence[Logits]
) -> npt.NDArray[np.float32]:
    """Start plus end logit of each option, the best over the windows that hold it; shape (questions, options)."""
    if len({tuple(option.label for option in row.options) for row in questions}) != 1:
        raise AttarError("the rows to be scored together must have the same options")
    scores = np.full((len(questions), len(questions[0].options)), -np.inf, np.float32)
    for window, values in zip(windows, logits, strict=True):
        row = questions[window.row]
        for column, option in enumerate(row.options):
            found = places(window, row.context, option.start, option.end)
            if found:
                score = values[found[0], 0] + values[found[1], 1]
                scores[window.row, column] = max(scores[window.row, column], score)
    lost = np.argwhere(np.isneginf(scores))
    if len(lost):
        row, label = questions[lost[0][0]], questions[lost[0][0]].options[lost[0][1]].label
        what = f"the option of {label!r} is whole in no window"
        raise AttarError(what, where=row.where, fix="raise max_length or shorten the option")
    return scores


def accuracy(questions: Sequence[Question], windows: Sequence[Window], logits: Sequence[Logits]) -> float:
    """Share of the questions whose best option is the right one."""
    chosen = option_scores(questions, windows, logits).argmax(1)
    right = [row.options[column].start == row.answers[0].start for row, column in zip(questions, chosen, strict=True)]
    return float(np.mean(right))


def rates(sizes: Mapping[str, int], limit: int | None = None, temperature: float = 1.0) -> dict[str, float]:
    """The share of each data set in the mixture: min(size, limit)^(1/temperature), normalized."""
    if not sizes or min(sizes.values()) < 1 or temperature <= 0 or (limit is not None and limit < 1):
        raise UsageError("a mixture needs data sets with rows, a positive temperature and limit", where="mixture")
    weights = {name: min(size, limit or size) ** (1 / temperature) for name, size in sizes.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def mix(
    sets: Mapping[str, Sequence[T]], rows: int, seed: int = 0, limit: int | None = None, temperature: float = 1.0
) -> list[T]:
    """`rows` rows of all sets by their `rates`, shuffled; no row comes again before all of its set have come."""
    shares = rates({name: len(set_) for name, set_ in sets.items()}, limit, temperature)
    counts = {name: int(rows * share) for name, share in shares.items()}
    # The largest remainders get the rows that rounding left over.
    rest = sorted(shares, key=lambda name: (counts[name] - rows * shares[name], name))
    for name in rest[: rows - sum(counts.values())]:
        counts[name] += 1
    chooser = random.Random(seed)
    mixed: list[T] = []
    for name, set_ in sets.items():
        rounds, more = divmod(counts[name], len(set_))
        for size in [len(set_)] * rounds + [more]:
            mixed += chooser.sample(list(set_), size)
    chooser.shuffle(mixed)
    return mixed


@cache
def _parse(pattern: str) -> tuple[tuple[str, str | None], ...]:
    """Literal text and the place after it, as `str.format` reads them."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UsageError(f"the pattern {pattern!r} is not readable: {error}") from None
    if any(name is not None and (name not in PLACES or form or change) for _, name, form, change in parts):
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        raise UsageError(
            f"the pattern {pattern!r} may hold {known}, nothing else in braces", fix="write {{ for a brace"
        )
    return tuple((literal, name) for literal, name, _, _ in parts)


def _words(question: Question, option: Option) -> str:
    return question.context[option.start : option.end]


def _fill(pattern: str, example: Example, form: Form) -> tuple[str, list[Option]]:
    """The pattern with its texts, and where each option stands in it."""
    text = ""
    options: list[Option] = []
    for literal, name in _parse(pattern):
        text += literal
        if name == "options":
            for number, (label, words) in enumerate(form.options.items()):
                text += ", " if number else ""
                options.append(Option(label, len(text), len(text) + len(words)))
                text += words
        elif name:
            text += (example.text if name == "text" else example.text_pair) or ""
    return text, options

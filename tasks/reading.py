"""Reading comprehension: questions about a text, answered with words of it, and any classification asked that way.

- A row of training is a window of a question's context; a score is of questions, over all of their windows.
- The primary metric is `f1`; `best_f1`, with the threshold tuned on the split that is scored (as the official script
  does), where training questions may be impossible; `score`, the mean over the data sets, where classifications are
  asked as questions beside them. A data set that is asked has the accuracy of its options, `NAME_accuracy`.
- A threshold is no score: `tune` gives that of dev, which the answers on a device obey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import recipe
from ..errors import AttarError
from . import as_question, spans, squad, squad_metrics, table, windows
from .encoding import Encoder, Features, collate
from .squad import Question
from .task import Answers, Batch, Encoded, Head, Indices, Scores
from .windows import Window


@dataclass
class EncodedWindows(Encoded):
    """Questions, and the windows of each in order; a row is a window."""

    questions: list[Question]
    windows: list[Window]
    features: list[Features] = field(init=False)

    def __post_init__(self) -> None:
        self.features = [window.features for window in self.windows]

    @property
    def lengths(self) -> list[int]:
        """Pieces of each window."""
        return [len(row.input_ids) for row in self.features]

    @property
    def count(self) -> int:
        """Questions."""
        return len(self.questions)

    def where(self, row: int) -> str:
        """Where the question of a window was read."""
        return self.questions[self.windows[row].row].where

    def batch(self, rows: Indices, pad_id: int) -> Batch:
        """These windows, padded to the longest of them; the targets are the pieces of start and end, (rows, 2)."""
        taken = [self.windows[row] for row in rows]
        targets = np.array([(window.start, window.end) for window in taken], np.int64).reshape(-1, 2)
        return Batch(collate([window.features for window in taken], pad_id), targets, np.arange(len(rows)))

    @property
    def owners(self) -> Indices:
        """The question of each window."""
        return np.array([window.row for window in self.windows], np.int64)

    def of(self, numbers: Sequence[int]) -> tuple[EncodedWindows, Indices]:
        """These questions with all of their windows, and the numbers of those."""
        places = {number: place for place, number in enumerate(numbers)}
        sequences = np.array([n for n, window in enumerate(self.windows) if window.row in places], np.int64)
        moved = [self.windows[n]._replace(row=places[self.windows[n].row]) for n in sequences]
        return EncodedWindows([self.questions[number] for number in places], moved), sequences


class ReadingTask:
    """What is learnt: where the answer begins and ends.

    `labels` are further ones of the training rows, as the function `labels` names them.
    """

    head: Head = "span"
    kind = "question_answering"
    pair = True
    outputs = 2

    def __init__(self, spec: recipe.Task, train: Sequence[Question], labels: Sequence[str] = ()) -> None:
        self.spec = spec
        self.labels = ["start", "end"]
        known = {*answers_of(train), *labels}
        self.metric: str = spec.metric or ("score" if "option" in known else "best_f1" if "nothing" in known else "f1")
        self.check(train)

    def follow(self, names: Sequence[str]) -> None:
        """Start and end have their places in the head of every model, whatever it calls them."""

    def check(self, rows: Sequence[Question]) -> None:
        """Raise `AttarError` where no row has the metric, or rows of one name have different options."""
        options: dict[str, list[str]] = {}
        for row in rows:
            labels = [option.label for option in row.options]
            if options.setdefault(row.source, labels) != labels:
                fix = "give the other file another name"
                raise AttarError(f"rows of {row.source!r} have different options", where=row.where, fix=fix)
        if rows and self.metric != "score" and "" not in options:
            what = f"no question to score by {self.metric}: all rows are classifications"
            raise AttarError(what, where=rows[0].where, fix="set task.metric: score")

    def encode(self, rows: Sequence[Question], encoder: Encoder) -> EncodedWindows:
        """The questions in windows of their contexts."""
        found = windows.encode(rows, encoder, self.spec.stride, self.spec.max_question)
        return EncodedWindows(list(rows), found)

    def score(self, answers: Answers, encoded: EncodedWindows) -> Scores:
        """All metrics from answers of shape (pieces, 2) for each window."""
        sources = dict.fromkeys(row.source for row in encoded.questions)
        found: Scores = {}
        main = []
        for source in sources:
            part, theirs = _of(source, answers, encoded)
            if source:
                found[f"{source}_accuracy"] = as_question.accuracy(part.questions, part.windows, theirs)
                main.append(found[f"{source}_accuracy"])
            else:
                scores = self._read(theirs, part)
                found |= {name: value for name, value in scores.items() if not name.endswith("_thresh")}
                main.append(found.get("best_f1", found["f1"]))
        return found | ({"score": float(np.mean(main))} if self.metric == "score" else {})

    def tune(self, answers: Answers, encoded: EncodedWindows) -> Scores:
        """The threshold on null score less best span's above which there is no answer; none where all have one."""
        part, theirs = _of("", answers, encoded)
        if "nothing" not in answers_of(part.questions):
            return {}
        threshold = self._read(theirs, part)["best_f1_thresh"]
        # A context without a piece has an infinite null score, which no JSON can hold.
        return {"no_answer_threshold": min(threshold, float(np.finfo(np.float32).max))}

    def _read(self, answers: Answers, encoded: EncodedWindows) -> Scores:
        """The official scores of questions that are answered with any words."""
        questions, spec = encoded.questions, self.spec
        found = spans.predict(questions, encoded.windows, answers, spec.n_best, spec.max_answer)
        tuned = self.metric.startswith("best_") or "nothing" in answers_of(questions)
        no_answer = [row.no_answer for row in found] if tuned else None
        return squad_metrics.score(questions, [row.text() for row in found], no_answer)


def answers_of(rows: Sequence[Question]) -> list[str]:
    """What these rows are answered with, sorted: `nothing`, an `option` or `words`."""
    return sorted({"option" if row.options else "words" if row.answers else "nothing" for row in rows})


def read(split: recipe.Split, task: recipe.Task) -> tuple[list[Question], str]:
    """The questions of a file, and what was left out: SQuAD JSON or a classification that is asked, or a half of it."""
    if split.as_question:
        return _part(split, _asked(split, split.as_question, task)), ""
    path = recipe.expand(split.path)
    if split.format is None and path.suffix.lower() != ".json":
        fix = "set `format: squad`, or `as_question` for a file of texts and labels"
        raise AttarError("the file's ending is not .json", where=str(path), fix=fix)
    found = squad.read(path)
    return _part(split, found.questions), found.remark()


def _part(split: recipe.Split, questions: list[Question]) -> list[Question]:
    """The half that is asked for; it does not hang on the seed: what one recipe trains on, no other scores on."""
    if split.part is None:
        return questions
    first, second = squad.halves(questions)
    return first if split.part == "first half" else second


def mix(rows: Sequence[Question], plan: recipe.Mixture, seed: int) -> list[Question]:
    """Rows of the questions and of each classification, by the rates of the plan."""
    sets: dict[str, list[Question]] = {}
    for row in rows:
        sets.setdefault(row.source, []).append(row)
    return as_question.mix(sets, plan.rows or len(rows), seed, plan.limit, plan.temperature)


def _asked(split: recipe.Split, spec: recipe.AsQuestion, task: recipe.Task) -> list[Question]:
    form = as_question.Form(spec.name, spec.question, spec.options, spec.context)
    columns = task.model_copy(update={"text": spec.text, "text_pair": spec.text_pair, "label": spec.label})
    examples = table.read(split, columns)
    return [as_question.ask(example, form, number) for number, example in enumerate(examples, 1)]


def _of(source: str, answers: Answers, encoded: EncodedWindows) -> tuple[EncodedWindows, Answers]:
    """The questions of one data set, and the answers to their windows."""
    part, sequences = encoded.of([number for number, row in enumerate(encoded.questions) if row.source == source])
    return part, [answers[n] for n in sequences]

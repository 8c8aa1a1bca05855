"""Exact match and F1 as the official SQuAD script counts them (evaluate-v2.0.py; arXiv 1606.05250 section 6.1).

- Answers are compared in lower case, without ASCII punctuation, articles (a, an, the) and surplus blanks; of several
  gold answers the best one counts.
- A question without an answer is right where the answer is the empty text, and else wrong (arXiv 1806.03822).
- Fractions, not percentages, as all metrics here; the names are those of the script.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from .squad import Question

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Lower case, then no punctuation, no articles, single blanks."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 where the normalized texts are the same."""
    return float(normalize(answer) == normalize(gold))


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall over the words; where one text has none, 1 if neither has."""
    words, right = normalize(answer).split(), normalize(gold).split()
    if not words or not right:
        return float(words == right)
    common = (Counter(words) & Counter(right)).total()
    return 2 * common / (len(words) + len(right))


def raw_scores(questions: Sequence[Question], texts: Sequence[str]) -> tuple[Floats, Floats]:
    """Exact match and F1 of each answer, shape (questions,): the best over its gold answers."""
    if len(questions) != len(texts) or not texts:
        raise AttarError(f"{len(texts)} answers to {len(questions)} questions")
    rows = []
    for question, text in zip(questions, texts, strict=True):
        # Gold answers that normalize to nothing do not count; where none is left, the empty text is right.
        golds = [answer.text for answer in question.answers if normalize(answer.text)] or [""]
        rows.append((max(exact_match(text, gold) for gold in golds), max(f1(text, gold) for gold in golds)))
    exact, overlap = np.array(rows, np.float64).T
    return exact, overlap


def best_threshold(scores: Floats, answered: Flags, no_answer: Floats, impossible: Flags) -> tuple[float, float]:
    """The best mean score that a threshold on `no_answer` can give, and the least such threshold; all of shape (n,).

    The official `find_best_thresh`: a row above the threshold is taken as having no answer, so its score is 1 where
    that is true. Other than there, rows of the same `no_answer` cannot be parted, and the threshold that answers
    nothing lies below all of them (there it is 0, for probabilities).
    """
    order = np.argsort(no_answer, kind="stable")
    kept = np.where(impossible, 1.0 - answered, scores)  # an impossible row scores 1 where the text is empty anyway
    gains: Floats = np.cumsum((kept - impossible)[order])
    values = no_answer[order]
    ends = np.append(values[1:] != values[:-1], True)  # the last row of each value
    totals = np.concatenate([[0.0], gains[ends]]) + impossible.sum()
    thresholds = np.concatenate([[values[0] - 1.0], values[ends]])
    best = int(totals.argmax())
    return float(totals[best] / len(scores)), float(thresholds[best])


def score(
    questions: Sequence[Question],
    texts: Sequence[str],
    no_answer: Sequence[float] | None = None,
    threshold: float = 0.0,
) -> dict[str, float]:
    """`exact` and `f1`; where some question is impossible, also `HasAns_*` and `NoAns_*`.

    With `no_answer` (null score less best span's) an answer above the `threshold` counts as empty, and `best_*` and
    `best_*_thresh` say what the best threshold would give.
    """
    exact, overlap = raw_scores(questions, texts)
    impossible = np.array([not question.answers for question in questions], np.bool_)
    kinds = {"exact": exact, "f1": overlap}
    found: dict[str, float] = {}
    if no_answer is not None:
        values = np.array(no_answer, np.float64)
        answered = np.array([bool(text) for text in texts], np.bool_)
        for name, rows in kinds.items():
            best, where = best_threshold(rows, answered, values, impossible)
            found |= {f"best_{name}": best, f"best_{name}_thresh": where}
        kinds = {name: np.where(values > threshold, impossible, rows) for name, rows in kinds.items()}
    groups = {"": np.ones(len(texts), np.bool_)}
    if impossible.any():
        groups |= {"HasAns_": ~impossible, "NoAns_": impossible}
    means = {
        f"{group}{name}": float(rows[which].mean())
        for group, which in groups.items()
        for name, rows in kinds.items()
        if which.any()
    }
    return means | found

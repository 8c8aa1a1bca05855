"""How slots and intents are scored: spans as conlleval counts them, and whole sentences.

- A span is right where its type and both its ends are (Tjong Kim Sang and Buchholz, cs/0009008); half a span is wrong.
- Fractions, not percentages. As in conlleval, precision without an answer, recall without a truth and their F1 are 0.
- `joint_accuracy` asks for the intent and every slot of a sentence: what an assistant needs to act
  (the sentence accuracy of Goo et al., N18-2118).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..errors import AttarError
from .bio import spans


class Labelled(Protocol):
    """What is scored: an answer, or the sentence itself."""

    @property
    def labels(self) -> list[str]:
        """One label a word."""

    @property
    def intent(self) -> str | None:
        """The intent, where the task has them."""


class Counts(NamedTuple):
    """Spans that are right, that were answered, and that there are."""

    right: int
    answered: int
    truth: int

    @property
    def precision(self) -> float:
        """Share of the answered spans that are right."""
        return self.right / self.answered if self.answered else 0.0

    @property
    def recall(self) -> float:
        """Share of the true spans that were found."""
        return self.right / self.truth if self.truth else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / (self.answered + self.truth) if self.right else 0.0


def per_type(answers: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> dict[str, Counts]:
    """The counts of every type that is answered or true, sorted; both are labels by sentence and word."""
    right: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    for row, (labels, true_labels) in enumerate(zip(answers, truth, strict=True)):
        if len(labels) != len(true_labels):
            raise AttarError(f"{len(labels)} answers for {len(true_labels)} words", where=f"sentence {row + 1}")
        found, wanted = spans(labels), spans(true_labels)
        answered.update(span.kind for span in found)
        expected.update(span.kind for span in wanted)
        right.update(span.kind for span in set(found) & set(wanted))
    return {kind: Counts(right[kind], answered[kind], expected[kind]) for kind in sorted(answered | expected)}


def micro(types: dict[str, Counts]) -> Counts:
    """All types together: every span weighs the same."""
    columns = zip(*types.values(), strict=True) if types else ((), (), ())
    return Counts(*(sum(column) for column in columns))


def score(answers: Sequence[Labelled], truth: Sequence[Labelled]) -> dict[str, float]:
    """All metrics of the task, for one answer a sentence; those of the intent where the truth has intents.

    `slot_precision`, `slot_recall` and `slot_f1` are micro over spans; `word_accuracy` is over words;
    `sentence_accuracy` asks for all slots of a sentence, `joint_accuracy` for its intent too.
    """
    total = micro(per_type([answer.labels for answer in answers], [row.labels for row in truth]))
    pairs = list(zip(answers, truth, strict=True))
    words = [a == b for answer, row in pairs for a, b in zip(answer.labels, row.labels, strict=True)]
    whole = [spans(answer.labels) == spans(row.labels) for answer, row in pairs]
    scores = {
        "slot_precision": total.precision,
        "slot_recall": total.recall,
        "slot_f1": total.f1,
        "word_accuracy": _share(words),
        "sentence_accuracy": _share(whole),
    }
    if any(row.intent is not None for row in truth):
        intents = [answer.intent == row.intent for answer, row in pairs]
        scores["intent_accuracy"] = _share(intents)
        scores["joint_accuracy"] = _share([a and b for a, b in zip(intents, whole, strict=True)])
    return scores


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 0.0

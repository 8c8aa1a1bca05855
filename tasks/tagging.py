"""Token classification, jointly with the intent: labels, pieces, targets and answers.

- One head answers both: its labels are the slots' and, behind them, the intents' under the prefix `intent:`. The intent
  is read at [CLS], the slots at the first piece of each word (JointBERT, arXiv 1902.10909, eq. 1 and 2). So a stock
  token-classification model holds the task, its configuration names every label, and its answer is one tensor.
- Each position is asked for its own labels alone: a softmax over the intents at [CLS], over the slots at a word.
- Words get the pieces that the whole text, words joined by spaces, would get: the device may encode either.
- A word that was cut off, or has no piece, is answered `O`. A label that no training row has cannot be answered, and
  counts as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import AttarError, nearest
from .bio import LABEL, OUTSIDE, Sentence
from .encoding import Encoder, Features
from .task import Indices

IGNORED = -100  # the target that no loss counts, as torch and transformers write it
INTENT = "intent:"


class Aligned(NamedTuple):
    """An encoded sentence and the position of each word's first piece, -1 where it has none."""

    features: Features
    firsts: list[int]


class Answer(NamedTuple):
    """What a model says of a sentence."""

    labels: list[str]
    intent: str | None


@dataclass(frozen=True)
class Labels:
    """The labels of the head: `O` and the other slot labels, then the intents (none where there are no intents)."""

    slots: list[str]
    intents: list[str]

    @classmethod
    def of(cls, train: Sequence[Sentence], names: Sequence[str] = ()) -> Labels:
        """The labels of the training rows, sorted; either every row has an intent or none.

        `names` are further outputs, named as in `names` below.
        """
        without = [row for row in train if row.intent is None]
        if without and len(without) < len(train):
            raise AttarError("this row has no intent, and others have one", where=without[0].where)
        slots = {label for row in train for label in row.labels} - {OUTSIDE}
        slots |= {name for name in names if not name.startswith(INTENT)} - {OUTSIDE}
        if not slots:
            raise AttarError("no word carries a label but O", where=train[0].where)
        intents = {row.intent for row in train if row.intent is not None}
        intents |= {name.removeprefix(INTENT) for name in names if name.startswith(INTENT)}
        return cls([OUTSIDE, *sorted(slots)], sorted(intents))

    @classmethod
    def parse(cls, names: Sequence[str], where: str = "") -> Labels:
        """The labels of a saved model, from the names of its outputs."""
        slots = [name for name in names if not name.startswith(INTENT)]
        intents = [name.removeprefix(INTENT) for name in names[len(slots) :]]
        scheme = OUTSIDE in slots and all(LABEL.fullmatch(name) for name in slots)
        if not scheme or cls(slots, intents).names != list(names):
            what = f"the outputs are not BIO labels and then intents: {', '.join(names[:5])}"
            raise AttarError(what, where=where, fix="set teacher.finetune: true")
        return cls(slots, intents)

    @property
    def names(self) -> list[str]:
        """The name of each output."""
        return self.slots + [INTENT + name for name in self.intents]

    @property
    def metric(self) -> str:
        """The primary metric: intent and slots together where there are both."""
        return "joint_accuracy" if self.intents else "slot_f1"

    def unseen(self, rows: Sequence[Sentence]) -> list[str]:
        """Labels and intents of other rows that the head cannot answer."""
        slots = {label for row in rows for label in row.labels} - set(self.slots)
        intents = {row.intent for row in rows if row.intent is not None} - set(self.intents)
        return sorted(slots) + (sorted(INTENT + name for name in intents) if self.intents else [])

    def targets(self, rows: Sequence[Sentence], aligned: Sequence[Aligned], width: int) -> npt.NDArray[np.int64]:
        """Indices of outputs, shape (rows, width): the intent at [CLS], a label at first pieces, else `IGNORED`."""
        targets = np.full((len(rows), width), IGNORED, np.int64)
        for number, (row, (_, firsts)) in enumerate(zip(rows, aligned, strict=True)):
            for place, label in zip(firsts, row.labels, strict=True):
                if place >= 0:
                    targets[number, place] = _index(self.slots, label, row.where)
            if self.intents:
                if 0 in firsts:
                    raise AttarError("the tokenizer puts no [CLS] before the words, where the intent is read")
                targets[number, 0] = len(self.slots) + _index(self.intents, row.intent or "", row.where)
        return targets

    def decode(self, logits: npt.NDArray[np.floating[Any]], firsts: Sequence[int]) -> Answer:
        """The best label of each word, and the best intent, from logits of shape (pieces, outputs)."""
        slots = len(self.slots)
        best = logits[:, :slots].argmax(1)
        labels = [self.slots[best[place]] if place >= 0 else OUTSIDE for place in firsts]
        return Answer(labels, self.intents[logits[0, slots:].argmax()] if self.intents else None)


def align(rows: Sequence[Sentence], encoder: Encoder) -> list[Aligned]:
    """Encode the words of each sentence and find the first piece of each."""
    # A byte-level vocabulary writes the space before a word into its piece; others drop it.
    inputs = [[word if place == 0 else f" {word}" for place, word in enumerate(row.words)] for row in rows]
    try:
        encodings = encoder.tokenizer.encode_batch(inputs, is_pretokenized=True)
    except TypeError:
        raise AttarError("a word holds a character that is not Unicode (a lone surrogate)") from None
    aligned = []
    for row, encoding in zip(rows, encodings, strict=True):
        firsts = [-1] * len(row.words)
        for place, word in enumerate(encoding.word_ids):
            if word is not None and firsts[word] < 0:
                firsts[word] = place
        features = Features(encoding.ids, encoding.type_ids, bool(encoding.overflowing))
        aligned.append(Aligned(features, firsts))
    return aligned


def counterparts(ours: Aligned, theirs: Aligned) -> Indices:
    """For each of our pieces theirs of the same word: as far into it, at the most its last; (our pieces,).

    Our vocabulary is a part of theirs with all characters, so a word of ours is one of theirs, in as many pieces or
    more. What stands before the words is for itself; what is behind them, or of a word that theirs lacks, is the end.
    """
    last, known, own = len(theirs.features.input_ids) - 1, _words(theirs), _words(ours)
    found = np.full(len(ours.features.input_ids), last)
    before = min((start for start, _ in own.values()), default=0)
    found[:before] = np.arange(before)
    for word in own.keys() & known.keys():
        (start, end), (first, behind) = own[word], known[word]
        found[start:end] = np.minimum(first + np.arange(end - start), max(first, behind - 1))
    return found


def _words(row: Aligned) -> dict[int, tuple[int, int]]:
    """Where the pieces of each word begin and end; of those that have some."""
    begun = [(word, first) for word, first in enumerate(row.firsts) if first >= 0]
    ends = [*(first for _, first in begun[1:]), len(row.features.input_ids) - 1]
    return {word: (first, end) for (word, first), end in zip(begun, ends, strict=True)}


def _index(names: list[str], name: str, where: str) -> int:
    if name not in names:
        raise AttarError(f"the label {name!r} is not one of the model's", where=where, fix=nearest(name, names))
    return names.index(name)

"""The slots of a text with their characters, and its intent.

- The text is cut into words as the training rows are (`bio.cut`); each word is asked at its first piece.
- A slot is the span that conlleval counts. Where words are cut at the blanks, the signs at the ends of a slot are not
  counted in: `to paris?` has the slot `paris`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import AttarError, UsageError
from ...tasks import bio, tagging
from ...tasks.bio import Sentence
from ...tasks.encoding import Encoder, Features
from ...tasks.tagging import Labels
from ...tasks.task import Answers
from ...tasks.tokens import TokenTask
from ..manifest import TaskCard, TokensCard
from .forms import Answer, Asked, ranked

SIGNS = '.,;:!?"()[]'  # what a writer puts behind a word and means the sentence


class Slot(NamedTuple):
    """Characters `start` up to, not including, `end` of the text."""

    slot: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class SlotsAnswer(Answer):
    """The slots in order, the label of each word, and the intent."""

    slots: tuple[Slot, ...] = ()
    labels: tuple[str, ...] = ()  # of each word
    intent: str | None = None  # None where the model answers no intents
    intents: tuple[tuple[str, float], ...] = ()  # by falling probability, which sum to 1

    @property
    def said(self) -> tuple[str | None, tuple[str, ...]]:
        """The intent and the label of each word."""
        return self.intent, self.labels

    def found(self) -> dict[str, Any]:
        """The intent with the probabilities, where there are intents, and the slots."""
        intents = {"intent": self.intent, "intents": dict(self.intents)} if self.intents else {}
        return intents | {"slots": [slot._asdict() for slot in self.slots]}


@dataclass(frozen=True)
class _Posed:
    card: TokensCard
    words: Asked
    places: list[tuple[int, int]]
    aligned: tagging.Aligned

    @property
    def features(self) -> list[Features]:
        return [self.aligned.features]

    def answer(self, logits: Answers) -> SlotsAnswer:
        (values,) = logits
        slots, intents = self.card.slots, self.card.intents
        labels, intent = Labels(slots, intents).decode(values, self.aligned.firsts)
        found = tuple(self._slot(span) for span in bio.spans(labels))
        shares = ranked(intents, values[0, len(slots) :]) if intents else ()
        return SlotsAnswer(self.words, self.aligned.features.truncated, found, tuple(labels), intent, shares)

    def _slot(self, span: bio.Span) -> Slot:
        """The characters of the span's words, without the signs of the sentence around them."""
        start, end = self.places[span.start][0], self.places[span.end - 1][1]
        whole = self.words.text[start:end]
        text = (whole.strip(SIGNS) or whole) if self.card.cut == "blanks" else whole
        start += whole.index(text)
        return Slot(span.kind, start, start + len(text), text)


class TokensForm:
    """Texts whose words get labels."""

    def __init__(self, card: TaskCard) -> None:
        assert card.tokens is not None  # the card's own check
        self.card = card.tokens

    def pose(self, asked: Asked, encoder: Encoder) -> _Posed:
        """The words of the text, and the first piece of each."""
        if asked.candidates or asked.ask or asked.text_pair is not None:
            raise UsageError("this model reads single texts")
        places = bio.cut(asked.text, self.card.cut)
        words = [asked.text[start:end] for start, end in places]
        (aligned,) = tagging.align([Sentence(words, [], None, "")], encoder)
        if self.card.intents and 0 in aligned.firsts:
            raise AttarError("the tokenizer puts no [CLS] before the words, where the intent is read")
        return _Posed(self.card, asked, places, aligned)

    @staticmethod
    def asked(row: Sentence) -> Asked:
        """The words of a sentence with blanks between."""
        return Asked(" ".join(row.words))

    @staticmethod
    def details(task: TokenTask, tuned: Mapping[str, float]) -> dict[str, Any]:  # noqa: ARG004 - one interface
        """The labels by their parts, and where words are cut."""
        return {"tokens": TokensCard(slots=task.known.slots, intents=task.known.intents, cut=task.cut)}

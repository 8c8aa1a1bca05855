"""The contract of a form: what is asked, how it is posed to a model, and what an answer holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...tasks.encoding import Encoder, Features
from ...tasks.task import Answers
from ..manifest import TaskCard


class Asked(NamedTuple):
    """The words of one row: a text, a pair, a question and its context (the pair), or a question and its candidates.

    `ask` names a classification that a question-answering model was taught; the texts are then that one's.
    """

    text: str
    text_pair: str | None = None
    candidates: tuple[str, ...] = ()
    ask: str = ""

    def document(self) -> dict[str, Any]:
        """As plain JSON values, only with what it has."""
        found: dict[str, Any] = {"text": self.text}
        found |= {} if self.text_pair is None else {"text_pair": self.text_pair}
        found |= {"candidates": list(self.candidates)} if self.candidates else {}
        return found | ({"ask": self.ask} if self.ask else {})


@dataclass(frozen=True)
class Answer(ABC):
    """What the model says."""

    asked: Asked
    truncated: bool  # something was longer than the model reads

    @property
    @abstractmethod
    def said(self) -> Any:
        """The answer alone: equal for two models that agree; a float for a regression."""

    @abstractmethod
    def found(self) -> dict[str, Any]:
        """The answer and what it rests on, as plain JSON values by name."""

    def document(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return self.asked.document() | self.found() | {"truncated": self.truncated}


class Posed(Protocol):
    """One row as the model reads it."""

    @property
    def features(self) -> list[Features]:
        """Its sequences, at least one."""

    def answer(self, logits: Answers) -> Answer:
        """The answer, from the logits of each sequence without padding."""


class Form(Protocol):
    """How the words of a kind of task become sequences, and logits an answer."""

    def __init__(self, card: TaskCard) -> None: ...

    def pose(self, asked: Asked, encoder: Encoder) -> Posed:
        """Encode the words; `UsageError` where they are not what the model reads."""

    @staticmethod
    def asked(row: Any) -> Asked:
        """The words of a row of the task's data, as a device would be given them."""

    @staticmethod
    def details(task: Any, tuned: Mapping[str, float]) -> dict[str, Any]:
        """What the card of such a task holds beside what every card holds."""


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of shape (outputs,), computed in float64 and without overflow."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    shares: npt.NDArray[np.float64] = powers / powers.sum()
    return shares


def ranked(names: list[str], logits: npt.NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
    """Each name with its probability, the most probable first."""
    shares = softmax(logits)
    return tuple((names[number], float(shares[number])) for number in np.argsort(-shares, kind="stable"))

"""`manifest.json`: what a bundle holds and what was measured of it.

- The manifest is the only thing a device reads first; every other file is named in it with its sha256.
- Inputs are given in order with name and type; all have shape (batch, length), and `.tflite` files a fixed length.
- The task's card holds all that turns words into sequences and logits into an answer (`answers`), so that nothing but
  the bundle is needed on a device. What the card says must fit together; a foreign one is refused in one line.
- Format 2 has tasks that need several sequences for an answer; bundles of format 1 are read as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import AttarError
from ..files import read_document
from ..tasks.bio import Cut
from ..tasks.encoding import InputName
from ..tasks.tagging import Labels
from ..tasks.task import Head
from .processors import Processor

FORMAT = "attar-bundle/2"
NAME = "manifest.json"
HEADS: dict[str, Head] = {
    "classification": "sequence",
    "regression": "sequence",
    "token_classification": "tokens",
    "question_answering": "span",
    "multiple_choice": "choice",
    "embedding": "embedding",
    "language_modelling": "lm",
}
Positive = Annotated[int, Field(gt=0)]


class Entry(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(extra="ignore")


class TokensCard(Entry):
    """The logits of a piece: those of the slots, then those of the intents; see `tasks.tagging`."""

    slots: list[str]  # `O`, `B-TYPE`, `I-TYPE`, read at the first piece of each word
    intents: list[str] = []  # read at the first piece of all, [CLS]; empty where the model answers none
    cut: Cut = "signs"  # where a text is cut into words


class AskCard(Entry):
    """A classification that the model answers as a question; see `tasks.as_question`."""

    question: str  # may use `{text}` and `{text_pair}`
    options: dict[str, str]  # the words of each label, in the order in which the context lists them
    context: str  # lists them at `{options}`; may use the texts


class SpanCard(Entry):
    """How a question meets its context, and how an answer is chosen; see `tasks.windows` and `tasks.spans`."""

    stride: int = Field(ge=0)  # context pieces that neighbouring windows share, at most half of the room
    max_question: Positive  # pieces a question is cut to, and at most half of a window
    max_answer: Positive  # the most pieces of an answer
    n_best: Positive  # answers that are kept for each question
    asks: dict[str, AskCard] = {}  # by the data set's name
    no_answer_threshold: float | None = None  # null score less best span's score above it: no answer; None: never


class LanguageCard(Entry):
    """A language model's cache and its end; see `continuation`."""

    layers: Positive
    heads: Positive
    width: Positive  # of a head's keys and values
    positions: Positive  # pieces of the prompt and of what is generated, together
    end_id: int | None = None  # the end-of-text piece: it begins a text where there is no prompt, and ends every text

    @property
    def past(self) -> list[str]:
        """The inputs that hold the keys and values of the pieces before, each (1, heads, past, width), float32."""
        return [f"past_key_values.{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]

    @property
    def present(self) -> list[str]:
        """The outputs that are the next call's past, in that order."""
        return [f"present.{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]


class TaskCard(Entry):
    """What the model answers."""

    kind: Literal[
        "classification", "regression", "token_classification", "question_answering", "multiple_choice",
        "embedding", "language_modelling",
    ]  # fmt: skip
    head: Head = "sequence"
    labels: list[str] = []  # by index of the logit; empty for a regression, a choice and an embedding
    pair: bool = False
    both_orders: bool = False  # a pair is read in both orders, and the logits are added
    metric: str = "accuracy"
    width: Positive | None = None  # numbers of an embedding's vector
    tokens: TokensCard | None = None
    span: SpanCard | None = None
    language: LanguageCard | None = None

    @model_validator(mode="after")
    def _whole(self) -> TaskCard:
        if self.head != HEADS[self.kind]:
            raise ValueError(f"the head of {self.kind} is {HEADS[self.kind]!r}, not {self.head!r}")
        if (self.head == "tokens") != (self.tokens is not None) or (self.head == "span") != (self.span is not None):
            raise ValueError(f"`tokens` and `span` do not belong to the head {self.head!r} as they stand")
        if (self.head == "embedding") != (self.width is not None):
            raise ValueError(f"`width` does not belong to the head {self.head!r} as it stands")
        if (self.head == "lm") != (self.language is not None):
            raise ValueError(f"`language` does not belong to the head {self.head!r} as it stands")
        if self.tokens and Labels(self.tokens.slots, self.tokens.intents).names != self.labels:
            raise ValueError("`labels` are not the slots and then the intents")
        if self.both_orders and not (self.pair and self.head == "sequence"):
            raise ValueError("`both_orders` needs a pair")
        return self

    def shape(self, pieces: int) -> tuple[int, ...]:
        """Of a sequence's logits."""
        outputs = 2 if self.head == "span" else self.width or len(self.labels) or 1
        return (pieces, outputs) if self.head in ("tokens", "span") else (outputs,)


class TokenizerCard(Entry):
    """How texts become pieces: `tokenizer.json` read by the `tokenizers` library, cut to `max_length`."""

    file: str = "tokenizer.json"
    max_length: int
    pad_id: int


class Input(Entry):
    """One input of every artefact."""

    name: InputName
    dtype: Literal["int64", "int32"]


class Artefact(Entry):
    """One file that a runtime loads."""

    file: str
    runtime: Literal["onnxruntime", "litert", "tflite-runtime"]
    precision: Literal["fp32", "fp16", "int8", "int8-static", "int4", "mixed"]
    processors: list[Processor] = []  # the kinds it is meant for, where another file is for others; empty: all
    length: int | None = None  # fixed length of a .tflite file; None: any length
    inputs: list[Input]
    scores: dict[str, dict[str, float]] = {}
    golden_error: float
    golden_tolerance: float


class FileCard(Entry):
    """Size and digest of one file."""

    bytes: int
    sha256: str


class Manifest(Entry):
    """A whole bundle."""

    format: Literal["attar-bundle/1", "attar-bundle/2"] = FORMAT  # type: ignore[assignment]
    name: str
    attar: str  # version that wrote it
    task: TaskCard
    tokenizer: TokenizerCard
    golden: str = "golden.jsonl"  # see `golden`
    artefacts: list[Artefact]
    default: str  # file of the artefact that `attar predict` runs
    files: dict[str, FileCard]  # every file but the manifest itself
    figures: dict[str, Any] = {}  # scores and sizes of teacher and student
    provenance: dict[str, Any] = {}  # teacher, its licence as found, data digests, versions, recipe


def load(bundle: Path) -> Manifest:
    """Read the manifest of a bundle folder."""
    file = bundle / NAME
    if not bundle.is_dir():
        raise AttarError("no such bundle folder", where=str(bundle))
    if not file.is_file():
        raise AttarError(f"this folder has no {NAME}", where=str(bundle), fix="name a bundle, such as runs/NAME/bundle")
    return read_document(Manifest, file, "bundle manifest")

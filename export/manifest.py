"""`manifest.json`: what a bundle holds and what was measured of it.

- The manifest is the only thing a device reads first; every other file is named in it with its sha256.
- Inputs are given in order with name and type; all have shape (batch, length), and `.tflite` files a fixed length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import AttarError
from ..files import read_json

FORMAT = "attar-bundle/1"
NAME = "manifest.json"


class Entry(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(extra="ignore")


class TaskCard(Entry):
    """What the model answers."""

    kind: Literal["classification", "regression"]
    labels: list[str] = []  # by index of the logit; empty for regression
    pair: bool = False
    metric: str = "accuracy"


class TokenizerCard(Entry):
    """How texts become pieces: `tokenizer.json` read by the `tokenizers` library, cut to `max_length`."""

    file: str = "tokenizer.json"
    max_length: int
    pad_id: int


class Input(Entry):
    """One input of every artefact."""

    name: Literal["input_ids", "attention_mask", "token_type_ids"]
    dtype: Literal["int64", "int32"]


class Artefact(Entry):
    """One file that a runtime loads."""

    file: str
    runtime: Literal["onnxruntime", "litert", "tflite-runtime"]
    precision: Literal["fp32", "int8"]
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

    format: Literal["attar-bundle/1"] = FORMAT  # type: ignore[assignment]
    name: str
    attar: str  # version that wrote it
    task: TaskCard
    tokenizer: TokenizerCard
    golden: str = "golden.jsonl"  # one example a line: text, text_pair, input_ids, token_type_ids, logits
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
    try:
        return Manifest.model_validate(read_json(file))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise AttarError(f"not a bundle manifest: {where}: {problem['msg']}", where=str(file)) from None

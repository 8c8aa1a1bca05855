"""`attar-scores/1`: the document of one `attar score`, the interface for scripts and all that its tables are made from.

- A result is one line of a table: one score, one model, one condition, such as `{"k": 4}`.
- Scores are fractions in [0, 1] (correlations in [-1, 1]), perplexities are at least 1, times are in seconds.
- `format` is raised when a field changes its meaning; added fields have defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..files import read_document, write_text

FORMAT = "attar-scores/1"


class Entry(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(extra="ignore")


class Model(Entry):
    """A model that was scored."""

    name: str  # the end of its path, long enough to tell it from the others, or its hub id
    family: str  # "gpt2", "bert", … as its configuration states it
    parameters: int  # unique parameters, the head among them where there is one
    weights: str  # sha256 of configuration, tokenizer and weights


class Result(Entry):
    """What one model scored under one condition."""

    model: str  # a name of `models`
    condition: dict[str, Any] = {}  # {"k": 4}, {"way": "beam 4"}, {"split": "dev"}; empty where there is but one
    metrics: dict[str, float]  # the first is the one to look at
    baselines: dict[str, dict[str, float]] = {}  # "chance", "majority", "unigram", "random weights" -> metrics
    rows: int  # rows that were scored
    values: list[float] = []  # the first metric for each seed, where several draws were made
    parts: dict[str, dict[str, float]] = {}  # metrics of parts, such as the relations of a probe
    remarks: list[str] = []  # rows that were cut or could not be asked
    seconds: float  # of scoring, without loading; baselines that depend on the model are in it


class Score(Entry):
    """One entry of the sheet."""

    name: str  # its name on the sheet
    kind: str  # "perplexity", "last_word", "endings", "prompted", "facts", "links", "decoding", "recipe"
    settings: dict[str, Any]  # the entry as it was read, every default written out
    rows: int  # rows at hand, after `limit`
    data: dict[str, str]  # sha256 of the rows by their role, wherever they stood
    remarks: list[str] = []  # what the readers left out
    results: list[Result]
    problems: list[str] = []  # models that could not be scored to the end, and why; the others' results stand


class Scores(Entry):
    """A whole document."""

    format: Literal["attar-scores/1"] = FORMAT  # type: ignore[assignment]
    attar: str  # version
    name: str  # of the sheet or the recipe
    created: str  # ISO 8601, UTC
    command: str = ""  # the command line that made it
    seed: int  # of the limits, the draws and the random weights
    machine: dict[str, Any]  # processor, features, cores, memory, system, versions
    device: str  # "cpu", or the accelerator's name
    threads: int  # of torch
    models: list[Model]  # as they were named
    scores: list[Score]  # in the order of the sheet


def load(path: Path) -> Scores:
    """Read a document."""
    return read_document(Scores, path, "document of scores")


def save(scores: Scores, path: Path) -> None:
    """Write the document atomically."""
    write_text(path, scores.model_dump_json(indent=2) + "\n")

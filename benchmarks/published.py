"""Figures that others published of small models: data, with source and hardware, in a table of their own.

- They were measured on other machines, texts and lengths, so nothing here is divided by a figure of ours, and no figure
  of ours by one of these.
- A time and a speed stand in the words of their source: a ratio that a paper states is against that paper's own model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..files import read_document
from .cells import DASH, Cell, Row, Table, figure
from .derived import digits

FILE = Path(__file__).with_name("published.json")
Words = Annotated[str, Field(min_length=1)]


class Published(BaseModel):
    """One model in one publication."""

    model_config = ConfigDict(extra="forbid")

    model: Words
    source: Words  # the paper and its table
    url: Annotated[str, Field(pattern=r"^https://")]
    hardware: Words
    setting: Words  # what was run, and what the score is of
    parameters: Annotated[int, Field(gt=0)]
    flops: Annotated[int, Field(gt=0)] | None = None  # of one inference, as its source counts them
    time: Words | None = None
    speed: Words | None = None
    score: Annotated[float, Field(gt=0, lt=100)] | None = None
    metric: Words | None = None

    @model_validator(mode="after")
    def _whole(self) -> Published:
        if self.time is None and self.speed is None:
            raise ValueError("neither a time nor a speed")
        if (self.score is None) != (self.metric is None):
            raise ValueError("a score and its metric go together")
        return self


class Sheet(BaseModel):
    """The file."""

    format: Literal["attar-published/1"]
    rows: Annotated[list[Published], Field(min_length=1)]


def load(path: Path = FILE) -> list[Published]:
    """The rows; what is not well formed is one line."""
    return read_document(Sheet, path, "list of published figures").rows


def table(rows: list[Published]) -> Table:
    """One row each, in the order of the file."""
    names = ("model", "parameters", "FLOPs", "time", "speed", "score", "hardware", "what was run", "source")
    columns = [("", name, "millions" if name == "parameters" else "") for name in names]
    caption = (
        "Others' figures, of others' hardware, texts and lengths: to place a model, not to compare with. None of them "
        "enters a ratio of this page, and a speed among them is against its own source's model."
    )
    made = [_row(one, f"rows[{number}]") for number, one in enumerate(rows)]
    return Table("published", "Published figures, on others' hardware", caption, columns, made)


def _row(one: Published, path: str) -> Row:
    score = figure(f"{path}.score", one.score, lambda value: f"{value:.1f}", one.metric or "")
    cells = [
        Cell(one.model, mark="text"),
        figure(f"{path}.parameters", one.parameters, lambda value: digits(value / 1e6)),
        figure(f"{path}.flops", one.flops, lambda value: f"{digits(value / 1e9)} G"),
        Cell(one.time or DASH),
        Cell(one.speed or DASH),
        score,
        Cell(one.hardware, mark="text"),
        Cell(one.setting, mark="text"),
        Cell(one.source, one.url, mark="text"),
    ]
    return Row(cells)

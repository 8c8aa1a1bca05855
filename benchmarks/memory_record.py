"""`attar-memory/1`: memory against the size of a corpus, as `corpus_memory` measured it, and how that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..files import read_document
from .cells import DASH, Cell, Row, Table, figure
from .derived import digits

FORMAT = "attar-memory/1"


class Entry(BaseModel):
    """A part of the record; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Reading(Entry):
    """One size of the corpus; all in bytes but the pieces."""

    text: int  # of the files, as they lie on disk
    pieces: int
    disk: int  # of the encoded corpus
    encoding: int  # peak of resident memory, libraries and all
    drawing: int  # peak of what is allocated
    distilling: int = 0  # peak of resident memory, libraries, models and all; 0 where it was not asked


class Growth(Entry):
    """A corpus, and the same corpus several times."""

    format: Literal["attar-memory/1"] = FORMAT  # type: ignore[assignment]
    attar: str
    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, Any]
    model: str = ""  # that was distilled
    readings: list[Reading]


def load(path: Path) -> Growth:
    """Read a record."""
    return read_document(Growth, path, "measurement of memory")


def table(found: Growth) -> Table:
    """One row a size of the corpus."""
    rows = []
    for number, one in enumerate(found.readings):
        path = f"readings[{number}]"

        def megabytes(name: str, one: Reading = one, path: str = path) -> Cell:
            value = getattr(one, name)
            return figure(f"{path}.{name}", value, lambda size: digits(size / 1e6)) if value else Cell(DASH)

        pieces = figure(f"{path}.pieces", one.pieces, lambda count: f"{count:,.0f}")
        rows.append(Row([megabytes("text"), pieces, *map(megabytes, ("disk", "encoding", "drawing", "distilling"))]))
    columns = [("", "text", "MB on disk"), ("", "pieces", ""), ("", "encoded", "MB on disk")]
    columns += [("peak of memory", name, "MB") for name in ("encoding", "drawing rows", "distilling")]
    caption = (
        "Each size in a fresh process. Encoding and distilling are peaks of resident memory, libraries and models and "
        "all; drawing is what Python and numpy allocate."
        + (f" {found.model} was distilled over as many steps for each size." if found.model else "")
    )
    return Table("memory", "Memory against the size of the corpus", caption, columns, rows)

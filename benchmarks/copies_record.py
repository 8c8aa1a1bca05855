"""`attar-copies/1`: a shared model's files against its unique parameters, as `copies` made them; how that is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ..files import read_document
from .cells import DASH, Cell, Row, Table, figure
from .derived import digits

FORMAT = "attar-copies/1"


class Entry(BaseModel):
    """A part of the record; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class File(Entry):
    """One file of the model; sizes in bytes."""

    name: str
    precision: str
    bits: float  # of a weight, over all matrices
    bytes: int
    needed: int  # by unique parameters of so many bits, and scales that are not in them
    once: bool  # whether the export's size check passes: every matrix stands there once
    problem: str = ""  # why it was not made, or what the check says


class Copies(Entry):
    """A model whose layers share their weights, in every format and precision."""

    format: Literal["attar-copies/1"] = FORMAT  # type: ignore[assignment]
    attar: str
    created: str  # ISO 8601, UTC
    command: str
    machine: dict[str, Any]
    model: str
    layers: int
    parameters: int  # unique
    unshared: int  # what they would be if every layer had its own
    files: list[File]


def load(path: Path) -> Copies:
    """Read a record."""
    return read_document(Copies, path, "record of copies")


def table(found: Copies) -> Table:
    """One row a file."""
    rows = []
    for number, one in enumerate(found.files):
        path = f"files[{number}]"

        def megabytes(name: str, one: File = one, path: str = path) -> Cell:
            return figure(f"{path}.{name}", getattr(one, name), lambda size: digits(size / 1e6))

        over = 100 * (one.bytes / one.needed - 1)
        rows.append(
            Row(
                [
                    Cell(one.name),
                    Cell(one.precision),
                    figure(f"{path}.bits", one.bits, digits),
                    megabytes("needed"),
                    megabytes("bytes") if one.bytes else Cell(DASH),
                    Cell(f"{over:+.1f}".replace("-", "−") if one.bytes else DASH, "", f"{one.bytes} of {one.needed}"),
                    Cell("yes" if one.once else one.problem, "", f"{path}.once"),
                ]
            )
        )
    columns = [
        ("", "file", ""),
        ("", "precision", ""),
        ("a weight", "bits", ""),
        ("", "needed", "MB"),
    ]
    columns += [("file", "MB", ""), ("file", "more than needed", "%"), ("", "each matrix once", "")]
    caption = (
        f"{found.layers} layers with {found.parameters / 1e6:.1f} million unique parameters; if each layer had its own "
        f"they would be {found.unshared / 1e6:.1f} million. Needed are unique parameters × bits: scales of blocks are "
        "in their bits, those that `.tflite` keeps for each channel are added. What a file has beside is its graph, "
        "and vectors of 32 bits."
    )
    return Table("copies", f"Shared weights stand once: {found.model}", caption, columns, rows)

"""Tables and figures as data, which the page and the Markdown both render.

- A cell carries the JSON path and the exact value it was made from, so that every figure can be traced.
- A figure that was not measured is a dash, never a zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

DASH = "–"


class Cell(NamedTuple):
    """One figure: its text, a second smaller line, where it comes from, and how it is marked."""

    text: str
    note: str = ""
    path: str = ""  # "models[3].bytes = 9412345", one line for each source
    mark: str = ""  # "good", "bad", "text"


class Row(NamedTuple):
    """One row; the first cell is its header; the remark stands below it over the whole width."""

    cells: list[Cell]
    mark: str = ""  # "teacher", "student", "chosen", "rejected"
    remark: str = ""


class Table(NamedTuple):
    """A table with its caption; a column is (group, name, note)."""

    key: str
    title: str
    caption: str
    columns: list[tuple[str, str, str]]
    rows: list[Row]
    origin: str = ""  # the JSON files and fields that it was made from

    def known(self) -> Table:
        """The table without the columns of which nothing is known."""
        kept = [n for n in range(len(self.columns)) if any(row.cells[n].text != DASH for row in self.rows)]
        rows = [row._replace(cells=[row.cells[n] for n in kept]) for row in self.rows]
        return self._replace(columns=[self.columns[n] for n in kept], rows=rows)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of the same group as (group, width)."""
        out: list[tuple[str, int]] = []
        for group, _, _ in self.columns:
            if out and out[-1][0] == group:
                out[-1] = (group, out[-1][1] + 1)
            else:
                out.append((group, 1))
        return out


class Figure(NamedTuple):
    """A plot and what stands around it."""

    title: str
    svg: Markup
    caption: str
    legend: Sequence[tuple[int, str, str]] = ()  # colour, shape, name
    table: Table | None = None
    kind: str = "cost"  # "training", "search", "road", "layers"


def below(path: str, key: str) -> str:
    """The JSON path of a key, quoted where it is not a plain word."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def source(path: str, value: Any) -> str:
    """A JSON path and its exact value."""
    return f"{path} = {json.dumps(value, ensure_ascii=False)}"


def figure(path: str, value: Any, show: Callable[[Any], str], note: str = "", also: str = "", mark: str = "") -> Cell:
    """A cell for one value of the record."""
    if value is None:
        return Cell(DASH, "", source(path, None))
    return Cell(show(value), note, source(path, value) + (f"\n{also}" if also else ""), mark)

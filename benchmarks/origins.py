"""Which JSON files and fields a table was made from, read off the paths of its own cells."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cells import Table
from .record import Run

FIELD = re.compile(rf"(?<![\w.\"])({'|'.join(Run.model_fields)})(?=[.\[ ]|$)")
FILE = re.compile(r"([^\[\]\"]+): ")


def marked(table: Table, file: str) -> Table:
    """The table with its origin; `file` is where a path stands that names no file of its own."""
    found: dict[str, list[str]] = {}
    for line in (line for row in table.rows for cell in row.cells for line in cell.path.split("\n")):
        path = line.partition(" = ")[0]
        named = FILE.match(path)
        fields = found.setdefault(named[1] if named else file, [])
        fields += [field for field in FIELD.findall(path) if field not in fields]
    said = [f"{name}: {', '.join(fields)}" for name, fields in found.items() if fields]
    return table._replace(origin="; ".join(said))


def files(runs: Sequence[Run]) -> list[str]:
    """The names of the files that a report of these runs is made from."""
    named = [FILE.match(site.place or "") for run in runs for site in run.targets]
    return list(dict.fromkeys([*(run.file for run in runs), *(found[1] for found in named if found)]))

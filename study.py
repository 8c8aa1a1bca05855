"""A study: one recipe with parts changed, run for every row and column of a table. Ablations are studies.

- A cell is a run of its own below the study's folder, so a study that was stopped goes on, and what two cells have in
  common (a pre-trained model, a teacher) is made once: stages with the same key are shared between the cells, and
  taken from runs that stand beside the study's folder.
- A cell that fails is told in its place, and the others still run.
- A column's changes are made after its row's: the column has the last word.
- With `seeds` every cell is run once for each, and the table tells the mean and the spread. The first seed fills the
  whole table before the second begins.
- A record of the same study, made elsewhere, can be gone on from: its cells count where recipe and rows are the same.
- A part of a study can be run alone (`Chosen`): what stands of the others stays, and what is left is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from . import __version__, pipeline, recipe_file
from .benchmarks import machine, record, study_record
from .benchmarks.study_record import Result, StudyRecord, result
from .errors import AttarError, UsageError, nearest
from .files import value_digest, write_json
from .recipe import Part, Recipe
from .tasks import data as rows

READY = "recipes/studies"  # below the package
UNTIL = {"teach": "teach", "distil": "distil", "compress": "bundle"}
Progress = Callable[[str, float, str], None]


class Variant(Part):
    """What a row or a column changes in the recipe."""

    recipe: str | None = Field(None, description="the recipe it starts from, by file or name")
    take: dict[str, str] = Field({}, description="parts taken whole from other recipes, such as `task: trec`")
    set: dict[str, Any] = Field({}, description="single keys, such as `student.layers: 3`")
    against: str | None = Field(None, description="the row that this one is compared with")

    def settings(self) -> list[str]:
        """The changes as `--set` words."""
        words = []
        for part, source in self.take.items():
            values, _ = recipe_file.read(Path(source))
            if part not in values:
                raise UsageError(f"the recipe {source} has no part `{part}`", where=f"take.{part}")
            words.append(f"{part}={json.dumps(values[part], ensure_ascii=False)}")
        return words + [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.set.items()]


class Study(Part):
    """A whole study; each cell is named `ROW-COLUMN`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the study's folder is runs/NAME")
    title: str = ""
    until: Literal["teach", "distil", "compress"] = Field("compress", description="how far each run goes")
    seeds: list[int] = Field([], description="run every cell with each of these seeds")
    vary: Literal["seed", "distil.seed"] = Field(
        "distil.seed", description="which seed that is: of the whole run, or of the student alone"
    )
    rows: dict[str, Variant] = Field(min_length=1)
    columns: dict[str, Variant] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Study:
        for name, row in self.rows.items():
            if row.against is not None and row.against not in self.rows:
                raise ValueError(f"row {name!r} is compared with {row.against!r}, which is no row")
        for (row_name, row), (name, column) in product(self.rows.items(), self.columns.items()):
            if not (row.recipe or column.recipe):
                raise ValueError(f"neither row {row_name!r} nor column {name!r} names a recipe")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice in `seeds`")
        places = [place(*cell) for cell in self.cells()]
        twice = next((one for number, one in enumerate(places) if one in places[:number]), None)
        if twice:
            raise ValueError(f"two cells would have the folder {twice!r}; give their rows other names")
        return self

    def cells(self) -> Iterator[tuple[str, str, int | None]]:
        """Row, column and seed of every run."""
        seeds: list[int | None] = [*self.seeds] or [None]
        return ((row, column, seed) for seed, row, column in product(seeds, self.rows, self.columns))

    def cell(self, row: str, column: str, seed: int | None = None) -> Recipe:
        """The recipe of a cell."""
        base = self.rows[row].recipe or self.columns[column].recipe
        settings = [*self.rows[row].settings(), *self.columns[column].settings()]
        settings += [] if seed is None else [f"{self.vary}={seed}"]
        return recipe_file.load(Path(str(base)), [*settings, f"name={json.dumps(place(row, column, seed))}"])


class Chosen(NamedTuple):
    """The cells that are to be run now: those of these rows, columns and seeds; where none is named, of all."""

    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def check(self, study: Study) -> None:
        """Raise `UsageError` for a name or a seed that the study has not."""
        for option, asked, known in (("--row", self.rows, study.rows), ("--column", self.columns, study.columns)):
            for name in asked:
                if name not in known:
                    raise UsageError(f"the study has no {name!r}", where=option, fix=nearest(name, known))
        for seed in self.seeds:
            if seed not in study.seeds:
                known_seeds = ", ".join(map(str, study.seeds)) or "none"
                raise UsageError(f"the study has no seed {seed}", where="--seed", fix=f"its seeds: {known_seeds}")

    def has(self, row: str, column: str, seed: int | None) -> bool:
        """Whether a cell is one of them."""
        named = ((row, self.rows), (column, self.columns), (seed, self.seeds))
        return all(not some or one in some for one, some in named)


def place(row: str, column: str, seed: int | None = None) -> str:
    """The name of a cell's run: lower case, without blanks."""
    words = f"{row}-{column}" if seed is None else f"{row}-{column}-{seed}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def load(path: Path) -> Study:
    """Read a study file; the first problem is one line."""
    place = recipe_file.find(path, READY)
    ready = sorted(one.stem for one in (Path(__file__).parent / READY).glob("*.yaml"))
    values, text = recipe_file.read(place, "study", READY, known=nearest(path.stem, ready))
    return recipe_file.check(Study, values, where=str(place), text=text)


def run(
    study: Study,
    out: Path,
    *,
    progress: Progress = lambda what, done, remark: None,
    finished: Callable[[str, float, bool], None] = lambda name, seconds, reused: None,
    command: str = "",
    known: StudyRecord | None = None,
    chosen: Chosen | None = None,
) -> StudyRecord:
    """Run every `chosen` cell that is not `known`, all where nothing is chosen, and write `study.json` after each.

    A cell that fails has its problem in its place. The cells that are known stand in the record from the beginning, and
    those that are not chosen as the study's folder has them.
    """
    chosen = chosen or Chosen()
    chosen.check(study)
    cells = {cell: study.cell(*cell) for cell in study.cells()}
    before = _before(out)
    found = StudyRecord(
        attar=__version__,
        name=study.name,
        title=study.title or study.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        machine=machine.describe(),
        study=study.model_dump(mode="json"),
        rows=list(study.rows),
        columns=list(study.columns),
        against={name: row.against for name, row in study.rows.items() if row.against},
    )
    taken = {name: one for name in cells if (one := _taken(known, *name, cells[name]))}
    others = [name for name in cells if name not in taken and not chosen.has(*name)]
    taken |= {name: one for name in others if (one := _taken(before, *name, cells[name]))}
    found.results += taken.values()
    cells = {name: spec for name, spec in cells.items() if name in taken or chosen.has(*name)}
    for number, ((row, column, seed), spec) in enumerate(cells.items(), 1):
        said = f"{number}/{len(cells)} {spec.name}"
        folder = out / spec.name
        if (row, column, seed) in taken:
            finished(said, 0.0, True)
            continue
        try:
            pipeline.run(
                spec,
                folder,
                until=UNTIL[study.until],
                progress=lambda what, done, remark, said=said: progress(f"{said}: {what}", done, remark),  # type: ignore[misc]
                finished=lambda name, seconds, reused, said=said: finished(f"{said}: {name}", seconds, reused),  # type: ignore[misc]
                command=command,
                beside=[out.parent],
            )
            found.results.append(result(row, column, spec.name, record.load(folder), seed))
        except AttarError as error:
            failed = Result(row=row, column=column, seed=seed, folder=spec.name, problem=error.line())
            found.results.append(failed)
        write_json(out / "study.json", found.model_dump(mode="json"))
    if cells.keys() == taken.keys():  # nothing was run: what is known is the record
        write_json(out / "study.json", found.model_dump(mode="json"))
    return found


def _before(out: Path) -> StudyRecord | None:
    """The record that stands in the study's folder; what cannot be read is none."""
    try:
        return study_record.load(out) if (out / "study.json").is_file() else None
    except AttarError:
        return None


def _taken(known: StudyRecord | None, row: str, column: str, seed: int | None, spec: Recipe) -> Result | None:
    """What a record knows of a cell: of the same recipe and the same rows of data, and without a problem."""
    cell = known.at(row, column) if known else []
    found = next((one for one in cell if one.seed == seed and not one.problem), None)
    if found is None or found.recipe != value_digest(spec.model_dump(mode="json")):
        return None
    return found if found.data == rows.load(spec.task, spec.seed).digests() else None

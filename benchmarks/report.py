"""The report: one self-contained page, and Markdown, made from run records alone.

- No script and no request: style, plots and text are in the one file, so it can be mailed and kept.
- Everything that a run says (names, reasons, labels) is escaped by the templates' environment.
- The same records give the same bytes: no clock, no random ids.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..errors import UsageError
from ..files import write_text
from . import accounts, figures, front, places, road, tables
from .cells import Figure, Table
from .gauges import Gauge, gauges
from .record import Run
from .verdict import Verdict, headline

TEMPLATES = Path(__file__).parent / "templates"


class Section(NamedTuple):
    """Everything the templates show of one run."""

    key: str
    run: Run
    verdict: Verdict
    gauges: list[Gauge]
    tables: dict[str, Table]
    conditions: list[Table]
    figures: list[Figure]
    recipe: str


def html(runs: list[Run]) -> str:
    """One page for one run, or a comparison of several followed by each; never loads anything."""
    return _render("report.html.j2", runs)


def markdown(runs: list[Run], title: str = "", intro: str = "") -> str:
    """The same tables and sentences as Markdown, with an own title and first paragraph if given."""
    return _tidy(_render("report.md.j2", runs, title=title, intro=intro))


def write(run: Run, folder: Path) -> None:
    """Leave `report.html` and `report.md` of one run in the folder."""
    write_text(folder / "report.html", html([run]))
    write_text(folder / "report.md", markdown([run]))


def grid(table: Table) -> str:
    """One table as Markdown, with its caption before it and its remarks below."""
    made: Any = _environment().get_template("grid.md.j2").module
    return _tidy(str(made.grid(table)))


def _tidy(text: str) -> str:
    """No blanks at the ends of lines, and one empty line at most."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def section(run: Run, key: str) -> Section:
    """Collect what is shown of one run."""
    made = [
        tables.models_table(run),
        tables.latency_table(run),
        tables.scores_table(run),
        accounts.budget_table(run),
        accounts.training_table(run),
        accounts.checks_table(run),
        accounts.stages_table(run),
        road.table(run),
        front.table(run),
        *places.tables(run.targets),
    ]
    recipe = yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""
    shown = {table.key: table for table in made if table.rows}
    return Section(
        key,
        run,
        headline(run),
        gauges(run),
        shown,
        accounts.conditions_tables(run),
        figures.of_run(run, key),
        recipe,
    )


def _render(template: str, runs: list[Run], **words: str) -> str:
    if not runs:
        raise UsageError("a report needs at least one run", fix="name a run folder, such as runs/NAME")
    sections = [section(run, f"run{number}") for number, run in enumerate(runs, 1)]
    several = len(runs) > 1
    return _environment().get_template(template).render(
        sections=sections,
        comparison=tables.comparison_table(runs) if several else None,
        plots=figures.of_runs(runs) if several else [],
        style=Markup((TEMPLATES / "style.css").read_text("utf-8")),
        **words,
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """HTML escapes by jinja's own rule, Markdown by ours."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = plain
    environment.filters["breakable"] = breakable
    return environment


def breakable(text: str) -> Markup:
    """A name that a narrow column may break after its dots and slashes."""
    return Markup("<wbr>").join(re.split(r"(?<=[./_])", text))


def plain(value: Any) -> str:
    """Text that Markdown shows as it is, on one line and inside a table's cell."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)

"""The report: one self-contained page, and Markdown, made from run records alone.

- No script and no request: style, plots and text are in the one file, so it can be mailed and kept.
- Everything that a run says (names, reasons, labels) is escaped by the templates' environment.
- The same records give the same bytes: no clock, no random ids.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml
from markupsafe import Markup

from ..errors import UsageError
from ..files import write_text
from . import accounts, badge, card, effort, figures, front, layer_tables, origins, places, road, spreadsheet, tables
from .cells import Figure, Table
from .gauges import Gauge, gauges
from .record import Run
from .rendering import TEMPLATES, environment, tidy
from .verdict import Verdict, headline


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
    return tidy(_render("report.md.j2", runs, title=title, intro=intro))


def write(run: Run, folder: Path) -> None:
    """Leave the report of one run in the folder, in every form of `FORMS`."""
    for name, form in FORMS.items():
        write_text(folder / name, form(run))


FORMS: dict[str, Callable[[Run], str]] = {  # file -> what is written in it of one run
    "report.html": lambda run: html([run]),
    "report.md": lambda run: markdown([run]),
    "report.csv": lambda run: spreadsheet.text([run]),
    "badge.svg": badge.svg,
    "README.md": card.text,
}


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
        layer_tables.layers_table(run),
        *effort.tables([places.own(run), *run.targets]),
        *places.tables(run.targets),
    ]
    recipe = yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True) if run.recipe else ""
    shown = {table.key: origins.marked(table, run.file) for table in made if table.rows}
    return Section(
        key,
        run,
        headline(run),
        gauges(run),
        shown,
        [origins.marked(table, run.file) for table in accounts.conditions_tables(run)],
        figures.of_run(run, key),
        recipe,
    )


def _render(template: str, runs: list[Run], **words: str) -> str:
    if not runs:
        raise UsageError("a report needs at least one run", fix="name a run folder, such as runs/NAME")
    sections = [section(run, f"run{number}") for number, run in enumerate(runs, 1)]
    comparison = origins.marked(tables.comparison_table(runs), "run.json of each run") if len(runs) > 1 else None
    return environment().get_template(template).render(
        sections=sections,
        comparison=comparison,
        plots=figures.of_runs(runs) if comparison else [],
        files=origins.files(runs),
        style=Markup((TEMPLATES / "style.css").read_text("utf-8")),
        **words,
    )  # fmt: skip

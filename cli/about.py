"""The commands that tell: this machine, finished runs, the ready recipes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import FAILED, UsageError
from .common import Flag, Paths, app, print_json


@app.command
def doctor(*, json: Flag = False, quiet: Flag = False) -> int:
    """Show what is installed, what this processor can do, and what is missing."""
    from ..benchmarks import doctor, terminal

    with terminal.busy("looking at the runtimes", quiet or json):
        found = doctor.examine()
    if json:
        print_json(found.document())
    else:
        terminal.show(*terminal.diagnosis(found))
    return 0 if found.whole else FAILED


@app.command
def report(
    runs: Paths,
    /,
    *,
    target: Annotated[list[Path], Parameter(negative="", show_default=False)] = [],  # noqa: B006
    out: Path = Path("report.html"),
    markdown: Path | None = None,
    csv: Path | None = None,
    badge: Path | None = None,
    card: Path | None = None,
) -> int:
    """Write the report of one run, or of several side by side.

    Args:
        runs: folders of runs
        target: what was measured elsewhere: the JSON of `attar bench`, or a result that the phone app saved
        out: the page
        markdown: the same as Markdown
        csv: a row for each model, length and number of threads, with its conditions
        badge: a small SVG with size, time and score; the Markdown line that shows it is printed
        card: the run's model card for the Hugging Face Hub, to be called README.md beside its files
    """
    from ..benchmarks import badge as badges
    from ..benchmarks import card as cards
    from ..benchmarks import record, report, spreadsheet
    from ..demo import measured
    from ..files import write_text

    for name, value in (("target", target), ("badge", badge), ("card", card)):
        if value and len(runs) > 1:
            raise UsageError(f"--{name} goes with one run", where="attar report")
    sites = [site for file in target for site in measured.sites(file)]
    records = [record.load(path) for path in runs]
    records = [one.model_copy(update={"targets": [*one.targets, *sites]}) for one in records]
    for path, one in zip(runs, records, strict=True):
        if one.task["kind"] == "language_modelling":
            raise UsageError("a language model has no report", where=str(path), fix="its perplexities are in run.json")
    write_text(out, report.html(records))
    if markdown:
        write_text(markdown, report.markdown(records))
    if csv:
        write_text(csv, spreadsheet.text(records))
    if card:
        write_text(card, cards.text(records[0]))
    print(out)
    if badge:
        write_text(badge, badges.svg(records[0]))
        print(badges.line(records[0], badge.name))
    return 0


@app.command
def recipes(*, json: Flag = False) -> int:
    """List the ready recipes: what each is, and the command that runs it."""
    from ..benchmarks import terminal

    found = {}
    for path in sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml")):
        opening = itertools.takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
        command, *about = (line.lstrip("# ") for line in opening)
        found[path.name] = {"command": command, "about": " ".join(filter(None, about))}
    if json:
        return print_json(found)
    terminal.show(terminal.listing(found))
    return 0

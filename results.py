"""The results page: written from records, never typed.

    python -m attar.results              docs/*/*.json -> results.md, choosing.md, runs/*.md and plots/*.svg in docs/
    python -m attar.results --check      fails where they are not what the records give

- `docs/runs/` and `docs/studies/` hold copies of the run.json and study.json files that the documentation speaks of,
  `docs/scores/` what `attar score` wrote, `docs/targets/` what `attar bench --target … --json` printed, and
  `docs/peers/` the records of comparisons with other programs, so that anybody can check it. `docs/app/` holds what
  `attar.demo.bench` saw of the phone app, and its screenshots, `docs/memory/` what `corpus_memory` measured,
  `docs/copies/` what `copies` did.
- Runs with artefacts have a page each, and a row in the table of all; those that end with a teacher or a student stand
  together in another.
- Figures that others published stand at the end, in a table of their own (`benchmarks/published.json`).
- The page holds no date of its own: the same records give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import fromstring, tostring

from .benchmarks import (
    choosing,
    copies_record,
    effort,
    memory_record,
    origins,
    places,
    published,
    study_record,
    study_tables,
    tables,
)
from .benchmarks.cells import Figure, Table
from .benchmarks.copies_record import Copies
from .benchmarks.memory_record import Growth
from .benchmarks.peers.distillation import record as peers
from .benchmarks.peers.distillation import table as peers_table
from .benchmarks.peers.distillation.record import Comparison
from .benchmarks.record import Bench, Run, load, load_bench
from .benchmarks.rendering import TEMPLATES, grid, plain
from .benchmarks.report import markdown
from .benchmarks.study_record import StudyRecord
from .benchmarks.teachers import trained_table
from .benchmarks.verdict import headline
from .demo import shown
from .errors import AttarError, UsageError
from .files import write_text
from .scores import record as scores_record
from .scores import tables as scores_tables
from .scores.plot import pictures
from .scores.record import Scores

DOCS = Path("docs")
MARK = "<!-- Written by `python -m attar.results` from the records in docs/; do not edit. -->\n\n"
INTRO = f"""# Results

{MARK}Every figure here is taken from the records in {{folders}}. Times were taken on the machine named with each run;
the speeds against the teacher were timed in turns, and travel better to other machines.

{{contents}}"""


class Records(NamedTuple):
    """What the page is made from."""

    runs: Sequence[Run] = ()
    studies: Sequence[StudyRecord] = ()
    scores: Sequence[Scores] = ()
    targets: Sequence[tuple[str, Bench]] = ()  # by name
    peers: Sequence[Comparison] = ()
    app: Sequence[shown.Shown] = ()
    memory: Sequence[Growth] = ()
    copies: Sequence[Copies] = ()


def pages(records: Records) -> dict[str, str]:
    """Every file of the results, by its name below docs/."""
    whole = [run for run in records.runs if any(model.role == "artefact" for model in run.models)]
    trained = [run for run in records.runs if run not in whole]
    found = {_page(run): MARK + markdown([run]) for run in whole}
    found["choosing.md"] = choosing.page(whole, records.studies, dict(records.targets))
    parts = [_runs(whole)] if whole else []
    if trained:
        parts.append(_section(trained_table(trained)) + _remarks(trained))
    for study in records.studies:
        parts.append(_section(study_tables.table(study), study.command))
        if figure := study_tables.pretraining_figure(study, study.name):
            found[f"plots/{study.name}.svg"] = standalone(figure)
            parts.append(f"![{figure.title}](plots/{study.name}.svg)\n\n{figure.caption}\n")
    for sheet in records.scores:
        drawn = {f"plots/{sheet.name}-{name}.svg": text for name, text in pictures(sheet).items()}
        found |= drawn
        parts.append(_scores(sheet, list(drawn)))
    parts += [_section(peers_table.table(one), one.command) for one in records.peers]
    parts += [_section(memory_record.table(one), one.command) for one in records.memory]
    parts += [_section(copies_record.table(one), one.command) for one in records.copies]
    parts += [_section(shown.table(one), one.command) + _pictures(one.pictures) for one in records.app]
    parts += [_elsewhere(name, one) for name, one in records.targets]
    parts.append(_section(published.table(published.load())))
    folders = [f"[{name}/]({name}/)" for name, some in records._asdict().items() if some]
    titles = [line.removeprefix("## ") for part in parts for line in part.splitlines() if line.startswith("## ")]
    contents = "".join(f"- [{title}](#{_anchor(title)})\n" for title in titles)
    return {"results.md": "\n".join([INTRO.format(folders=", ".join(folders), contents=contents), *parts]), **found}


def _page(run: Run) -> str:
    """Where a run's own page stands: beside its record."""
    return f"runs/{Path(run.file).stem}.md"


def _runs(runs: Sequence[Run]) -> str:
    """Every run in a sentence, with its page, and all of them in a table."""
    said = "".join(f"- [{plain(run.name)}]({_page(run)}): {plain(headline(run).sentence)}\n" for run in runs)
    table = tables.comparison_table(list(runs))._replace(title="Runs")
    return f"## Runs\n\n{said}\n{grid(origins.marked(table, 'run.json of each run'))}"


def _anchor(title: str) -> str:
    """What a heading is linked by, as Markdown readers make it: small letters, no stops, a hyphen for a blank."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _elsewhere(name: str, found: Bench) -> str:
    """What was measured on other targets, or beside other programs."""
    made = [*effort.tables(found.targets), *places.tables(found.targets)]
    grids = [f"### {table.title}\n\n{grid(origins.marked(table, 'targets'))}" for table in made]
    return "\n".join([f"## Elsewhere: {plain(name)}\n\nMade by:\n\n    {found.command}\n", *grids])


def _remarks(runs: Sequence[Run]) -> str:
    """What the records of runs without a section of their own say beside their scores."""
    lines = [f"- {plain(run.name)}: {plain(note)}" for run in runs for note in run.notes]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _pictures(names: Sequence[str]) -> str:
    """Screenshots, side by side."""
    return "\n" + "\n".join(f"![{Path(name).stem}](app/{name})" for name in names) + "\n" if names else ""


def _scores(found: Scores, plots: Sequence[str]) -> str:
    """What models answer as they are; ways of decoding have a page of their own."""
    made = f"## Scores: {plain(found.name)}\n\nMade by:\n\n    {found.command}\n"
    for score, table in zip(found.scores, scores_tables.grids(found), strict=True):
        if score.kind == "decoding":
            made += "\nThe trade-off is shown in [decoding.md](decoding.md).\n"
            continue
        notes = "".join(f"\n{plain(note)}.\n" for note in table.notes)
        made += f"\n### {plain(table.title)}\n\n{scores_tables.markdown(table)}{notes}"
    return made + "".join(f"\n![{Path(name).stem}]({name})\n" for name in plots)


def standalone(figure: Figure) -> str:
    """A plot as a file of its own, with the report's style, light and dark."""
    svg = fromstring(figure.svg)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    text = tostring(svg, encoding="unicode")
    head = text.index(">") + 1
    style = (TEMPLATES / "style.css").read_text("utf-8")
    return f"{text[:head]}<style>{style}</style>{text[head:]}\n"


def _section(table: Table, command: str = "") -> str:
    made = f"Made by:\n\n    {command}\n\n" if command else ""
    return f"## {table.title}\n\n{made}{grid(table)}"


def recorded(docs: Path = DOCS) -> Records:
    """The records that the documentation is made from, by name."""

    def named(folder: str) -> list[Path]:
        return sorted((docs / folder).glob("*.json"))

    found = Records(
        [load(file) for file in named("runs")],
        [study_record.load(file) for file in named("studies")],
        [scores_record.load(file) for file in named("scores")],
        [(file.stem, load_bench(file)) for file in named("targets")],
        [peers.load(file) for file in named("peers")],
        [shown.load(file) for file in named("app")],
        [memory_record.load(file) for file in named("memory")],
        [copies_record.load(file) for file in named("copies")],
    )
    if not any(found):
        raise UsageError("no records", where=str(docs), fix="copy run.json files to docs/runs")
    return found


def check(made: dict[str, str], docs: Path) -> None:
    """Raise where a file is not what the records give, naming the first line that differs."""
    for name, text in made.items():
        path = docs / name
        try:
            there = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            raise AttarError("no such page", where=str(path), fix="write it without --check") from None
        wanted = text.splitlines()
        if there == wanted:
            continue
        same = zip(there, wanted, strict=False)
        line = next((n for n, (a, b) in enumerate(same, 1) if a != b), min(len(there), len(wanted)) + 1)
        raise AttarError("not what the records give", where=f"{path}:{line}", fix="write it again without --check")


def main(words: Sequence[str] | None = None) -> int:
    """Write or check the pages; the exit code is 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="attar.results", description="Write the results pages.")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the records and pages (docs)")
    parser.add_argument("--check", action="store_true", help="fail where a page is not what the records give")
    options = parser.parse_args(words)
    try:
        made = pages(recorded(options.docs))
        if options.check:
            check(made, options.docs)
        else:
            for name, text in made.items():
                write_text(options.docs / name, text)
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

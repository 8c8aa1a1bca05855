"""The results page: written from run records, never typed.

    python -m attar.benchmarks.results                      docs/runs/*.json -> docs/results.md
    python -m attar.benchmarks.results runs/a runs/b --out page.md
    python -m attar.benchmarks.results --check              fails where the page is not what the records give

- `docs/runs/` holds copies of the run.json files that the documentation speaks of, so anybody can check it.
- The page holds no date of its own: the same records give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import AttarError, UsageError
from ..files import write_text
from .record import Run, load
from .report import markdown

RUNS = Path("docs/runs")
PAGE = Path("docs/results.md")
INTRO = """<!-- Written by `python -m attar.benchmarks.results` from docs/runs/*.json; do not edit. -->

Every figure on this page is taken from the run records in [runs/](runs/). Times were taken on the machine
named with each run; the speeds against the teacher were timed in turns, and travel better to other machines.
"""


def page(runs: list[Run]) -> str:
    """The results page of these runs."""
    return markdown(runs, title="Results", intro=INTRO)


def recorded(folder: Path = RUNS) -> list[Path]:
    """The run records that the documentation is made from, by name."""
    return sorted(folder.glob("*.json"))


def check(runs: list[Run], path: Path) -> None:
    """Raise where the page is not what these records give, naming the first line that differs."""
    try:
        there = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise AttarError("no such page", where=str(path), fix="write it without --check") from None
    wanted = page(runs).splitlines()
    if there == wanted:
        return
    same = zip(there, wanted, strict=False)
    line = next((n for n, (a, b) in enumerate(same, 1) if a != b), min(len(there), len(wanted)) + 1)
    raise AttarError("not what the run records give", where=f"{path}:{line}", fix="write it again without --check")


def main(words: Sequence[str] | None = None) -> int:
    """Write or check the page; the exit code is 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.results", description="Write the results page.")
    parser.add_argument("runs", nargs="*", type=Path, help="run folders or run.json files; docs/runs/*.json")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (docs/results.md)")
    parser.add_argument("--check", action="store_true", help="fail where the page is not what the runs give")
    options = parser.parse_args(words)
    try:
        files = options.runs or recorded()
        if not files:
            raise UsageError("no run records", where=str(RUNS), fix="name run folders")
        runs = [load(file) for file in files]
        if options.check:
            check(runs, options.out)
        else:
            write_text(options.out, page(runs))
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

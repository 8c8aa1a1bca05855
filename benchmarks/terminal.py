"""How results look in a terminal.

- Tables go to stdout, progress and spinners to stderr, so that a pipe sees results alone.
- Progress is drawn only where somebody watches, and disappears when the work is done.
- Figures are right-aligned and carry about three significant digits; units stand in the heading.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from . import machine
from .derived import digits, megabytes
from .intervals import half_width
from .record import Check, Cost, Latency, Share

if TYPE_CHECKING:  # a command loads only what it does
    from .compare import Comparison
    from .doctor import Diagnosis
    from .inspection import Inspection

GOOD, BAD, NONE = "[green]✓[/]", "[red]✗[/]", "[dim]–[/]"


class _Stdout(Console):
    """A console that leaves a closed pipe to the command line; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(*parts: Table | str) -> None:
    """Print tables and lines of markup on stdout; lines are not wrapped."""
    console = _Stdout()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; gives the function that moves it: what is done now, how far, of how much."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


@contextlib.contextmanager
def busy(what: str, quiet: bool) -> Iterator[None]:
    """A spinner on stderr."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def table(*headings: str, title: str | None = None) -> Table:
    """An empty table; a heading that starts with `>` aligns its column to the right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        right = heading.startswith(">")
        made.add_column(heading.lstrip(">"), justify="right" if right else "left", no_wrap=right)
    return made


def comparison(found: Comparison, reference: str, sizes: Mapping[str, tuple[int, int]]) -> Iterator[Table | str]:
    """Latencies, throughput where it was measured, costs, and how much was timed; `sizes` plain and gzipped."""
    from .compare import rows

    yield from latencies(rows(found.costs), reference)
    if any(cost.throughputs for cost in found.costs.values()):
        yield throughputs(found.costs)
    yield costs(found.costs, sizes)
    if found.floor:
        peaks = ((kind, getattr(found.floor, kind)) for kind in ("fp32", "int8"))
        said = "; ".join(
            f"{kind} " + ", ".join(f"{rate / 1e9:.0f} ({n} thr.)" for n, rate in rates.items()) for kind, rates in peaks
        )
        yield f"[dim]this machine's best, in GMAC/s: {said}; it reads {found.floor.bandwidth / 1e9:.1f} GB/s[/]"
        yield "[dim]floor: the share of that best which a model reaches, at its own precision and with its weights[/]"
    spread = "" if found.protocol.quick else "; ± is half of the 95 % interval over sessions"
    yield f"[dim]{escape(machine.processor())}: {found.protocol.said()}{spread}[/]"
    if said := found.conditions.said():
        yield f"[dim]{said}[/]"


def latencies(rows: Sequence[tuple[str, Latency]], reference: str) -> Iterator[Table]:
    """Latency of each model, a table for what can be compared."""
    for setting, group in groupby(rows, key=lambda row: (row[1].length, row[1].threads)):
        found = list(group)
        threads = f"{setting[1]} thread{'s' if setting[1] > 1 else ''}"
        mean = sum(one.pieces or 0 for _, one in found) / len(found)
        length = f"{setting[0]} pieces" if setting[0] else f"own lengths ({digits(mean)} pieces)"
        least = [">floor"] if any(one.floor_ms for _, one in found) else []
        made = table("model", ">p50 ms", ">p90 ms", ">p99 ms", ">speed", *least, title=f"{length}, {threads}")
        for name, one in found:
            p50, *times = [_ms(one.p50_ms), _ms(one.p90_ms), _ms(one.p99_ms) if one.p99_ms is not None else NONE]
            ratio = "1×" if name == reference else NONE if one.ratio is None else f"{one.ratio:.2f}×"
            width = _half(None if name == reference else one.ratio_interval)
            reached = [f"{one.floor_ms / one.p50_ms:.0%}"] if one.floor_ms else []
            made.add_row(escape(name), p50 + _half(one.p50_interval), *times, ratio + width, *reached)
        yield made


def throughputs(found: Mapping[str, Cost]) -> Table:
    """Texts a second of each model, by batch and threads."""
    settings = sorted({(one.threads, one.batch) for cost in found.values() for one in cost.throughputs})
    made = table("texts a second", *(f">batch {batch}, {threads} thr." for threads, batch in settings))
    for name, cost in found.items():
        rates = {(one.threads, one.batch): digits(one.texts_per_s) for one in cost.throughputs}
        made.add_row(escape(name), *(rates.get(setting, NONE) for setting in settings))
    return made


def costs(found: Mapping[str, Cost], sizes: Mapping[str, tuple[int, int | None]]) -> Table:
    """File size, load time, first inference and memory of each model."""
    made = table("model", ">file", ">gzipped", ">load ms", ">first ms", ">peak memory")
    for name, cost in found.items():
        load = _ms(cost.load_s * 1000) if cost.load_s is not None else NONE
        first = _ms(cost.first_ms) if cost.first_ms is not None else NONE
        memory = megabytes(cost.peak_memory) if cost.peak_memory is not None else NONE
        made.add_row(escape(name), *(megabytes(size) if size else NONE for size in sizes[name]), load, first, memory)
    return made


def _half(found: tuple[float, float] | None) -> str:
    return f" ±{half_width(found):.1%}" if found else ""


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 1 else digits(value)


def checks(found: Sequence[Check]) -> Table:
    """What was checked and what came out."""
    made = table("", "check", "result")
    for check in found:
        mark = NONE if check.skipped else GOOD if check.passed else BAD
        style = "dim" if check.skipped else None if check.passed else "red"
        made.add_row(mark, escape(check.name), escape(check.detail), style=style)
    return made


def inspection(found: Inspection) -> Iterator[Table]:
    """The facts, then the parts of each model."""
    if found.facts:
        facts = Table(box=None, show_header=False, pad_edge=False)
        for name, fact in found.facts.items():
            facts.add_row(f"[dim]{escape(name)}[/]", escape(fact))
        yield facts
    for name, parts in found.models.items():
        yield shares(name, parts)


def shares(title: str, parts: Sequence[Share]) -> Table:
    """Parameters, bytes and, of a model file, MACs by part, and their sum."""
    whole, work = sum(part.bytes for part in parts), [part.macs or 0 for part in parts]
    made = table(
        "part", ">parameters", ">bytes", ">share", *([">MACs", ">share"] if any(work) else []), title=escape(title)
    )
    for part in parts:
        count = f"{part.parameters:,}" if part.parameters else NONE
        done = [f"{part.macs:,}", f"{part.macs / sum(work):.1%}"] if part.macs else [NONE, NONE] * any(work)
        made.add_row(escape(part.part), count, f"{part.bytes:,}", f"{part.bytes / max(whole, 1):.1%}", *done)
    made.add_section()
    parameters = sum(part.parameters for part in parts)
    total = [f"{sum(work):,}", ""] if any(work) else []
    made.add_row("all", f"{parameters:,}", f"{whole:,}", megabytes(whole), *total, style="bold")
    return made


def listing(found: Mapping[str, Mapping[str, str]]) -> Table:
    """Names, what they are, and the command of each."""
    made = table("recipe", "about")
    for name, words in found.items():
        made.add_row(f"[bold]{escape(name)}[/]", f"{escape(words['about'])}\n[dim]{escape(words['command'])}[/]")
    return made


def diagnosis(found: Diagnosis) -> Iterator[Table | str]:
    """Libraries by group, what the processor can do, and the commands that mend."""
    from .doctor import MEANING, PURPOSE

    made = table("", "library", ">version", "needed", "")
    for group in dict.fromkeys(item.group for item in found.items):
        name, _, use = PURPOSE[group].partition(": ")
        made.add_row("", f"[bold]{name}[/]", "", "", f"[dim]{use}[/]")
        for item in found.items:
            if item.group == group:
                mark = GOOD if not item.problem else BAD if not group else NONE
                problem = f"[yellow]{escape(item.problem)}[/]"
                made.add_row(mark, item.name, item.version or NONE, f"[dim]{escape(item.needed)}[/]", problem)
        made.add_section()
    yield made
    here = found.machine
    processor = f"{here['processor']}, {here['cores']} cores, {here['memory'] / 1e9:.0f} GB"
    made = table("", "feature", "meaning", title=escape(processor))
    for name, present in found.features.items():
        made.add_row(GOOD if present else NONE, name, MEANING[name], style=None if present else "dim")
    yield made
    for command in found.commands():
        yield f"  missing parts come with  [bold]{escape(command)}[/]"
    yield "[green]The light core is whole.[/]" if found.whole else "[red]The light core is not whole.[/]"

"""How one target's figures look in a terminal.

- Instructions stand in millions, in a table of their own, whose title says that they are no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from . import compare
from .record import Outputs, Placed, Site
from .terminal import NONE, costs, latencies, table


def site(found: Site) -> Iterator[Table | str]:
    """Times or counted instructions, then what the models answer there."""
    timed = {one.name: one.cost for one in found.models if one.cost}
    if found.measures == "instructions" and found.models:
        yield counted(found.models, f"{found.target}: millions of instructions of an inference; no time, no cycles")
    elif timed:
        yield f"[bold]{escape(found.target)}[/]  {escape(str(found.machine.get('processor', '')))}"
        yield from latencies(compare.rows(timed), found.reference or "")
        yield costs(timed, {one.name: (one.bytes, one.gzipped) for one in found.models})
    if any(one.outputs for one in found.models):
        yield answered(found.models, f"{found.target}: error and agreement on golden examples")


def counted(found: Sequence[Placed], title: str) -> Table:
    """Executed instructions of each model at each length, by class, in millions."""
    made = table(
        "model", ">len", ">all", ">ld/st", ">dot", ">int", ">float", ">vector", ">branch",
        title=escape(title),
    )  # fmt: skip
    made.columns[0].overflow = "fold"  # a name is never cut
    made.collapse_padding = True
    for name, one in ((model.name, one) for model in found for one in model.instructions):
        parts = (one.executed, one.memory, one.dot, one.integer, one.floating, one.vector, one.branch)
        made.add_row(escape(name), str(one.length), *(f"{part / 1e6:.1f}" for part in parts))
    return made


def answered(found: Sequence[Placed], title: str) -> Table:
    """Golden error, agreement and scores of each model."""
    metrics = list(dict.fromkeys(name for one in found if one.outputs for name in one.outputs.scores))
    headings = [">error", ">allowed", ">same", *(f">{name}" for name in metrics)]
    made = table("model", *headings, *([">rows"] if metrics else []), title=escape(title))
    made.columns[0].overflow = "fold"
    for one in found:
        if answers := one.outputs:
            scores = [f"{answers.scores[name]:.4f}" if name in answers.scores else NONE for name in metrics]
            made.add_row(escape(one.name), *_golden(answers), *scores, *([str(answers.rows)] if metrics else []))
    return made


def _golden(found: Outputs) -> list[str]:
    """Error, allowed error and agreement; of another model than the bundle's nothing."""
    figures = (found.golden_error, found.golden_tolerance)
    error, allowed = (NONE if value is None else f"{value:.2g}" for value in figures)
    same = NONE if found.golden_agreement is None else f"{found.golden_agreement:.0%}"
    return [f"[red]{error}[/]" if found.right is False else error, allowed, same]

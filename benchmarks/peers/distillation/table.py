"""How a comparison of distilling programs is shown."""

from __future__ import annotations

from ...cells import DASH, Cell, Row, Table
from ...derived import digits
from ...terminal import show as on_terminal
from ...terminal import table as terminal_table
from .record import Comparison, Contender


def table(found: Comparison) -> Table:
    """One row a program: speed, time to the same accuracy, and both against the first one's."""
    columns = [("", "program", ""), ("", "how", ""), ("", "examples/s", ""), ("", "time", "s")]
    columns += [("", "best accuracy", "dev × 100"), ("", "time to it", _target(found)), ("attar is", "faster", "")]
    columns += [("attar is", "sooner there", "")]
    rows = [
        Row([Cell(text) for text in cells(found, one)], "chosen" if not number else "", one.problem)
        for number, one in enumerate(found.contenders)
    ]
    caption = (
        f"{found.rows['train']:,} training rows, {found.rows['dev']:,} dev rows; the same teacher, first student, "
        f"losses and steps, {found.plan['threads']} threads, one program after the other on one machine. Times "
        "leave evaluations and loading out, and hold the teacher's answers. The accuracy that times are compared at is "
        "the best of the weakest program."
    )
    return Table("distillation", "Distilling programs side by side", caption, columns, rows)


def cells(found: Comparison, one: Contender) -> list[str]:
    """A program's row."""
    ours = found.contenders[0]
    if one.problem:
        return [one.name, one.about, *[DASH] * 6]
    target = found.target
    until = one.until(target) if target is not None else None
    own = ours.until(target) if target is not None and not ours.problem else None
    return [
        one.name,
        one.about,
        digits(one.rate),
        digits(one.seconds),
        f"{100 * one.best:.2f}",
        digits(until) if until is not None else DASH,
        f"{digits(ours.rate / one.rate)}×" if not ours.problem else DASH,
        f"{digits(until / own)}×" if until and own else DASH,
    ]


def _target(found: Comparison) -> str:
    return f"s to {100 * found.target:.2f}" if found.target is not None else ""


def show(found: Comparison) -> None:
    """The table on the terminal, and why a program has no figures."""
    made = terminal_table("program", ">examples/s", ">s", ">best", f">{_target(found)}", ">attar faster", ">sooner")
    for one in found.contenders:
        name, _, *rest = cells(found, one)
        made.add_row(name, *rest)
    notes = [f"{one.name}: {one.problem}" for one in found.contenders if one.problem]
    on_terminal(made, *notes)

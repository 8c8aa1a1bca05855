"""The progress of a run on stderr: a line for each finished stage, a bar for the one that runs.

Where stderr is no terminal, a line tells what a stage begins to do, such as to write so many bytes, and a line now and
then that the run is alive.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

Moved = Callable[[str, float, str], None]  # what is done, share done, a short remark
Finished = Callable[[str, float, bool], None]  # stage, seconds, was it reused
REMARK_SECONDS = 30.0  # between lines where stderr is no terminal


@contextlib.contextmanager
def stages(quiet: bool) -> Iterator[tuple[Moved, Finished]]:
    """The progress of a run on stderr: a line for each finished stage, a bar for the one that runs."""
    console = Console(stderr=True, quiet=quiet)
    share = TextColumn("{task.percentage:3.0f} %  {task.fields[remark]}")
    columns = (TextColumn("  {task.description:<18}"), BarColumn(), share)
    spoken, begun = time.monotonic(), set[str]()  # when a line was last written, and what was begun since a stage ended
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("reading", total=1.0, remark="")

        def moved(what: str, done: float, remark: str) -> None:
            nonlocal spoken
            bar.update(task, description=what, completed=done, remark=remark)
            if not console.is_terminal and (what not in begun or time.monotonic() - spoken > REMARK_SECONDS):
                spoken = time.monotonic()
                begun.add(what)
                console.print(f"  {what} {100 * done:.0f} %, {remark}", highlight=False)

        def finished(stage: str, seconds: float, reused: bool) -> None:
            detail = "reused" if reused else f"{seconds:.0f} s"
            console.print(f"[green]✓[/] {stage:<10} {detail}", highlight=False)
            bar.update(task, description="", completed=0, remark="")
            begun.clear()

        yield moved, finished

"""The stage `export`: every artefact that the recipe asks for, from a student and from its teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import recipe
from ..errors import AttarError, DiskFullError
from ..files import read_document, write_text
from ..tasks.task import Head
from .calibration import Rows
from .plans import Made, Plan, plans


def make(
    spec: recipe.Export,
    head: Head,
    teacher: Path | None,
    student: Path,
    folder: Path,
    progress: Callable[[str, float, str], None],
    rows: Rows,
) -> dict[str, Any]:
    """Fill `folder` with the artefacts; gives one card for each file and runtime, and what a reader must know.

    Without `teacher` they are the student's alone.
    """
    todo = plans(spec, head, teacher, student, rows)
    inputs: dict[str, list[Any]] = {}
    notes: dict[str, Made] = {}
    cards, remarks = [], []
    for number, plan in enumerate(todo):
        progress("export", number / len(todo), plan.file)
        family = "tflite" if plan.file.endswith(".tflite") else plan.of
        made, failure = _make_one(plan, folder)
        notes[plan.file] = made = notes.get(plan.source, made)
        if made.inputs:
            inputs[family] = [one.model_dump() for one in made.inputs]
        if made.matrices and plan.wanted:
            remarks.append(_mixture(plan.file, made))
        for place, runtime in enumerate(plan.runtimes if plan.wanted else ()):
            cards.append(
                {
                    "file": plan.file,
                    "of": plan.of,
                    "runtime": runtime,
                    "again": place > 0,  # the same file in a further runtime
                    "precision": plan.precision,
                    "length": plan.length,
                    "processor": plan.processor,
                    "bits": made.bits,
                    "matrices": [asdict(one) for one in made.matrices],
                    "bytes": None if failure else (folder / plan.file).stat().st_size,
                    "inputs": inputs.get(family, []),
                    "failure": failure,
                }
            )
    for plan in todo:
        (folder / f"{plan.file}.made").unlink(missing_ok=True)
    return {"artefacts": cards, "remarks": remarks}


def _make_one(plan: Plan, folder: Path) -> tuple[Made, str]:
    """Make one file; gives the reason where that fails, for one bad conversion does not spoil the others."""
    note = folder / f"{plan.file}.made"  # written after its file, so that an interrupted export goes on
    try:
        if not note.is_file():
            write_text(note, (plan.make(folder) or Made()).model_dump_json())
    except ImportError as error:
        return Made(), f"{error.name} is not installed"
    except DiskFullError:
        raise
    except AttarError as error:
        return Made(), "; ".join(part for part in (error.what, error.fix) if part)
    return read_document(Made, note, "note"), ""


def _mixture(file: str, made: Made) -> str:
    """What a mixed artefact keeps wide, in words."""
    wide = [one for one in made.matrices if one.wide]
    share = sum(one.elements for one in wide) / sum(one.elements for one in made.matrices)
    left, all_ = (sum(one.noise for one in ones) for ones in ([o for o in made.matrices if not o.wide], made.matrices))
    return (
        f"{file}: {len(wide)} of {len(made.matrices)} matrices ({100 * share:.0f} % of the weights) have 8 bits: "
        f"{', '.join(one.title for one in wide) or 'none'}; the noise of those of 4 bits is {left:.2g} of the logits' "
        f"variance, and would be {all_:.2g} without"
    )

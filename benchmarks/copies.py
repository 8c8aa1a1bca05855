"""Shared weights in every format: does a file hold them once?

    python -m attar.benchmarks.copies [albert-base] [--length 64] [--out docs/copies/albert-base.json]

- The shape's weights are random: what they cost needs no training.
- Every precision of ONNX, `.ort` and `.tflite` is made by the stage `export`'s own makers, calibrated on random pieces,
  and judged by the check that every export passes; `model.safetensors` stands beside them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, recipe
from ..errors import FAILED, AttarError, UsageError
from ..export import sizes
from ..files import write_json
from ..tasks.encoding import Features
from . import machine, terminal
from .copies_record import Copies, File, table
from .latency import Progress
from .record import Check, Model
from .rendering import grid

LABELS, ROWS = 2, 16
ONNX = ["fp32", "int8", "int8-static", "int4", "mixed"]
EVERY: dict[str, Any] = {
    "onnx": [*ONNX, "fp16"],
    "ort": ONNX,
    "tflite": ["fp32", "fp16", "int8", "int8-static", "int4"],
    "int4": {"embeddings": 4},
    "calibration": {"rows": ROWS},
}


def measure(shape: str, length: int, moved: Progress) -> Copies:
    """Make and judge every file of an untrained ALBERT classifier of this shape.

    Raises `UsageError` for a shape that is none of ALBERT's, or has several groups of layers.
    """
    from ..export import artefacts, proof
    from ..export.calibration import Rows
    from ..teachers import shapes

    sizes_of = shapes.shape(shape)
    if sizes_of.family != "albert" or sizes_of.groups != 1:
        raise UsageError("its layers do not all share their weights", where=shape, fix="name one of ALBERT's shapes")
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name) / shape, Path(name) / "files"
        shapes.save_untrained(shape, LABELS, folder)
        made.mkdir()
        counts, draw = sizes.count_parameters(folder), np.random.default_rng(0)
        pieces = draw.integers(5, sizes_of.vocabulary, (ROWS, length)).tolist()
        done = artefacts.make(
            recipe.Export.model_validate({**EVERY, "lengths": [length]}),
            "sequence",
            None,
            folder,
            made,
            lambda what, share, remark: moved(remark, round(100 * share), 100),
            Rows(lambda: [Features(one, [0] * length) for one in pieces], 0),
        )
        files = [_weights(folder / "model.safetensors", counts.total)]
        for card in done["artefacts"]:
            if not card["again"]:  # the same file in a further runtime
                row = proof.row(card, counts.total)
                check = None if card["failure"] else proof.sized(row, made / card["file"])
                files.append(_file(row, check, 0 if card["failure"] else sizes.scales_of(made / card["file"])))
    return Copies(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "attar.benchmarks.copies", *sys.argv[1:]]),
        machine=machine.describe(),
        model=shape,
        layers=sizes_of.layers,
        parameters=counts.total,
        unshared=counts.total + (sizes_of.layers - 1) * (counts.attention + counts.feed_forward),
        files=files,
    )


def _weights(path: Path, parameters: int) -> File:
    size = path.stat().st_size
    passed, said = sizes.total(size, parameters, 32)
    found = {"name": path.name, "precision": "fp32", "bits": 32.0, "bytes": size, "needed": 4 * parameters}
    return File(**found, once=passed, problem="" if passed else said)


def _file(row: Model, check: Check | None, scales: int = 0) -> File:
    """`check` is None where the file could not be made; `scales` are bytes that it needs beside its weights."""
    return File(
        name=row.name,
        precision=str(row.precision),
        bits=row.bits or 0.0,
        bytes=row.bytes or 0,
        needed=(row.parameter_bytes or 0) + scales,
        once=bool(check and check.passed),
        problem="" if check and check.passed else check.detail if check else "it could not be made",
    )


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show and keep; the exit code is that of the error, 1 where a weight stands twice, or 0."""
    parser = argparse.ArgumentParser(prog="python -m attar.benchmarks.copies", description=__doc__.partition("\n")[0])
    parser.add_argument("shape", nargs="?", default="albert-base", help="one of ALBERT's (albert-base)")
    parser.add_argument("--length", type=int, default=64, help="of the static files (64)")
    parser.add_argument("--out", type=Path, help="keep the document here")
    options = parser.parse_args(words)
    try:
        with terminal.progress(quiet=False) as moved:
            found = measure(options.shape, options.length, moved)
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    print(grid(table(found)))
    if options.out:
        write_json(options.out, found.model_dump(mode="json"))
        print(options.out)
    return 0 if all(one.once for one in found.files) else FAILED


if __name__ == "__main__":
    sys.exit(main())

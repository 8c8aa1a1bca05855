"""One peer at work: its script is run in its environment, and what it leaves takes part.

- ONNX files are run by attar's own ONNX Runtime, so that files are compared and not releases of a runtime; files of
  another runtime are run by the worker in the peer's environment.
- Calibration rows are training rows, evenly spread: no peer sees the rows that it is scored on.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from .... import recipe_file
from ....errors import AttarError
from ....files import read_document, write_text
from ....tasks import data, kinds
from ... import guests, outputs
from ...latency import Contender
from ...targets.host import HERE as OURS
from .. import environments
from . import PEERS

PACKAGES = Path(__file__).parents[1]  # where a peer's interpreter finds this package, as `export`
CALIBRATION_ROWS = 128
SECONDS = 1800
# No network, and nothing is told to anybody.
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1", "OLIVE_DISABLE_TELEMETRY": "1"}


class Made(BaseModel):
    """A file that a peer made."""

    name: str
    file: str
    precision: str
    runtime: str
    length: int | None = None


class Said(BaseModel):
    """What a script says; see `shared`."""

    made: list[Made]
    problems: list[str]
    versions: dict[str, str]


def run(name: str, of: Path, lengths: Sequence[int], work: Path, light: Path) -> tuple[list[Contender], Said]:
    """The models that the peer made of a run's student, and what it said.

    `work` keeps its files; `light` holds a link to this package. Raises `AttarError` where the peer does not install,
    or its script stops.
    """
    interpreter, out = environments.python(name), work / name
    out.mkdir()
    write_text(out / "calibration.jsonl", "".join(f"{json.dumps(row)}\n" for row in calibration(of)))
    places = [str(place.resolve()) for place in (of / "student", of / "bundle", out)]
    words = [str(interpreter), "-m", f"{PACKAGES.joinpath('export').name}.{PEERS[name]}", *places, *map(str, lengths)]
    said = _call(words, name, out)
    host = environments.Inside(interpreter, light)
    found = [
        Contender(
            made.name,
            out / made.file,
            made.runtime,
            made.length,
            host=OURS if made.runtime == "onnxruntime" else host,
            precision=made.precision,
        )
        for made in said.made
    ]
    return [guests.of_bundle(one, of / "bundle") for one in found], said


def calibration(of: Path) -> list[dict[str, Any]]:
    """Training rows of a run in its student's pieces."""
    recipe = recipe_file.load(of / "recipe.yaml")
    found = data.load(recipe.task, recipe.seed)
    task = kinds.KINDS[recipe.task.kind].build(recipe.task, found.train, found.labels)
    places = {int(place) for place in np.linspace(0, len(found.train) - 1, min(len(found.train), CALIBRATION_ROWS))}
    encoded = task.encode([found.train[place] for place in sorted(places)], outputs.encoder(of / "bundle"))
    return [{"input_ids": row.input_ids, "token_type_ids": row.token_type_ids} for row in encoded.features]


def _call(words: list[str], name: str, out: Path) -> Said:
    place = os.environ | QUIET | {"PYTHONPATH": str(PACKAGES)}
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS, env=place, cwd=out)
    except subprocess.TimeoutExpired:
        raise AttarError(f"it gave nothing within {SECONDS} s", where=name) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise AttarError(f"it stopped: {said[-1] if said else f'exit code {done.returncode}'}", where=name)
    return read_document(Said, out / "said.json", "peer's answer")

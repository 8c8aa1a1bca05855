"""Distilling programs side by side.

    python -m attar.benchmarks.peers.distillation RUN --rows 4000 --out docs/peers/distillation.json

RUN is a finished run with a teacher and a TinyBERT student (`attar distil recipes/sst2-tinybert.yaml`). Each contender
is given the same teacher, first student, rows, losses and steps, in a process of its own, one after the other:

- attar itself, through its own command;
- a plain PyTorch loop as the TinyBERT paper's script trains;
- TextBrewer as in its examples, and with batches padded to their longest row.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .... import __version__
from ....errors import AttarError, UsageError
from ....files import read_json, write_json
from ... import machine
from .. import environments
from .record import Comparison, Contender, Phase, Point
from .table import show
from .work import prepare

HERE = Path(__file__).parent
ABOUT = {
    "attar": "length buckets, the teacher's answers once",
    "plain": "PyTorch loop, padded to {length}, the teacher in every epoch",
    "TextBrewer": "padded to {length}, logits cached",
    "TextBrewer, short batches": "padded to the longest of a batch, logits cached",
}


def attar(work: Path) -> dict[str, Any]:
    """Ours: the stage `distil` of the command; its time is that of training and of the teacher's answers before it."""
    words = ["distil", str(work / "recipe.yaml"), "--out", str(work / "ours"), "--json"]
    record = json.loads(_call([sys.executable, "-m", "attar.cli", *words]))
    phases, overhead = [], 0.0
    for training in record["training"]:
        if training["stage"] != "distil":
            continue
        points, seconds = [], 0.0
        overhead += training["asked_seconds"]
        for epoch in training["epochs"]:
            seconds += epoch["seconds"]
            if "accuracy" in epoch["scores"]:
                points.append(Point(seconds=seconds, accuracy=epoch["scores"]["accuracy"]))
        examples = training["examples"] * round(training["epochs"][-1]["epoch"])
        phases.append(Phase(phase=training["phase"], examples=examples, seconds=seconds, points=points))
    return {"phases": phases, "overhead": overhead, "versions": {"attar": __version__}}


def script(work: Path, interpreter: Path | str, name: str, *words: str) -> dict[str, Any]:
    """A peer's script in its own environment."""
    out = work / f"{name}.json"
    _call([str(interpreter), "-m", f"{HERE.name}.{name}", str(work), str(out), *words], HERE.parent)
    found: dict[str, Any] = read_json(out)
    return found


def _call(words: list[str], packages: Path | None = None) -> str:
    """What a process prints; `packages` is where it finds the package of the scripts."""
    place = {"PYTHONPATH": str(packages)} if packages else {}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | place)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise AttarError(f"it stopped: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def compare(run: Path, rows: int, threads: int, command: str) -> Comparison:
    """All contenders, one after the other."""
    contenders: dict[str, Callable[[Path], dict[str, Any]]] = {
        "attar": attar,
        "plain": lambda work: script(work, sys.executable, "plain"),
        "TextBrewer": lambda work: script(work, environments.python("textbrewer"), "brewer", "padded"),
        "TextBrewer, short batches": lambda work: script(work, environments.python("textbrewer"), "brewer", "short"),
    }
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        plan = prepare(run, rows, threads, work)
        found = []
        for name, call in contenders.items():
            about = ABOUT[name].format(length=plan["length"])
            print(f"{name}: {about}", file=sys.stderr, flush=True)
            try:
                found.append(Contender.model_validate({"name": name, "about": about, **call(work)}))
            except AttarError as error:
                found.append(Contender(name=name, about=about, problem=error.line()))
    return Comparison(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        machine=machine.describe(),
        rows=plan.pop("rows"),
        plan=plan,
        contenders=found,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Compare, write the record, show the table; the exit code is 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.peers.distillation", description="Compare distillation.")
    parser.add_argument("run", type=Path, help="a finished run with a teacher and a tinybert student")
    parser.add_argument("--rows", type=int, default=4000, help="training rows (4000)")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="CPU threads (all cores)")
    parser.add_argument("--out", type=Path, help="the record, a JSON file")
    options = parser.parse_args(words)
    said = sys.argv[1:] if words is None else list(words)
    command = shlex.join(["python", "-m", "attar.benchmarks.peers.distillation", *said])
    try:
        if not (options.run / "recipe.yaml").is_file() or not (options.run / "teacher").is_dir():
            raise UsageError("this is no run with a teacher", where=str(options.run), fix="run `attar distil` first")
        found = compare(options.run, options.rows, options.threads, command)
        if options.out:
            write_json(options.out, found.model_dump(mode="json"))
        show(found)
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

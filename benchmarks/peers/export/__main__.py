"""The same student, exported and quantized by other programs, beside attar's own files, in one run.

    python -m attar.benchmarks.peers.export RUN --out docs/targets/peers.json

- Each program works in an environment of its own, and leaves ONNX files. A file becomes a bundle that differs from
  attar's in this file alone, so that all of them get the same texts, take turns in one measurement, and are scored on
  the same dev rows.
- A program that does not install, or fails, is among the problems.
- What is printed and kept is the form of `attar bench --target local --json`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .... import __version__
from ....errors import FAILED, AttarError, UsageError
from ....export import bundle as bundles
from ....export import manifest as manifests
from ....export.manifest import Artefact, Manifest
from ....files import inside, read_json, write_json
from ... import outputs, sites, target_tables, targets, terminal
from ...protocol import Protocol, quick
from ...record import Bench
from .. import environments

HERE = Path(__file__).parent


def optimum(run: Path, work: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """What Optimum makes of the student, by name, and what it said."""
    interpreter = environments.python("optimum")
    places = [str(place.resolve()) for place in (run / "student", run / "bundle", work)]
    words = [str(interpreter), str(HERE / "optimum_onnx.py"), *places]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise AttarError(f"it stopped: {said[-1] if said else f'exit code {done.returncode}'}", where="optimum")
    said = read_json(work / "said.json")
    return {name: work / file for name, file in said["made"].items()}, said


def dressed(file: Path, name: str, own: Path, folder: Path) -> Path:
    """A bundle like `own`, with this file as its only artefact; the folder bears the name."""
    card = manifests.load(own)
    alike = [one for one in card.artefacts if one.file.endswith(".onnx") and one.precision == name.split()[1]]
    artefact = (alike or [_int8(card)])[0].model_copy(update={"file": "model.onnx", "processors": []})
    changed = {"name": name, "artefacts": [artefact], "default": "model.onnx", "files": {}, "figures": {}}
    made = Manifest.model_validate(card.model_dump() | {key: _plain(value) for key, value in changed.items()})
    sources = {name: inside(own, name) for name in card.files if not name.endswith((".onnx", ".ort", ".tflite"))}
    place = folder / name.replace(" ", "-") / "bundle"
    place.mkdir(parents=True)
    bundles.build(place, made, sources | {"model.onnx": file})
    return place


def _int8(card: Manifest) -> Artefact:
    found = next((one for one in card.artefacts if one.file.endswith(".onnx") and one.precision == "int8"), None)
    if found is None or card.task.head != "sequence":
        what = "Optimum is compared on sequence classifiers with an int8 ONNX file"
        raise UsageError(what, where=card.name, fix="name another run")
    return found


def _plain(value: Any) -> Any:
    return [one.model_dump() for one in value] if isinstance(value, list) else value


def measure(run: Path, lengths: Sequence[int], threads: Sequence[int], protocol: Protocol) -> Bench:
    """Everything, in turns; the reference is the default of attar's bundle."""
    own, problems = run / "bundle", []
    _int8(manifests.load(own))  # before minutes are spent
    with tempfile.TemporaryDirectory() as place, terminal.progress(quiet=False) as moved:
        made: dict[str, Path] = {}
        loaded: dict[str, float] = {}
        try:
            made, said = optimum(run, Path(place))
            loaded = said["bundle"]
        except AttarError as error:
            problems.append(error.line())
        peers = [dressed(file, name, own, Path(place)) for name, file in made.items()]
        plan = sites.Plan([own, *peers], lengths, threads, protocol, every=True, rows=outputs.rows_of(run))
        site = sites.measure(targets.parse(["local"])[0], plan, moved)
    for name, largest in loaded.items():
        card = next(one for one in manifests.load(own).artefacts if one.file == name)
        if largest > card.golden_tolerance:
            problems.append(f"{name}: {largest:.3g} off in Optimum's class, {card.golden_tolerance:.3g} allowed")
    return Bench(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "attar.benchmarks.peers.export", *sys.argv[1:]]),
        targets=[site.model_copy(update={"problems": [*site.problems, *problems]})],
    )


def main() -> int:
    """Compare and show; the exit code is that of the error, or 0."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.peers.export", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder with a student and a bundle of one text classification")
    parser.add_argument("--length", type=int, nargs="+", default=[16, 64], help="pieces of the texts (16 64)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads (1)")
    parser.add_argument("--quick", action="store_true", help="one session of 100 queries")
    parser.add_argument("--out", type=Path, help="keep the document here")
    options = parser.parse_args()
    try:
        if not (options.run / "bundle" / manifests.NAME).is_file():
            raise UsageError("no bundle", where=str(options.run), fix="name a finished run, such as runs/trec")
        found = measure(options.run, options.length, options.threads, quick(100) if options.quick else Protocol())
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    terminal.show(*target_tables.site(found.targets[0]))
    for line in [*found.targets[0].problems, *found.targets[0].warnings]:
        print(line, file=sys.stderr)
    if options.out:
        write_json(options.out, found.model_dump(mode="json"))
        print(options.out)
    return FAILED if found.targets[0].problems else 0


if __name__ == "__main__":
    sys.exit(main())

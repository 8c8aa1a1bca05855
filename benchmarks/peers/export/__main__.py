"""The same student, exported and quantized by other programs, beside attar's own files, in one run.

    python -m attar.benchmarks.peers.export RUN --out docs/targets/peers.json

- Each program works in an environment of its own. What it leaves gets the same texts as attar's files, takes turns with
  them in one measurement, and is scored on the same dev rows.
- A program that does not install, or fails, is among the problems.
- What is printed and kept is the form of `attar bench --target local --json`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from .... import __version__
from ....errors import FAILED, AttarError, UsageError
from ....export import manifest as manifests
from ....files import write_json
from ... import outputs, sites, target_tables, targets, terminal
from ...latency import Contender
from ...protocol import Protocol, quick
from ...record import Bench
from ...targets.arm import PACKAGE
from . import PEERS, peer


def measure(
    run: Path, peers: Sequence[str], lengths: Sequence[int], threads: Sequence[int], protocol: Protocol
) -> Bench:
    """Everything, in turns; the reference is the default of attar's bundle."""
    bundle, problems = run / "bundle", []
    versions: dict[str, str] = {}
    made: list[Contender] = []
    with tempfile.TemporaryDirectory() as place, terminal.progress(quiet=False) as moved:
        work, light = Path(place) / "work", Path(place) / "light"
        for folder in (work, light):
            folder.mkdir()
        (light / "attar").symlink_to(PACKAGE)
        for number, name in enumerate(peers):
            moved(f"{name} exports", number, len(peers))
            try:
                found, said = peer.run(name, run, lengths, work, light)
            except AttarError as error:
                problems.append(error.line())
                continue
            made += found
            problems += said.problems
            versions |= said.versions
        plan = sites.Plan([bundle], lengths, threads, protocol, every=True, rows=outputs.rows_of(run), guests=made)
        site = sites.measure(targets.parse(["local"])[0], plan, moved)
    machine = site.machine | {"versions": versions | site.machine.get("versions", {})}
    return Bench(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", "attar.benchmarks.peers.export", *sys.argv[1:]]),
        targets=[site.model_copy(update={"machine": machine, "problems": [*site.problems, *problems]})],
    )


def check(run: Path) -> None:
    """`UsageError` for what the peers cannot be compared on, before minutes are spent."""
    if not (run / "bundle" / manifests.NAME).is_file():
        raise UsageError("no bundle", where=str(run), fix="name a finished run, such as runs/trec")
    if manifests.load(run / "bundle").task.head != "sequence":
        raise UsageError("peers are compared on classifiers of a text", where=str(run), fix="name another run")


def main(words: Sequence[str] | None = None) -> int:
    """Compare and show; the exit code is that of the error, or 0."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.peers.export", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder with a student and a bundle of one text classification")
    parser.add_argument("--peer", action="append", choices=PEERS, help="a program, as often as there are (all)")
    parser.add_argument("--length", type=int, nargs="+", default=[16, 64], help="pieces of the texts (16 64)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads (1)")
    parser.add_argument("--quick", action="store_true", help="one session of 100 queries")
    parser.add_argument("--out", type=Path, help="keep the document here")
    options = parser.parse_args(words)
    protocol = quick(100) if options.quick else Protocol()
    try:
        check(options.run)
        found = measure(options.run, options.peer or list(PEERS), options.length, options.threads, protocol)
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

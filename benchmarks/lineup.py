"""From BERT-base to the smallest student, beside each other: what a person gains by each step down.

    python -m attar.benchmarks.lineup RUN RUN … --out docs/targets/lineup.json
    python -m attar.benchmarks.lineup RUN RUN … --target arm:cortex-a53 --target arm:cortex-a76 --length 64

- The first model, to which all speeds refer, has BERT-base's shape and random weights: its cost needs no training.
- Then the first run's teacher, and every run's student, each in float32 and with dynamic int8, in ONNX Runtime: the
  run's own files, made anew where they are not there. The file that a run chose is there too, whatever it is. Each gets
  the golden texts of its own run in its own pieces, and all take turns.
- The machine's peak is measured in the same run, so that each model's share of it is known.
- On an emulated processor instructions are counted in the place of times, and the trained models are scored on the dev
  rows of their runs: what they would answer there.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from .. import __version__, recipe_file
from ..errors import FAILED, AttarError, UsageError
from ..export import manifest as manifests
from ..files import write_json
from . import compare, guests, outputs, sites, target_tables, targets, terminal
from .latency import Contender, Progress
from .protocol import Protocol, quick
from .record import Bench, Site
from .targets import Target


@dataclass(frozen=True)
class Plan:
    """What is measured; `rows` limits the dev rows that are scored on an emulated processor."""

    shape: str
    lengths: Sequence[int]
    threads: Sequence[int]
    protocol: Protocol
    rows: int | None = None


def measure(runs: Sequence[Path], asked: Sequence[Target], plan: Plan, moved: Progress) -> list[Site]:
    """All of them on each target, after an untrained model of the named shape; one that fails is a problem told."""
    for run in runs:
        needed = [run / "bundle" / manifests.NAME, run / "recipe.yaml", run / "teacher"]
        if missing := [path for path in needed if not path.exists()]:
            raise UsageError("not a finished run", where=str(missing[0]), fix="name a run's folder, such as runs/trec")
        if manifests.load(run / "bundle").task.head != "sequence":
            raise UsageError("the models that stand beside each other are classifiers", where=str(run))
    from ..teachers import shapes

    labels = len(manifests.load(runs[0] / "bundle").task.labels)
    with tempfile.TemporaryDirectory() as name:
        work, models = Path(name), list[Contender]()
        shapes.save_untrained(plan.shape, labels, work / plan.shape)
        sources = [(f"{plan.shape} untrained", work / plan.shape, runs[0])]
        sources += [(f"teacher of {runs[0].name}", runs[0] / "teacher", runs[0])]
        sources += [(run.name, run / recipe_file.load(run / "recipe.yaml").student_folder, run) for run in runs]
        for number, (title, folder, run) in enumerate(sources):
            moved(f"exports {title}", number, len(sources))
            own = run / "artefacts" / "teacher.onnx" if number == 1 else run / "bundle" / "model.onnx"
            made = _both(title, folder, run, plan.lengths, own if number else None, work / f"{number}.onnx")
            made += _chosen(title, made[0], run / "bundle", [one.path.name for one in made]) if number > 1 else []
            models += [guests.of_bundle(one, run / "bundle") for one in made] if number > 1 else made
        return [_on(target, models, runs, plan, moved) for target in asked]


def _on(target: Target, models: Sequence[Contender], runs: Sequence[Path], plan: Plan, moved: Progress) -> Site:
    """The models on one target."""
    if target.kind == "local":
        timed = compare.compare(models, plan.threads, plan.protocol, moved, lambda line: None, with_floor=True)
        return compare.placed(models, timed)
    site = Site(target=target.word, measures=target.measures)
    rows = {run / "bundle": outputs.rows_of(run, plan.rows) for run in runs}
    try:
        with target.open() as host:
            site = site.model_copy(update={"machine": sites.describe(host)})
            there = [replace(model, host=host) for model in models]
            scored = {model.name: rows[model.bundle] for model in there[2:] if model.bundle}  # two are untrained
            sites.fill(site, there, lambda model: scored.get(model.name), {}, moved)
    except AttarError as error:
        site.problems.append(f"{target.word}: {error.line()}")
    return site


def _both(title: str, folder: Path, run: Path, lengths: Sequence[int], own: Path | None, made: Path) -> list[Contender]:
    """A model in float32 and in int8, with the texts of a run; `own` is its file where that is there already."""
    from ..compress import quantization
    from ..export import onnx

    path = own if own and own.is_file() else made
    if path is made:
        onnx.export_fp32(folder, path)
    small = path.with_name(f"{path.stem}-int8.onnx")
    if not small.is_file():
        small = made.with_name(f"{made.stem}-int8.onnx")
        quantization.onnx_dynamic_int8(path, small)
    texts, card = compare.sequences(run / "bundle"), manifests.load(run / "bundle")
    given = compare.queries(texts, card, None, lengths)
    own_pieces = folder / "tokenizer.json" if folder.name == "teacher" else None  # a student's are its bundle's
    plain = Contender(f"{title} fp32", path, "onnxruntime", None, given, bundle=run / "bundle", tokenizer=own_pieces)
    return [plain, replace(plain, name=f"{title} int8", path=small, precision="int8")]


def _chosen(title: str, beside: Contender, bundle: Path, known: Sequence[str]) -> list[Contender]:
    """A bundle's default, with the texts of the contender `beside` it; none where it is one of those that are known."""
    card = manifests.load(bundle)
    one = next(artefact for artefact in card.artefacts if artefact.file == card.default)
    if one.file in known:
        return []
    name, path = f"{title} {one.file}", bundle / one.file
    fixed = replace(beside, name=name, path=path, runtime=one.runtime, length=one.length, precision=one.precision)
    texts = compare.queries(compare.sequences(bundle), card, one.length, [one.length]) if one.length else beside.queries
    return [replace(fixed, queries=texts)]


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show and keep; the exit code is that of the error, or 0."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.lineup", description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs of classifiers; the first brings the teacher")
    parser.add_argument("--shape", default="bert-base", help="of the first model (bert-base)")
    parser.add_argument("--length", type=int, nargs="+", default=[16, 64, 128], help="pieces of the texts (16 64 128)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    parser.add_argument("--queries", type=int, default=Protocol().queries, help="at the least, of each model")
    parser.add_argument("--target", action="append", help="local, or emulated as arm:cortex-a76; as often as there are")
    parser.add_argument("--rows", type=int, help="on emulated processors score at most so many dev rows")
    parser.add_argument("--quick", action="store_true", help="one session of 100 queries, to look and not to publish")
    parser.add_argument("--out", type=Path, help="keep the document here")
    options = parser.parse_args(words)
    try:
        protocol = quick(100) if options.quick else replace(Protocol(), queries=options.queries)
        asked = targets.parse(options.target or ["local"])
        if strange := next((one.word for one in asked if one.kind not in ("local", "arm", "x86")), None):
            raise UsageError("models are made here and are not sent elsewhere", where=strange, fix="see attar bench")
        plan = Plan(options.shape, options.length, options.threads, protocol, options.rows)
        with terminal.progress(quiet=False) as moved:
            found = measure(options.runs, asked, plan, moved)
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    for site in found:
        terminal.show(*target_tables.site(site))
        for line in [*site.problems, *site.warnings]:
            print(line, file=sys.stderr)
    if options.out:
        document = Bench(
            attar=__version__,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=shlex.join(["python", "-m", "attar.benchmarks.lineup", *sys.argv[1:]]),
            targets=found,
        )
        write_json(options.out, document.model_dump(mode="json"))
        print(options.out)
    return FAILED if any(site.problems for site in found) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The commands for a bundle: answer, check, time."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from .. import __version__
from ..errors import FAILED, AttarError, UsageError
from .common import Count, Flag, Lengths, Numbers, Paths, app, fail, print_json, set_up

if TYPE_CHECKING:  # a command loads only what it does
    from ..benchmarks.protocol import Protocol


@app.command
def predict(
    bundle: Path,
    text: str | None = None,
    /,
    *,
    pair: Annotated[str | None, Parameter(name=("--pair", "--context"))] = None,
    candidates: Annotated[list[str], Parameter(name="--candidate", negative="", show_default=False)] = [],  # noqa: B006
    ask: str = "",
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    artefact: str | None = None,
    threads: Count = 1,
    max_pieces: Count | None = None,
    temperature: float | None = None,
    top_k: Count | None = None,
    seed: int = 0,
    serve: Flag = False,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8000,
    json: Flag = False,
) -> int:
    """Answer a text, a pair of texts, or a question with its context or its candidates, with a bundle's model.

    A model of sentence embeddings compares a pair, and gives a text its vector.
    A language model goes on with the text: greedily, or drawn where a temperature or a number of pieces is given.

    Args:
        bundle: the bundle's folder
        text: what to answer
        pair: the second text, for a model that reads or compares pairs; the context of a question
        candidates: one of a question's candidates, as often as there are
        ask: the name of a classification that the model was taught as a question
        file: texts to answer, one a line, `-` for stdin; pairs, contexts and candidates stand behind tabs
        artefact: which file of the bundle answers, its default where not given
        max_pieces: the most pieces that a language model adds, 64 where not given and where it has the room
        temperature: logits are divided by it before a piece is drawn
        top_k: draw from so many of the likeliest pieces
        seed: of the draw
        serve: show the bundle's phone app on this machine's own address, until it is interrupted
        port: of that address, a free one for 0
        json: print one JSON document
    """
    if serve:
        given = (text, file, pair, candidates or None, ask or None, max_pieces, temperature, top_k, json or None)
        return _serve(bundle, artefact, port, given)
    from ..benchmarks import terminal, wording
    from ..export import manifest
    from ..export.answers import Asked
    from ..export.predict import Predictor, read_texts

    if (text is None) == (file is None):
        raise UsageError("give a text, or --file", where="attar predict")
    if file is not None and (pair is not None or candidates):
        raise UsageError("with --file its lines hold all texts, with tabs between", where="attar predict")
    drawn = {name: value for name, value in (("temperature", temperature), ("top_k", top_k)) if value is not None}
    if manifest.load(bundle).task.head == "lm":
        if pair is not None or candidates or ask:
            raise UsageError("a language model goes on with a single text", where="attar predict")
        return _go_on(bundle, text, str(file), artefact, threads, max_pieces, drawn, seed, json)
    if drawn or max_pieces:
        raise UsageError("the model answers, and goes on with no text", where="attar predict")
    predictor = Predictor(bundle, artefact, threads)
    card = predictor.manifest.task
    rows = read_texts(str(file), card, ask) if text is None else [Asked(text, pair, tuple(candidates), ask)]
    answers = predictor.stream(rows)
    if json:
        documents = [answer.document() for answer in answers]
        return print_json(documents if text is None else documents[0])
    for answer in answers:
        terminal.show(*wording.answer(answer, detailed=text is not None))
    return 0


def _serve(bundle: Path, artefact: str | None, port: int, words: tuple[object, ...]) -> int:
    """Show the phone app in a browser of this machine."""
    import tempfile

    from ..demo import serve, site

    if any(word is not None for word in words):
        raise UsageError("with --serve texts and choices are typed in the page", where="attar predict")
    with tempfile.TemporaryDirectory(prefix="attar-") as space:
        made = site.build(bundle, Path(space) / "site", artefact)
        with serve.SiteServer(made.folder, port) as server:
            print(server.url, flush=True)
            server.serve_forever()
    return 0


def _go_on(
    bundle: Path,
    text: str | None,
    file: str,
    artefact: str | None,
    threads: int,
    max_pieces: int | None,
    drawn: dict[str, Any],
    seed: int,
    json: bool,
) -> int:
    """Go on with one text, or with each line of a file, and print what was added."""
    from ..export.answers import Asked
    from ..export.continuation import Continuer
    from ..export.predict import read_texts
    from ..recipe_file import check
    from ..tasks.decoding import Decoding

    decoding = check(Decoding, {"method": "sample", **drawn}, where="attar predict") if drawn else Decoding()
    model = Continuer(bundle, artefact, threads)
    rows = [Asked(text)] if text is not None else read_texts(file, model.manifest.task)
    most = max_pieces or min(64, model.card.positions // 2)
    found = [model.go_on(row.text, most, decoding, seed) for row in rows]
    if json:
        documents = [one.document() for one in found]
        return print_json(documents if text is None else documents[0])
    for one in found:
        print(one.text + one.continuation)
    return 0


@app.command
def verify(bundle: Path, /, *, json: Flag = False, quiet: Flag = False) -> int:
    """Check every file of a bundle, its tokenizer, and each model's answers in its own runtime."""
    from ..benchmarks import terminal
    from ..export import bundle as bundles

    with terminal.busy(f"verifying {bundle}", quiet or json):
        checks = bundles.verify(bundle)
    failed = sum(not check.passed for check in checks)
    if json:
        print_json({"passed": not failed, "checks": [check.model_dump() for check in checks]})
    else:
        terminal.show(terminal.checks(checks))
    if failed:
        raise AttarError(f"{failed} of {len(checks)} checks failed", where=str(bundle))
    return 0


@app.command
def bench(
    bundles: Paths,
    /,
    *,
    length: Lengths = (),
    threads: Numbers = (1,),
    queries: Count | None = None,
    quick: Flag = False,
    offline: Flag = False,
    floor: Flag = False,
    all: Flag = False,
    targets: Annotated[list[str], Parameter(name="--target", negative="", show_default=False)] = [],  # noqa: B006
    score: Annotated[Path | None, Parameter(show_default=False)] = None,
    rows: Annotated[Count | None, Parameter(show_default=False)] = None,
    folders: Annotated[list[Path], Parameter(name="--torch", negative="", show_default=False)] = [],  # noqa: B006
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Time models in turns, and measure what loading them costs; the first is the reference.

    With a target the models are measured there, and their answers are compared with the golden examples.
    An emulated ARM processor gives counted instructions, which are no time, an emulated x86 its answers alone.

    Args:
        bundles: folders of bundles; each takes part with its default artefact
        length: pieces in a text, `own` for each text as long as it is; own,16,64 where the models read so many
        threads: numbers of threads, such as 1,2; one where not given
        queries: timed inferences of each model, 1024 where not given, 100 where quick
        quick: one session without intervals, to look and not to publish
        offline: measure throughput too, in batches of 1, 8 and 32
        floor: measure this machine's peak too, and show how much of it each model reaches
        all: take every artefact of the bundles
        targets: where: local, arm:cortex-a76, x86:haswell, ssh://user@host, adb:SERIAL; as often as there are
        score: a run whose dev rows are scored on every target too
        rows: at most so many of them, evenly spread
        folders: a model's own folder, such as runs/NAME/student, in PyTorch, eager and compiled; as often as there are
        json: print one JSON document
        quiet: show no progress
    """
    from ..benchmarks import compare, protocol, terminal

    plan = protocol.quick(queries or 100) if quick else protocol.Protocol(queries or protocol.Protocol.queries)
    if rows and not score:
        raise UsageError("--rows goes with --score", where="attar bench")
    if targets or score or folders:
        if offline or floor:
            name, other = "--offline" if offline else "--floor", "--torch" if folders else "--target"
            raise UsageError(f"{name} is of bundles on this machine, and goes with no {other}", where="attar bench")
        if folders and set(targets) - {"local"}:
            raise UsageError("--torch goes with the target local alone", where="attar bench")
        return _on_targets(bundles, length, threads, plan, all, targets, score, rows, folders, json, quiet)
    problems: list[str] = []
    models = compare.contenders(bundles, length, every=all, failed=problems.append)
    taking = list(dict.fromkeys(model.bundle for model in models if model.bundle))
    queues = compare.waiting(taking, models) if offline else ()
    with terminal.progress(quiet or json) as moved:
        found = compare.compare(models, threads, plan, moved, lambda line: None, queues=queues, with_floor=floor)
    found.problems[:0] = problems
    if json:
        print_json(compare.document(models, found))
    else:
        sizes = {model.name: (model.path.stat().st_size, compare.gzipped(model.path)) for model in models}
        terminal.show(*terminal.comparison(found, models[0].name, sizes))
    for problem in found.problems:
        fail(problem, FAILED)
    for note in compare.unrun(models, length):
        fail(note, 0)
    for warning in found.warnings():
        fail(f"a noisy run: {warning}", 0)
    return FAILED if found.problems else 0


def _on_targets(
    bundles: list[Path],
    length: tuple[int, ...],
    threads: tuple[int, ...],
    protocol: Protocol,
    every: bool,
    words: list[str],
    score: Path | None,
    rows: int | None,
    folders: list[Path],
    json: bool,
    quiet: bool,
) -> int:
    """Measure on each target in turn and print what was found there as soon as it is."""
    from ..benchmarks import guests, outputs, sites, target_tables, targets, terminal
    from ..benchmarks.record import Bench

    asked = targets.parse(words or ["local"])
    scored = outputs.rows_of(score, rows) if score else None
    plan = sites.Plan(bundles, length, threads, protocol, every, scored, guests.folders(folders, bundles[0]))
    sites.check(asked, plan)
    found = []
    for target in asked:
        with terminal.progress(quiet or json) as moved:
            site = sites.measure(target, plan, moved)
        found.append(site)
        if not json:
            terminal.show(*target_tables.site(site))
        for problem in site.problems:
            fail(problem, FAILED)
        for note in site.notes:
            fail(f"{site.target}: {note}", 0)
        for warning in site.warnings:
            fail(f"a noisy run: {site.target}: {warning}", 0)
    if json:
        told = {
            "attar": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": shlex.join(["attar", *sys.argv[1:]]),
        }
        print_json(Bench(**told, targets=found).model_dump(mode="json"))
    return FAILED if any(site.problems for site in found) else 0


@app.command
def arm_setup(*, json: Flag = False, quiet: Flag = False) -> int:
    """Fetch what `attar bench --target arm:…` (and `x86:…`) needs from Debian and PyPI, without root, into one folder.

    The folder is ~/.cache/attar/arm, or $ATTAR_ARM; about 110 MB are fetched, and 400 MB are on disk.

    Args:
        json: print one JSON document
        quiet: do not say what is fetched
    """
    from ..benchmarks.targets import arm, arm_setup

    return set_up(arm.home(), arm_setup.make, json, quiet)

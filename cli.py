"""The command line: parse, call, print.

- Commands import what they need when they run: `attar --help` is quick, and a light installation works.
- Results go to stdout, everything else to stderr; `--json` prints one JSON document and nothing more.
- Every failure is one line, `attar: where: what; fix`. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 budget
  missed, 130 interrupted. `ATTAR_DEBUG=1` adds the traceback of what is our own mistake.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter, Token, validators

from . import __version__
from .errors import BUDGET_MISSED, FAILED, USAGE, AttarError, UsageError, not_installed

app = App(
    name="attar",
    help="From a BERT teacher, data and a budget to a small, measured model that runs on a phone.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` says what happened
)


def _numbers(kind: Any, tokens: Sequence[Token]) -> tuple[int, ...]:  # noqa: ARG001 - cyclopts gives both
    """`16,64` as numbers, each once, in their order."""
    words = [word.strip() for token in tokens for word in token.value.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(f"{','.join(words)!r} is not a list of whole numbers, such as 16,64")
    return tuple(dict.fromkeys(int(word) for word in words))


Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Numbers = Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, negative="", show_default=False)]
Paths = Annotated[list[Path], Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]


Settings = Annotated[list[str], Parameter(name="--set", negative="", show_default=False)]
Out = Annotated[Path | None, Parameter(show_default=False)]


@app.command
def compress(
    recipe: Path,
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    max_size: str | None = None,
    max_latency: str | None = None,
    max_drop: float | None = None,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Run a recipe: teach, distil, export, verify, measure, bundle, report.

    A run that was stopped goes on where it was; finished stages are reused.

    Args:
        recipe: a recipe file, or the name of a ready one
        out: the run's folder, runs/NAME where not given
        settings: KEY=VALUE, such as student.layers=4; any key of the recipe, as often as needed
        max_size: limit on the model file, such as 12MB
        max_latency: limit on the median latency, such as 15ms
        max_drop: limit on the points lost against the teacher
        json: print the run record as one JSON document
        quiet: show no progress
    """
    limits = {"max_size": max_size, "max_latency": max_latency, "max_drop": max_drop}
    stated = [f"budget.{name}={value}" for name, value in limits.items() if value is not None]
    from .benchmarks import outcome, record, terminal

    folder, _ = _run(recipe, out, [*settings, *stated], "bundle", quiet or json)
    found = record.load(folder)
    if json:
        _print_json(found.model_dump(mode="json"))
    else:
        terminal.show(*outcome.run(found, folder))
    missed = [limit for limit in found.limits if not limit.met]
    return BUDGET_MISSED if missed else 0


@app.command
def teach(
    recipe: Path,
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Fine-tune a recipe's teacher, and stop there."""
    return _show_stage(recipe, out, settings, "teach", "teacher", json, quiet)


@app.command
def distil(
    recipe: Path,
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Teach and distil a recipe's student, and stop there."""
    return _show_stage(recipe, out, settings, "distil", "student", json, quiet)


@app.command
def export(
    recipe: Path,
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Make a recipe's artefacts and prove each in its own runtime, and stop there."""
    return _show_stage(recipe, out, settings, "verify", "artefacts", json, quiet)


def _run(path: Path, out: Path | None, settings: Sequence[str], until: str, quiet: bool) -> tuple[Path, Any]:
    """Run a recipe up to a stage; gives the run's folder and the results by stage."""
    from . import pipeline
    from .benchmarks import progress
    from .processes import launched
    from .recipe_file import load

    spec = load(path, settings)
    _need_training_libraries()
    folder = out or Path("runs") / spec.name
    command = shlex.join(["attar", *sys.argv[1:]])
    first = launched().first
    with progress.stages(quiet or not first) as (moved, finished), _resumable():
        context = pipeline.run(spec, folder, until=until, progress=moved, finished=finished, command=command)
    if not first:
        raise SystemExit(0)  # it helped, and the first process shows what was made
    return folder, context.results


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    """Tell how a stopped run goes on, and which library is missing."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where this one stopped") from None
    except ModuleNotFoundError as error:  # a library that one stage needs, such as a converter
        if (error.name or "attar").split(".")[0] == "attar":
            raise
        raise not_installed(error.name or "a library") from error


def _need_training_libraries() -> None:
    """Tell before anything is made that this is the light installation; nothing is imported for it."""
    for name in ("torch", "transformers", "safetensors", "onnx"):
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise not_installed(name)


def _show_stage(
    path: Path, out: Path | None, settings: Sequence[str], stage: str, name: str, json: bool, quiet: bool
) -> int:
    from .benchmarks import outcome, record, terminal

    folder, results = _run(path, out, settings, stage, quiet or json)
    if json:
        return _print_json(record.load(folder).model_dump(mode="json"))
    if "knowledge" in results:
        terminal.show(*outcome.knowledge(results["knowledge"]))
    terminal.show(*outcome.stage(results, stage, folder / name))
    return 0


@app.command
def study(path: Path, /, *, out: Out = None, json: Flag = False, quiet: Flag = False) -> int:
    """Run a study: one recipe with parts changed, a run for every row and column of a table.

    Args:
        path: a study file, or the name of a ready one
        out: the study's folder, runs/NAME where not given
        json: print the study's record as one JSON document
        quiet: show no progress
    """
    from . import study as studies
    from .benchmarks import outcome, progress, terminal
    from .processes import launched

    if launched().count > 1:
        raise UsageError("several processes only pre-train", where="attar study", fix="start one process")
    spec = studies.load(path)
    _need_training_libraries()
    folder = out or Path("runs") / spec.name
    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished), _resumable():
        found = studies.run(spec, folder, progress=moved, finished=finished, command=command)
    if json:
        _print_json(found.model_dump(mode="json"))
    else:
        terminal.show(*outcome.study(found, folder))
    return FAILED if any(one.problem for one in found.results) else 0


@app.command
def glue(
    *,
    teacher: str | None = None,
    out: Path = Path("runs/glue"),
    until: Literal["teach", "distil", "bundle"] = "distil",
    settings: Settings = [],  # noqa: B006 - never changed
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Run the ready recipes of GLUE's nine tasks, and print the GLUE table with the average.

    Each task is a run of its own; one without its files under $ATTAR_DATA is skipped, one that fails is named.

    Args:
        teacher: the model they start from, minilm where not given
        out: the folder of the runs, and of glue.json
        until: the stage after which each run stops
        settings: KEY=VALUE, such as student.layers=4; for every task, as often as needed
        json: print the table as one JSON document
        quiet: show no progress
    """
    from . import glue as tables
    from .benchmarks import progress, terminal

    recipes = tables.recipes(teacher, settings)
    _need_training_libraries()
    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished), _resumable():
        found = tables.run(recipes, out, until=until, progress=moved, finished=finished, command=command)
    if json:
        _print_json(tables.document(found))
    else:
        terminal.show(*tables.show(found, out))
    failed = [line for line in found.tasks if line.status == "failed"]
    for line in failed:
        _fail(f"{line.name}: {line.reason}", FAILED)
    return FAILED if failed else 0


@app.command
def score(
    models: Annotated[list[str], Parameter(negative="")],
    /,
    *,
    out: Out = None,
    settings: Settings = [],  # noqa: B006 - never changed
    limit: Count | None = None,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Score models as they are on a score sheet, or on a recipe's dev and test rows.

    Args:
        models: model folders, run folders or hub ids, and at last the sheet: a file, or the name of a ready one
        out: a JSON file for the scores; plots are written beside it
        settings: KEY=VALUE of the sheet or the recipe, such as seed=1
        limit: score only so many rows of everything, for a quick look
        json: print the scores as one JSON document
        quiet: show no progress
    """
    from .benchmarks import progress, terminal
    from .scores import sheet

    *names, last = models
    asked, where = sheet.load(Path(last), settings)
    if out is not None and out.is_dir():
        raise UsageError("this is a folder", where=str(out), fix="name a file with --out")
    _need_training_libraries()
    from .scores import plot, record, run, tables

    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished):
        found = run.run(names, asked, where, limit=limit, progress=moved, finished=finished, command=command)
    pictures = []
    if out is not None:
        record.save(found, out)
        pictures = plot.save(found, out)
    if json:
        return _print_json(found.model_dump(mode="json"))
    terminal.show(*tables.tables(found), *(str(place) for place in pictures))
    return 0


@app.command(name="continue")
def go_on(
    model: str,
    text: str,
    /,
    *,
    method: Literal["greedy", "beam", "sample"] | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    beams: int | None = None,
    count: Count = 1,
    max_pieces: Count = 64,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    json: Flag = False,
) -> int:
    """Let a language model go on with a text.

    Args:
        model: a GPT's folder, a run folder or a hub id
        text: what it goes on with
        method: how pieces are chosen; found out from the other options, and else greedy
        temperature: below 1 the likelier pieces are drawn more often (sample)
        top_k: draw from so many of the likeliest pieces (sample)
        top_p: draw from the fewest pieces that hold this share of the probability (sample)
        beams: texts that a beam search keeps, 4 where not given
        count: how many texts; of a beam search its best, greedy has one
        max_pieces: the most pieces of a text
        seed: of the draw; one seed gives the same texts
        json: print one JSON document
    """
    from pydantic import ValidationError

    from .tasks.decoding import Decoding

    sampled = count > 1 or (temperature, top_k, top_p) != (None, None, None)
    method = method or ("beam" if beams is not None else "sample" if sampled else "greedy")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "beams": beams}
    stated = {name: value for name, value in options.items() if value is not None}
    try:
        way = Decoding.model_validate({"method": method} | stated)
    except ValidationError as error:
        problem = error.errors()[0]
        key = "".join(f"--{part}: ".replace("_", "-") for part in problem["loc"])
        raise UsageError(f"{key}{problem['msg'].removeprefix('Value error, ')}", where="attar continue") from None
    _need_training_libraries()
    from .scores.subject import subjects
    from .teachers.continuation import continuations

    (subject,) = subjects([model], ("pretrained", "teacher"))
    found = continuations(subject.lm, text, way, max_new=max_pieces, count=count, seed=seed)
    if json:
        return _print_json({"prompt": text, "way": way.name, "seed": seed, "continuations": found})
    for number, continuation in enumerate(found):
        print(*[""] * bool(number), text + continuation, sep="\n")
    return 0


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
    json: Flag = False,
) -> int:
    """Answer a text, a pair of texts, or a question with its context or its candidates, with a bundle's model.

    Args:
        bundle: the bundle's folder
        text: what to answer
        pair: the second text, for a model that reads pairs; the context of a question
        candidates: one of a question's candidates, as often as there are
        ask: the name of a classification that the model was taught as a question
        file: texts to answer, one a line, `-` for stdin; pairs, contexts and candidates stand behind tabs
        artefact: which file of the bundle answers, its default where not given
        json: print one JSON document
    """
    from .benchmarks import terminal, wording
    from .export.answers import Asked
    from .export.predict import Predictor, read_texts

    if (text is None) == (file is None):
        raise UsageError("give a text, or --file", where="attar predict")
    if file is not None and (pair is not None or candidates):
        raise UsageError("with --file its lines hold all texts, with tabs between", where="attar predict")
    predictor = Predictor(bundle, artefact, threads)
    card = predictor.manifest.task
    rows = read_texts(str(file), card, ask) if text is None else [Asked(text, pair, tuple(candidates), ask)]
    answers = predictor.stream(rows)
    if json:
        documents = [answer.document() for answer in answers]
        return _print_json(documents if text is None else documents[0])
    for answer in answers:
        terminal.show(*wording.answer(answer, detailed=text is not None))
    return 0


@app.command
def verify(bundle: Path, /, *, json: Flag = False, quiet: Flag = False) -> int:
    """Check every file of a bundle, its tokenizer, and each model's answers in its own runtime."""
    from .benchmarks import terminal
    from .export import bundle as bundles

    with terminal.busy(f"verifying {bundle}", quiet or json):
        checks = bundles.verify(bundle)
    failed = sum(not check.passed for check in checks)
    if json:
        _print_json({"passed": not failed, "checks": [check.model_dump() for check in checks]})
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
    length: Numbers = (),
    threads: Numbers = (1,),
    queries: Count = 200,
    warmup: Count = 10,
    all: Flag = False,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Time models in turns, and measure what loading them costs; the first is the reference.

    Args:
        bundles: folders of bundles; each takes part with its default artefact
        length: pieces in a text, 16,64 where the models read so many
        threads: numbers of threads, such as 1,2; one where not given
        queries: timed inferences of each model
        warmup: inferences before the clock counts
        all: take every artefact of the bundles
        json: print one JSON document
        quiet: show no progress
    """
    from .benchmarks import compare, terminal

    models = compare.contenders(bundles, length, every=all)
    problems: list[str] = []
    with terminal.progress(quiet or json) as moved:
        found = compare.compare(models, threads, warmup, queries, moved, problems.append)
    if json:
        _print_json(compare.document(models, found) | {"problems": problems})
    else:
        sizes = {model.name: model.path.stat().st_size for model in models}
        terminal.show(terminal.latencies(compare.rows(found), models[0].name), terminal.costs(found, sizes))
    for problem in problems:
        _fail(problem, FAILED)
    return FAILED if problems else 0


@app.command
def inspect(model: Path, /, *, json: Flag = False) -> int:
    """Show the parameters and bytes of a model folder, a model file, a bundle or a run, by part."""
    from .benchmarks import inspection, terminal

    found = inspection.inspect(model)
    if json:
        return _print_json(found.document())
    terminal.show(*terminal.inspection(found))
    return 0


@app.command
def doctor(*, json: Flag = False, quiet: Flag = False) -> int:
    """Show what is installed, what this processor can do, and what is missing."""
    from .benchmarks import doctor, terminal

    with terminal.busy("looking at the runtimes", quiet or json):
        found = doctor.examine()
    if json:
        _print_json(found.document())
    else:
        terminal.show(*terminal.diagnosis(found))
    return 0 if found.whole else FAILED


@app.command
def report(runs: Paths, /, *, out: Path = Path("report.html"), markdown: Path | None = None) -> int:
    """Write the report of one run, or of several side by side."""
    from .benchmarks import record, report
    from .files import write_text

    records = [record.load(path) for path in runs]
    write_text(out, report.html(records))
    if markdown:
        write_text(markdown, report.markdown(records))
    print(out)
    return 0


@app.command
def recipes(*, json: Flag = False) -> int:
    """List the ready recipes."""
    from .benchmarks import terminal

    found = {}
    for path in sorted((Path(__file__).parent / "recipes").glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        found[path.name] = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
    if json:
        return _print_json(found)
    terminal.show(terminal.listing(found))
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    words = sys.argv[1:] if words is None else list(words)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except AttarError as error:
        return _fail(error.line(), error.code)
    except cyclopts.CycloptsError as error:
        return _fail(" ".join(str(error).split()), USAGE)
    except KeyboardInterrupt as stop:
        return _fail("; ".join(["interrupted", *map(str, stop.args)]), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has enough; no complaint at exit
        return 0
    except OSError as error:
        from .files import os_error

        if os.environ.get("ATTAR_DEBUG"):
            traceback.print_exc()
        return _fail(os_error(error).line(), FAILED)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if os.environ.get("ATTAR_DEBUG"):
            traceback.print_exc()
        hint = "repeat with ATTAR_DEBUG=1 and report what it prints"
        return _fail(f"this is a bug in attar: {type(error).__name__}: {error}; {hint}", FAILED)


def _fail(line: str, code: int) -> int:
    from .processes import launched

    process = launched()
    who = "" if process.first else f"process {process.rank}: "
    print(f"attar: {who}{line}", file=sys.stderr)
    return code


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

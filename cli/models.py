"""The commands that ask a model as it is: its scores, its words, its parts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from ..errors import FAILED, UsageError
from .common import Count, Flag, Out, Settings, app, fail, need_training_libraries, print_json


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
    from ..benchmarks import progress, terminal
    from ..scores import sheet

    *names, last = models
    asked, where = sheet.load(Path(last), settings)
    if out is not None and out.is_dir():
        raise UsageError("this is a folder", where=str(out), fix="name a file with --out")
    need_training_libraries()
    from ..scores import plot, record, run, tables

    command = shlex.join(["attar", *sys.argv[1:]])
    with progress.stages(quiet or json) as (moved, finished):
        found = run.run(names, asked, where, limit=limit, progress=moved, finished=finished, command=command)
    pictures = []
    if out is not None:
        record.save(found, out)
        pictures = plot.save(found, out)
    if json:
        print_json(found.model_dump(mode="json"))
    else:
        terminal.show(*tables.tables(found), *(str(place) for place in pictures))
    problems = [problem for score in found.scores for problem in score.problems]
    for problem in problems:
        fail(problem, FAILED)
    return FAILED if problems else 0


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
    draft: str | None = None,
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
        draft: a smaller GPT with the same vocabulary, which proposes pieces; the text stays the same (greedy)
        seed: of the draw; one seed gives the same texts
        json: print one JSON document
    """
    from pydantic import ValidationError

    from ..tasks.decoding import Decoding

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
    if draft is not None and method != "greedy":
        raise UsageError("a draft helps greedy decoding", where="--draft", fix="leave the other options out")
    need_training_libraries()
    from ..scores.subject import subjects
    from ..teachers.continuation import continuations

    if draft is not None:
        return _drafted(model, draft, text, max_pieces, json)
    (subject,) = subjects([model], ("pretrained", "teacher"))
    found = continuations(subject.lm, text, way, max_new=max_pieces, count=count, seed=seed)
    if json:
        return print_json({"prompt": text, "way": way.name, "seed": seed, "continuations": found})
    for number, continuation in enumerate(found):
        print(*[""] * bool(number), text + continuation, sep="\n")
    return 0


def _drafted(model: str, draft: str, text: str, max_pieces: int, json: bool) -> int:
    """Greedy text, and what the draft spared the model."""
    from ..scores.subject import subjects
    from ..teachers.speculation import speculate

    large, small = (one.lm for one in subjects([model, draft], ("pretrained", "student", "teacher")))
    found = speculate(large, small, large.pieces(text) or large.start(), max_new=max_pieces)
    continuation = str(large.tokenizer.decode(found.ids, skip_special_tokens=False))
    if json:
        told = {"pieces": len(found.ids), "passes": found.passes, "accepted": found.accepted}
        return print_json({"prompt": text, "way": "greedy", "draft": draft, "continuations": [continuation], **told})
    print(text + continuation)
    print(f"{len(found.ids)} pieces in {found.passes} passes of the model", file=sys.stderr)
    return 0


@app.command
def inspect(model: Path, /, *, length: Count = 64, json: Flag = False) -> int:
    """Show the parameters, bytes and multiply-accumulates of a model folder, a model file, a bundle or a run, by part.

    Args:
        model: a Hugging Face folder, a model file, a bundle or a run
        length: pieces of the text whose multiply-accumulates are counted; a static file's are of its own length
        json: print one JSON document
    """
    from ..benchmarks import inspection, terminal

    found = inspection.inspect(model, length)
    if json:
        return print_json(found.document())
    terminal.show(*terminal.inspection(found))
    return 0

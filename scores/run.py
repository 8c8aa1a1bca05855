"""`attar score`: models on a sheet, or on a recipe's dev and test rows, as one document.

- All rows are read, and all models asked whether they can answer, before anything is computed.
- An entry is scored for one model after another: what stands side by side was asked the same.
- What fails while it is scored is a problem in its place, and all else is scored: hours of work are not lost to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from time import monotonic
from typing import Any

import torch

from .. import __version__, training
from ..benchmarks import machine
from ..errors import AttarError, UsageError
from ..recipe import Recipe
from ..teachers import checkpoint
from . import decoding, finetuned, knowledge, language, prompted, speculative
from .measures import Job, Material, Measure
from .record import Model, Score, Scores
from .sheet import Sheet, title
from .subject import Subject, subjects

Progress = Callable[[str, float, str], None]  # what, share done, a short remark
Finished = Callable[[str, float, bool], None]  # what, seconds, was it reused

MEASURES: dict[str, Measure] = {
    "perplexity": Measure("decoder", language.read_text, language.score_text),
    "last_word": Measure("decoder", language.read_passages, language.score_passages),
    "endings": Measure("decoder", language.read_endings, language.score_endings),
    "prompted": Measure("decoder", prompted.read, prompted.score),
    "decoding": Measure("decoder", decoding.read, decoding.score),
    "speculative": Measure("decoder", decoding.read, speculative.score),
    "facts": Measure("encoder", knowledge.read_facts, knowledge.score_facts, head=True),
    "links": Measure("encoder", knowledge.read_links, knowledge.score_links),
}


def run(
    models: Sequence[str],
    asked: Sheet | Recipe,
    where: str,
    *,
    limit: int | None = None,
    progress: Progress = lambda what, done, remark: None,
    finished: Finished = lambda what, seconds, reused: None,
    command: str = "",
) -> Scores:
    """Score models, by folder, run folder or hub id, on a sheet or a recipe that stands at `where`.

    `limit` bounds the rows of every score. Raises `AttarError` that names the entry where a model cannot be asked.
    """
    if isinstance(asked, Recipe):
        cards, scores = _on_recipe(subjects(models, ("teacher",)), asked, limit, progress, finished)
    else:
        cards, scores = _on_sheet(subjects(models, ("pretrained", "teacher")), asked, where, limit, progress, finished)
    return Scores(
        attar=__version__,
        name=asked.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        seed=asked.seed,
        machine=machine.describe(),
        device=_device(),
        threads=torch.get_num_threads(),
        models=cards,
        scores=scores,
    )


def _on_sheet(
    models: Sequence[Subject], sheet: Sheet, where: str, limit: int | None, progress: Progress, finished: Finished
) -> tuple[list[Model], list[Score]]:
    entries = [entry.model_copy(update={"limit": _least(entry.limit, limit)}) for entry in sheet.scores]
    places = [f"{where}: {title(entry)}" for entry in entries]
    for entry, place in zip(entries, places, strict=True):
        for model in models:
            _able(MEASURES[entry.kind], model, place, made=bool(getattr(entry, "head", None)))
    materials = []
    for entry, place in zip(entries, places, strict=True):
        progress("reading", 0.0, title(entry))
        materials.append(_named(place, MEASURES[entry.kind].read, entry, sheet.seed))
    scores = []
    for entry, place, material in zip(entries, places, materials, strict=True):
        scores.append(_score(entry, place, material, models, sheet.seed, progress, finished))
    decoder = MEASURES[entries[0].kind].family == "decoder"
    return [model.card(model.lm.model if decoder else model.reader) for model in models], scores


def _score(
    entry: Any,
    place: str,
    material: Material,
    models: Sequence[Subject],
    seed: int,
    progress: Progress,
    finished: Finished,
) -> Score:
    """One entry for all models."""
    started, results, problems = monotonic(), [], []
    for number, model in enumerate(models):

        def moved(share: float, before: int = number, name: str = model.name) -> None:
            progress(title(entry), (before + share) / len(models), name)

        job = Job(entry, material.content, model, models, seed, moved)
        try:
            results += _named(place, lambda job: list(MEASURES[entry.kind].score(job)), job)
        except AttarError as error:
            problems.append(f"{model.name}: {error.line()}")
    finished(title(entry), monotonic() - started, False)
    return _entry(title(entry), entry.kind, entry, material, results, problems)


def _on_recipe(
    models: Sequence[Subject], recipe: Recipe, limit: int | None, progress: Progress, finished: Finished
) -> tuple[list[Model], list[Score]]:
    progress("reading", 0.0, recipe.name)
    material = finetuned.read(recipe, limit)
    started, cards, results = monotonic(), [], []
    for number, model in enumerate(models):
        progress(recipe.name, number / len(models), model.name)
        card, found = finetuned.score(recipe, material.content, model)
        cards.append(card)
        results += list(found)
    finished(recipe.name, monotonic() - started, False)
    return cards, [_entry(recipe.name, "recipe", recipe.task, material, results)]


def _entry(
    name: str, kind: str, settings: Any, material: Material, results: list[Any], problems: Sequence[str] = ()
) -> Score:
    return Score(
        name=name,
        kind=kind,
        settings=settings.model_dump(mode="json"),
        rows=material.rows,
        data=material.data,
        remarks=material.remarks,
        results=results,
        problems=list(problems),
    )


def _able(measure: Measure, model: Subject, place: str, *, made: bool = False) -> None:
    """Refuse a model of the wrong kind, naming the entry of the sheet; with `made` the masked-LM head will be made."""
    wanted = checkpoint.DECODERS if measure.family == "decoder" else checkpoint.ENCODERS
    if model.family not in wanted:
        what = f"{model.name} is {_kind(model.family)}, and this score asks {_article(measure.family)}"
        raise UsageError(what, where=place, fix=f"one of {', '.join(wanted)}, or take the score out")
    if measure.head and not made and not _named(place, lambda model: model.has_head, model):
        fix = "score the model that was pre-trained, or give the score a `head`"
        raise UsageError(f"{model.name} has no masked-LM head", where=place, fix=fix)


def _kind(family: str) -> str:
    kinds = {"decoder": checkpoint.DECODERS, "encoder": checkpoint.ENCODERS}
    known = next((kind for kind, families in kinds.items() if family in families), "model of another kind")
    return f"{_article(known)} ({family})"


def _article(noun: str) -> str:
    return f"an {noun}" if noun.startswith("e") else f"a {noun}"


def _named(place: str, act: Callable[..., Any], *values: Any) -> Any:
    """What `act` gives; an error of it that names no place gets this one."""
    try:
        return act(*values)
    except AttarError as error:
        if error.where or type(error) not in (AttarError, UsageError):
            raise
        raise type(error)(error.what, where=place, fix=error.fix) from error


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _device() -> str:
    device = training.device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

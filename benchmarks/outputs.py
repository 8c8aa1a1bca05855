"""What a bundle's model answers on a target: golden error, agreement, and the task's own score there.

- Texts become pieces here, by the bundle's tokenizer; the target runs the model, one sequence at a time.
- Rows are scored as the run scored them: read by its recipe, compared by its task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import recipe_file
from ..errors import AttarError, UsageError
from ..export import answers, golden, parity
from ..export import manifest as manifests
from ..export.manifest import Manifest
from ..export.runtimes import unpadded
from ..files import inside
from ..tasks import data, kinds
from ..tasks.encoding import Encoder, Features, collate
from ..tasks.task import Task
from .latency import Contender
from .record import Outputs
from .worker import Worker

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Rows with their task, to be scored."""

    task: Task
    rows: list[Any]


def rows_of(run: Path, limit: int | None = None, settings: Sequence[str] = ()) -> Rows:
    """The dev rows of a run folder or a recipe, or `limit` of them, evenly spread.

    Raises `AttarError` where there is no recipe, or where its files are not at their places.
    """
    path = run / "recipe.yaml" if run.is_dir() else run
    if not path.is_file():
        raise UsageError("neither a run folder nor a recipe", where=str(run), fix="name runs/NAME")
    recipe = recipe_file.load(path, settings)
    found = data.load(recipe.task, recipe.seed)
    task = kinds.KINDS[recipe.task.kind].build(recipe.task, found.train, found.labels)
    count = min(limit or len(found.dev), len(found.dev))
    places = sorted({int(place) for place in np.linspace(0, len(found.dev) - 1, count)})
    return Rows(task, [found.dev[place] for place in places])


def check(bundles: Sequence[Path], rows: Rows) -> None:
    """`UsageError` where the rows are of another task than a bundle."""
    for bundle in bundles:
        card = manifests.load(bundle)
        if rows.task.kind != card.task.kind or set(rows.task.labels) != set(card.task.labels):
            fix = "name the run that the bundle is of"
            raise UsageError("these rows are of another task than the model", where=str(bundle), fix=fix)


def measure(model: Contender, found: Outputs | None = None, rows: Rows | None = None) -> Outputs:
    """Golden examples, or with `found` the rows beside them, answered on the model's host.

    Of a model that is not the bundle's the golden answers are not asked. Raises `AttarError` where it fails there.
    """
    assert model.bundle is not None, "a contender of a bundle, or beside one"
    card = manifests.load(model.bundle)
    with Worker(model.path, model.runtime, model.host) as worker:
        worker.load(threads=1)
        if found is None or rows is None:
            return _golden(worker, model, card, model.bundle)
        return found.model_copy(update=_scored(worker, model, card, encoder(model.bundle, model), rows))


def _golden(worker: Worker, model: Contender, card: Manifest, bundle: Path) -> Outputs:
    if model.tolerance is None:
        return Outputs()
    examples = [one for one in golden.read(inside(bundle, card.golden), golden.Golden) if one.fits(model.length)]
    if not examples:
        raise AttarError(f"no golden text fits length {model.length}", where=model.path.name)
    fed = [one for example in examples for one in example.sequences]
    found = _logits(worker, [one.features for one in fed], card, model)
    wanted = [one.answer for one in fed]
    error = float(np.max([np.abs(one - other).max() for one, other in zip(found, wanted, strict=True)]))
    form, read = answers.form(card.task), encoder(bundle)
    posed = [form.pose(example.asked, read) for example in examples]
    same = parity.agreement(answers.said(posed, found), answers.said(posed, wanted), model.tolerance)
    return Outputs(golden_error=error, golden_tolerance=model.tolerance, golden_agreement=same)


def _scored(worker: Worker, model: Contender, card: Manifest, read: Encoder, rows: Rows) -> dict[str, Any]:
    rows.task.follow(card.task.labels)
    encoded = rows.task.encode(rows.rows, read)
    found = _logits(worker, encoded.features, card, model)
    return {"scores": rows.task.score(found, encoded), "rows": len(rows.rows)}


def encoder(bundle: Path, model: Contender | None = None) -> Encoder:
    """What cuts texts for the bundle's model; with `model` into its own pieces, and to its own length."""
    card = manifests.load(bundle)
    most, length = card.tokenizer.max_length, model.length if model else None
    return Encoder((model and model.tokenizer) or inside(bundle, card.tokenizer.file), min(most, length or most))


def _logits(worker: Worker, features: Sequence[Features], card: Manifest, model: Contender) -> list[Logits]:
    """The logits of every sequence; a shape that is not the task's is an error."""
    worker.keep([collate([row], card.tokenizer.pad_id, model.length) for row in features])
    found = []
    for number, row in enumerate(features):
        logits, wanted = unpadded(worker.answer(number), len(row.input_ids)), card.task.shape(len(row.input_ids))
        if logits.shape != wanted:
            raise AttarError(f"answers of shape {logits.shape}, and the task has {wanted}", where=model.path.name)
        found.append(logits)
    return found

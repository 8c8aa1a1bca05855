"""The stages that make a teacher: from plain text, with a knowledge graph, on the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import recipe
from ..context import FUSED, PRETRAINED, Context
from ..errors import AttarError
from ..files import file_digest, folder_digest
from ..tasks import kinds
from .stage import Stage, stated


def _pretrain_inputs(context: Context) -> Any:
    spec = context.recipe.pretrain
    assert spec is not None
    path = recipe.expand(spec.vocabulary.path) if spec.vocabulary.path else None
    return {
        "pretrain": stated(spec),
        "corpus": context.corpus.digest(),
        "vocabulary": path and (folder_digest(path) if path.is_dir() else file_digest(path)),
        "seed": context.recipe.seed,
        **({"rows": 2} if spec.objective == "sentence_order" else {}),  # as long, since lengths told the order
    }


def _pretrain(context: Context, folder: Path) -> dict[str, Any]:
    from ..teachers import pretrain

    spec, seed = context.recipe.pretrain, context.recipe.seed
    assert spec is not None
    return pretrain.pretrain(spec, seed, folder, context.progress, context.processes, context.corpus)


def _knowledge_inputs(context: Context) -> Any:
    from ..teachers import checkpoint, fusion

    assert context.recipe.knowledge is not None
    weights = checkpoint.digest(context.origin)
    return {**fusion.inputs(context.recipe.knowledge), "weights": weights, "seed": context.recipe.seed}


def _knowledge(context: Context, folder: Path) -> dict[str, Any]:
    from ..teachers import fusion

    assert context.recipe.knowledge is not None
    return fusion.fuse(context.recipe.knowledge, context.origin, context.recipe.seed, folder, context.progress)


def _teach_inputs(context: Context) -> Any:
    from ..teachers import checkpoint

    spec = context.recipe.task
    if context.recipe.language:
        return {"weights": checkpoint.digest(context.source), "data": context.digests}
    try:
        trained = context.trained_task(held=False).labels
    except AttarError:  # the rows that are left may lack a label, or have only one, and yet be part of a task
        trained = []
    fields = {"kind", "metric", "max_length", "label_names"} | kinds.KINDS[spec.kind].settings
    return {
        # Labels of rows that were set aside, or a teacher's own order: not to be seen in the digests of the rows.
        **({} if context.task.labels == trained else {"labels": context.task.labels}),
        "teacher": stated(context.recipe.teacher, "model", "start"),
        **({} if context.recipe.teacher.start == "checkpoint" else {"start": context.recipe.teacher.start}),
        "weights": checkpoint.digest(context.source),
        "task": spec.model_dump(mode="json", include=fields) | {"metric": context.task.metric},
        **({"both_orders": True} if spec.both_orders else {}),
        "data": context.digests,
        "seed": context.recipe.seed,
    }


def _teach(context: Context, folder: Path) -> dict[str, Any]:
    from ..compress import language
    from ..teachers import teach

    if context.recipe.language:
        return language.teacher(context.recipe, context.source, context.data, folder, context.progress)
    return teach.teach(
        context.recipe, context.source, context.data, context.task, folder, context.progress, context.processes
    )


PRETRAIN = Stage(
    "pretrain",
    PRETRAINED,
    2,
    (),
    _pretrain_inputs,
    _pretrain,
    wanted=lambda spec: spec.pretrain is not None,
    together=lambda spec: True,
)
KNOWLEDGE = Stage(
    "knowledge", FUSED, 1, (), _knowledge_inputs, _knowledge, wanted=lambda spec: spec.knowledge is not None
)
TEACH = Stage(
    "teach",
    "teacher",
    2,
    (),
    _teach_inputs,
    _teach,
    together=lambda spec: spec.teacher.finetune and not spec.language,
)

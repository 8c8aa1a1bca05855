"""The work folder of a comparison: what every contender is given, in files that need no attar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .... import recipe, recipe_file
from ....errors import UsageError
from ....files import copy_folder, write_json
from ....tasks import data as rows
from ....tasks import kinds
from ....tasks.encoding import Encoder
from ....tasks.task import Encoded

PADDED = 128  # pieces, as the scripts of the papers pad


def prepare(run: Path, limit: int, threads: int, folder: Path) -> dict[str, Any]:
    """Fill `folder` from a finished run with a teacher; gives the plan, with the number of rows."""
    from .... import students
    from ....students import activations
    from ....students.layer_map import resolve
    from ....teachers import checkpoint, heads, layout, shapes

    spec = derived(run, limit, threads)
    found = rows.load(spec.task, spec.seed)
    task = kinds.KINDS[spec.task.kind].build(spec.task, found.train, found.labels)
    task.follow(checkpoint.classes(run / "teacher"))
    encoder = Encoder(run / "teacher" / "tokenizer.json", spec.task.max_length)
    train, dev = task.encode(found.train, encoder), task.encode(found.dev, encoder)
    teacher = heads.load(task.head, run / "teacher")
    with shapes.seeded(spec.student_seed):
        looked_at = activations.sample(train.features, encoder.pad_id, spec.student_seed)
        student = students.build(teacher, spec.student, task.head, looked_at)
    copy_folder(run / "teacher", folder / "teacher")
    checkpoint.save(student, folder / "student")
    for name, split in (("train", train), ("dev", dev)):
        _save(split, folder / f"{name}.npz")
    depths = layout.shape(student).layers, layout.shape(teacher).layers
    plan = {
        "seed": spec.seed,
        "threads": threads,
        "pad_id": encoder.pad_id,
        "length": min(PADDED, *(checkpoint.positions(model.config) for model in (teacher, student))),
        "layers": resolve(spec.student.layer_map, *depths),
        "intermediate": _phase(spec.distil.intermediate or recipe.Intermediate(epochs=0)),
        "prediction": _phase(spec.distil.prediction) | {"temperature": spec.distil.prediction.temperature},
        "student_parameters": checkpoint.unique_parameters(student),
        "rows": {"train": len(train.lengths), "dev": dev.count},
    }
    write_json(folder / "plan.json", plan)
    (folder / "recipe.yaml").write_text(recipe.dump(spec), "utf-8")
    return plan


def derived(run: Path, limit: int, threads: int) -> recipe.Recipe:
    """The run's recipe with its finished teacher, fewer rows, and no test; refuses what a peer cannot be given.

    All compute in float32: the peers' scripts do, and programs are compared, not number formats.
    """
    settings = [
        f"teacher.model={(run / 'teacher').resolve()}",
        "teacher.finetune=false",
        "pretrain=null",
        "knowledge=null",
        "task.test=null",
        f"task.limit={limit}",
        f"threads={threads}",
        "name=ours",
    ]
    spec = recipe_file.load(run / "recipe.yaml", settings)
    phases = {name: getattr(spec.distil, name) for name in ("intermediate", "prediction")}
    plain = {name: one and one.model_copy(update={"precision": "float32"}) for name, one in phases.items()}
    spec = spec.model_copy(update={"distil": spec.distil.model_copy(update=plain)})
    plan, last = spec.distil.intermediate, spec.distil.prediction
    if spec.task.kind != "classification" or spec.task.both_orders:
        raise UsageError("the peers are compared on classification", where=f"{run}/recipe.yaml:task")
    if plan and plan.epochs and (plan.embedding, plan.hidden, plan.attention) != (1.0, 1.0, 1.0):
        raise UsageError("the peers have TinyBERT's losses, each of weight 1", where="distil.intermediate")
    if (last.soft, last.hard) != (1.0, 0.0) or spec.student.kind != "tinybert":
        raise UsageError("the peers train a tinybert on soft answers alone", where="distil.prediction")
    return spec


def _phase(plan: recipe.Optimization) -> dict[str, Any]:
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "max_grad_norm")
    return {name: getattr(plan, name) for name in names} | {"evaluations": plan.evaluations * plan.epochs}


def _save(split: Encoded, path: Path) -> None:
    features: Any = split.features
    np.savez(
        path,
        ids=np.concatenate([np.array(row.input_ids, np.int64) for row in features]),
        types=np.concatenate([np.array(row.token_type_ids, np.int64) for row in features]),
        lengths=np.array([len(row.input_ids) for row in features], np.int64),
        labels=np.asarray(split.targets, np.int64),  # type: ignore[attr-defined]
    )

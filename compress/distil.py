"""The stage `distil`: a student that learns a task from its teacher.

- Phase `intermediate` (`layers`): what happens inside the teacher. Phase `prediction` (`answers`): what it answers.
- Each phase has its own optimizer, as in TinyBERT (arXiv 1909.10351, section 4.2).
- A loss that this teacher and this student cannot have is refused before any training, by `rehearsal` before that of
  the teacher too.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .. import recipe, students, training
from ..processes import ALONE, Processes
from ..students import activations
from ..students.layer_map import resolve
from ..tasks.data import Data
from ..tasks.encoding import Encoder
from ..tasks.task import Encoded, Task
from ..teachers import checkpoint, heads, layout
from ..teachers.teach import curve, judge
from . import answers, layers
from .general import check_pieces
from .pair import Pair


def distil(
    spec: recipe.Recipe,
    data: Data,
    task: Task,
    teacher_folder: Path,
    folder: Path,
    progress: training.Progress,
    general: Path | None = None,
    shared: Path | None = None,
    kept: Path | None = None,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Fill `folder` with the student; gives its scores, size and training curves.

    It goes on from the student in the folder `general`, where one is given that learnt from plain text, and else starts
    from its teacher. The folder `shared` is where several students keep their teacher's states, `kept` its answers.
    Of several `processes` the first one fills the folder and has results; all are given the same.
    """
    if general:
        check_pieces(general, teacher_folder)
    seed = spec.student_seed
    torch.manual_seed(seed)
    teacher = heads.load(task.head, teacher_folder).to(training.device()).requires_grad_(False)
    if processes.first:
        checkpoint.save_tokenizer(teacher_folder, folder)
    encoder = Encoder(teacher_folder / "tokenizer.json", spec.task.max_length)
    train = task.encode(data.train, encoder)
    rows = activations.sample(train.features, encoder.pad_id, seed) if spec.student.start == "activations" else []
    student = students.start(teacher.eval(), spec.student, task.head, rows, general).to(training.device())
    splits = {name: task.encode(rows, encoder) for name, rows in data.splits().items()}
    depth = layout.shape(student).layers
    mapped = resolve(spec.student.layer_map, depth, layout.shape(teacher).layers)
    pair = Pair(
        teacher,
        student,
        mapped,
        train,
        splits["dev"],
        task,
        encoder.pad_id,
        seed,
        progress,
        checkpoint.digest(teacher_folder),
        kept=kept,
        processes=processes,
    )
    curves = learn(pair, spec.distil, spec.distil.cache.states, folder / "checkpoints", shared)
    return {"training": curves, **leave(pair, splits, folder, spec.task.max_length)} if processes.first else {}


def learn(
    pair: Pair,
    plan: recipe.Distil | recipe.Healing,
    allowed: float | None,
    work: Path,
    shared: Path | None = None,
    stage: str = "distil",
) -> list[dict[str, Any]]:
    """Both phases, each where it has epochs; gives their curves.

    `allowed` bytes may hold the teacher's states, those of both phases together.
    """
    inside = plan.intermediate if plan.intermediate and plan.intermediate.epochs else None
    if inside:
        layers.check(pair.teacher, pair.student, inside)
    answers.check(pair.teacher, pair.student, pair.task, plan.prediction)
    curves, rows = [], len(pair.train.lengths)
    if inside:
        state = layers.learn_layers(pair, inside, work / "intermediate", allowed, shared)
        curves.append(curve(stage, "intermediate", rows, state, pair.asked))
        allowed = None if allowed is None else allowed - layers.kept(pair, inside, allowed, shared)
    before = pair.asked
    if plan.prediction.epochs:
        state = answers.learn_answers(pair, plan.prediction, work / "prediction", allowed)
        curves.append(curve(stage, "prediction", rows, state, pair.asked - before))
    return curves


def leave(pair: Pair, splits: dict[str, Encoded], folder: Path, max_length: int) -> dict[str, Any]:
    """Save the student in the folder; gives its scores and size."""
    student, task = pair.student.to("cpu"), pair.task
    heads.save(student, task.head, folder, max_length)
    return {
        **judge(student, splits, task, pair.pad_id),
        "rows": {name: encoded.count for name, encoded in splits.items()},
        "parameters": checkpoint.unique_parameters(student),
        "layers": pair.layers,
        "heads": pair.heads and asdict(pair.heads),
        "width": heads.width(student, task),
    }

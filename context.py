"""What the stages of one run share: the recipe, its data and task, and what the finished models answer.

- Everything is read or computed when a stage first asks for it, and kept: a run whose stages are all reused loads no
  model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .export import answers
from .export.answers import Form
from .export.manifest import TaskCard
from .files import file_digest, value_digest
from .processes import Processes, launched
from .recipe import Recipe
from .tasks import corpus, kinds
from .tasks import data as rows
from .tasks.corpus import Corpus
from .tasks.encoding import Encoder
from .tasks.task import Answers, Encoded, Task

PRETRAINED, FUSED = "pretrained", "fused"  # folders of models that stand in the run before its teacher
GENERAL = "general"  # of the student that learnt from plain text

Progress = Callable[[str, float, str], None]  # what, share done, a short remark


@dataclass
class Context:
    """What the stages of one run share."""

    recipe: Recipe
    out: Path
    progress: Progress
    keys: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    finished: Callable[[str, float, bool], None] = lambda name, seconds, reused: None
    command: str = ""
    beside: tuple[Path, ...] = ()  # folders with runs whose finished stages may be taken
    processes: Processes = field(default_factory=launched)
    _outputs: dict[str, dict[str, Answers]] = field(default_factory=dict)
    _encoders: dict[str, Encoder] = field(default_factory=dict)  # by their file's digest, as `_splits`
    _splits: dict[str, dict[str, Encoded]] = field(default_factory=dict)

    @cached_property
    def data(self) -> rows.Data:
        """The rows of the task."""
        return rows.load(self.recipe.task, self.recipe.seed)

    @cached_property
    def lessons(self) -> list[Any]:
        """The training rows that the student learns from: all, or `distil.limit` of them."""
        train, limit = self.data.train, self.recipe.distil.limit
        if limit is None or limit >= len(train):
            return train
        chosen = random.Random(self.recipe.seed).sample(range(len(train)), limit)
        return [train[number] for number in sorted(chosen)]

    @cached_property
    def corpus(self) -> Corpus:
        """The text that the teacher is pre-trained on; a recipe without `pretrain` has none."""
        assert self.recipe.pretrain is not None
        return corpus.of(self.recipe.pretrain.corpus)

    @cached_property
    def general_corpus(self) -> Corpus:
        """The text of general distillation; a recipe without `distil.general` has none."""
        assert self.recipe.distil.general is not None
        return corpus.of(self.recipe.distil.general.corpus)

    @cached_property
    def task(self) -> Task:
        """The task, with the labels of its training rows, in the order of a teacher that is taken as it is."""
        task = self.trained_task()
        if not self.recipe.teacher.finetune:
            from .teachers import checkpoint

            task.follow(checkpoint.classes(self.source))
        return task

    @property
    def origin(self) -> Path:
        """Where the road starts: what was pre-trained here, or the checkpoint that the recipe names."""
        from .teachers import checkpoint

        return self.out / PRETRAINED if self.recipe.pretrain else checkpoint.locate(self.recipe.teacher.model)

    @property
    def source(self) -> Path:
        """Where the teacher starts from: the origin, or what it became with a knowledge graph."""
        return self.out / FUSED if self.recipe.knowledge else self.origin

    def trained_task(self, *, held: bool = True) -> Task:
        """The task of the training rows, and of those that were held out of them."""
        spec, data = self.recipe.task, self.data
        return kinds.KINDS[spec.kind].build(spec, data.train, data.labels if held else [])

    @property
    def student(self) -> Path:
        """The folder of the student as a device gets it."""
        return self.out / self.recipe.student_folder

    def folder(self, role: str) -> Path:
        """The folder of the teacher, or of the student."""
        return self.student if role == "student" else self.out / role

    def encoder(self, role: str) -> Encoder:
        """The tokenizer of the teacher or of the student; they differ where the student's vocabulary was trimmed."""
        path = self.folder(role) / "tokenizer.json"
        digest = file_digest(path)
        if digest not in self._encoders:
            self._encoders[digest] = Encoder(path, self.recipe.task.max_length)
        return self._encoders[digest]

    def splits(self, role: str) -> dict[str, Encoded]:
        """The splits that are scored, as the teacher or the student reads them."""
        tokenizer = file_digest(self.folder(role) / "tokenizer.json")
        if tokenizer not in self._splits:
            encoder, found = self.encoder(role), self.data.splits()
            self._splits[tokenizer] = {name: self.task.encode(examples, encoder) for name, examples in found.items()}
        return self._splits[tokenizer]

    def outputs(self, role: str) -> dict[str, Answers]:
        """Logits of the saved teacher or student on every split, from the folder as anybody would load it."""
        from .teachers import heads

        if role not in self._outputs:
            head, pad = self.task.head, self.encoder(role).pad_id
            model = heads.load(head, self.folder(role))
            self._outputs[role] = {
                name: heads.answers(model, head, encoded.features, pad) for name, encoded in self.splits(role).items()
            }
        return self._outputs[role]

    def reload_check(self) -> dict[str, Any]:
        """Does the saved student, loaded with `from_pretrained`, score what it scored when it was trained?"""
        trained, splits = self.results[self.recipe.student_stage]["scores"], self.splits("student")
        loaded = {name: self.task.score(logits, splits[name]) for name, logits in self.outputs("student").items()}
        same = all(abs(loaded[n][m] - trained[n][m]) < 1e-6 for n in trained for m in trained[n])
        detail = ", ".join(f"{n} {self.task.metric} {100 * loaded[n][self.task.metric]:.2f}" for n in loaded)
        return {"name": "student: reloads with from_pretrained to the same scores", "passed": same, "detail": detail}

    @cached_property
    def form(self) -> Form:
        """How a device asks the task, with what was tuned for the student."""
        return answers.form(self.bundle_card())

    def bundle_card(self) -> TaskCard:
        """The task as the manifest of a bundle states it."""
        found = self.results[self.recipe.student_stage]
        return answers.card(self.task, found.get("tuned", {}), found.get("width"))

    def task_card(self) -> dict[str, Any]:
        """The task as records state it."""
        task, rows = self.task, self.data.counts()
        return {"kind": task.kind, "metric": task.metric, "labels": task.labels, "pair": task.pair, "rows": rows}

    @cached_property
    def digests(self) -> dict[str, str]:
        """sha256 of each split's rows."""
        return self.data.digests()

    def provenance(self) -> dict[str, Any]:
        """Where the model and its data came from."""
        teach = self.results["teach"]
        return {
            "teacher": teach["source"],
            "teacher_licence": teach["licence"],
            "teacher_weights": teach["weights"],
            **({"teacher_revision": teach["revision"]} if teach.get("revision") else {}),
            "data": self.digests,
            "recipe": value_digest(self.recipe.model_dump(mode="json")),
        }

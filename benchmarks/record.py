"""`run.json`: the record of one run, the interface for scripts and the only source of the report.

- Every figure that the report shows is a field here; nothing is computed from anything else.
- Times are in seconds, except latencies, which are in milliseconds and say so; sizes are bytes.
- Scores are fractions in [0, 1] (correlations in [-1, 1]); a *point* is 0.01 of a score. Perplexities are at least 1.
- `format` is raised when a field changes its meaning; added fields have defaults.
- Where a record was read from is not part of it: fields with `exclude` are set by who reads, and are never written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..files import read_document, write_text

FORMAT = "attar-run/1"
Rows = list[dict[str, Any]]

Measures = Literal["time", "instructions", "answers"]  # what a target's cost is given in; answers: it has none


class Entry(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="ignore")


class Latency(Entry):
    """Time of single inferences at batch 1, after warm-up."""

    length: int  # pieces; 0: each text at its own
    threads: int
    queries: int
    sessions: int = 1  # fresh processes that the queries were parted over
    pieces: float | None = None  # mean of the texts' own lengths, where length is 0
    p50_ms: float
    p90_ms: float
    p99_ms: float | None = None  # None of a phone's few queries
    mean_ms: float
    min_ms: float
    macs: int | None = None  # multiply-accumulates of one inference
    weights: int | None = None  # bytes of the weights that its products read
    floor_ms: float | None = None  # the least that both take on this machine: its peak for this precision, its memory
    p50_interval: tuple[float, float] | None = None  # 95 %, over sessions, whose common mood is one draw
    ratio: float | None = None  # reference time / this time, a median over rounds, interleaved in the same run
    ratio_interval: tuple[float, float] | None = None  # 95 %, over sessions


class Throughput(Entry):
    """How many texts are answered where many wait."""

    batch: int  # texts at a time; of a static file always one
    threads: int
    texts_per_s: float


class Cost(Entry):
    """What a model file costs on this machine."""

    load_s: float | None = None  # from opening the file to a runner that can answer
    first_ms: float | None = None  # first inference after loading
    peak_memory: int | None = None  # bytes: peak resident memory of a fresh process, over its light imports
    latencies: list[Latency] = []
    throughputs: list[Throughput] = []


class Instructions(Entry):
    """Instructions that one inference executes on an emulated ARM processor: counted, no time, and no cycles.

    The classes other than `executed` share no instruction; what belongs to none of them is counted in `executed` alone.
    """

    length: int
    repeats: int  # inferences that were counted; these are the figures of the one with the fewest
    executed: int  # all of them
    memory: int  # loads and stores
    dot: int  # integer dot products and matrix products: sdot, udot and their like, 16 or 32 products each
    integer: int  # other integer vector products: smlal, mla, smull, …
    floating: int  # products of floats, fmla, fmul, fmadd, …
    vector: int  # other vector and float instructions
    branch: int


class Outputs(Entry):
    """What a model file answers on a target, compared with PyTorch."""

    golden_error: float | None = None  # largest |logit - PyTorch logit| on the golden examples; None: another model
    golden_tolerance: float | None = None  # the largest error that is allowed
    golden_agreement: float | None = None  # share of golden examples with the same answer
    scores: dict[str, float] = {}  # metric -> value on the rows that were scored there
    rows: int = 0  # that were scored

    @property
    def right(self) -> bool | None:
        """Whether the error is allowed; None where the golden answers are another model's."""
        if self.golden_error is None or self.golden_tolerance is None:
            return None
        return self.golden_error <= self.golden_tolerance


class Placed(Entry):
    """A model file on one target."""

    name: str
    runtime: str
    length: int | None = None  # the only length it can run
    bytes: int
    gzipped: int | None = None
    instructions: list[Instructions] = []  # where the target is emulated
    cost: Cost | None = None  # where it is a real machine
    outputs: Outputs | None = None


class Site(Entry):
    """One target, and what was measured there."""

    target: str  # "local", "arm:cortex-a76", "x86:haswell", "ssh://…", "adb:…"
    measures: Measures
    machine: dict[str, Any] = {}  # as the target describes itself: processor, features, versions, …
    reference: str | None = None  # the model that ratios of time refer to
    models: list[Placed] = []
    protocol: dict[str, Any] = {}  # of times: the least number of queries, seconds, sessions
    conditions: dict[str, Any] = {}  # how quiet this machine was, where it is the target
    floor: dict[str, Any] = {}  # its peak in MACs a second ("fp32", "int8", by threads), bandwidths, cache in bytes
    warnings: list[str] = []  # why figures should be doubted
    problems: list[str] = []  # what failed, one line each
    notes: list[str] = []  # what was not asked of a model, since it cannot: one line each
    place: str | None = Field(None, exclude=True)  # where it stands: "bench.json: targets[0]."; None: in the run


class Bench(Entry):
    """What `attar bench --target … --json` prints."""

    format: Literal["attar-bench/1"] = "attar-bench/1"
    attar: str = ""
    created: str = ""  # ISO 8601, UTC
    command: str = ""
    targets: list[Site]


class Sensitivity(Entry):
    """What 4 bits do to one matrix of a model, measured alone."""

    title: str  # of the module
    elements: int
    noise: float  # mean squared error of the logits over their variance, on calibration rows
    wide: bool  # it stays in 8 bits


class Model(Entry):
    """One row of the main table: the teacher, the student, or an artefact made of one of them."""

    name: str  # "teacher", "student", or the artefact's file name
    role: Literal["teacher", "student", "artefact"]
    of: Literal["teacher", "student"]  # whose weights these are
    runtime: str  # "torch", "onnxruntime", "litert", "tflite-runtime"
    precision: str  # "fp32", "fp16", "int8", "int8-static", "int4", "mixed"
    bits: float | None = None  # of a weight, scales of blocks included, over all matrices
    processor: str | None = None  # "any-cpu", "dot-product": the kind whose integer products it is made for
    length: int | None = None  # static length of a .tflite file
    file: str | None = None  # path below the run folder
    bytes: int | None = None
    gzipped: int | None = None  # bytes of the file on its way to a phone
    parameters: int | None = None  # unique parameters
    parameter_bytes: int | None = None  # unique parameters x their width: what the file should hold
    scores: dict[str, dict[str, float]] = {}  # split ("dev", "test") -> metric -> value
    rows: dict[str, int] = {}  # split -> rows scored
    golden_error: float | None = None  # largest |logit - PyTorch logit| on the golden examples
    golden_tolerance: float | None = None  # the largest error that is allowed
    golden_agreement: float | None = None  # share of golden examples with the same answer
    matrices: list[Sensitivity] = []  # of a mixed artefact: what 4 bits do to each, and which stay in 8
    status: Literal["ok", "rejected"] = "ok"
    reason: str = ""  # why it was rejected
    cost: Cost = Cost()


class Epoch(Entry):
    """One point of a training curve."""

    epoch: float  # epochs done
    losses: dict[str, float]  # mean since the point before, by loss
    scores: dict[str, float] = {}  # dev metrics
    seconds: float
    examples_per_second: float


class Training(Entry):
    """One phase of training."""

    stage: str  # "teach", "distil"
    phase: str  # "finetune", "intermediate", "prediction"
    examples: int  # training examples per epoch
    epochs: list[Epoch] = []
    kept_epoch: float | None = None
    peak_memory: int | None = None  # bytes, peak resident memory of the training process
    threads: int | None = None
    asked_seconds: float = 0.0  # in which the teacher answered beforehand, for all epochs


class Share(Entry):
    """Where the bytes and the work of a model are."""

    part: str  # "embeddings", "attention", "feed-forward", "head", …
    parameters: int
    bytes: int
    macs: int | None = None  # multiply-accumulates of one text, where operators are known


class LayerPart(Entry):
    """A part of one layer, or of what stands before and after the layers."""

    layer: int | None = None  # from 1; None outside of the layers
    part: str  # "embeddings", "attention", "feed-forward", "head", …
    parameters: int
    bytes: int
    ms: float | None = None  # of one inference on one thread; None where its runtime has no profiler


class Layers(Entry):
    """Where every byte and every millisecond of the chosen artefact is."""

    model: str
    length: int | None = None  # pieces of the text that was profiled
    parts: list[LayerPart] = []


class Check(Entry):
    """Something that was checked, and what came out."""

    name: str
    passed: bool
    detail: str = ""
    skipped: bool = False  # could not be checked here; `detail` says why, `passed` is True


class Limit(Entry):
    """One limit of the budget."""

    name: Literal["max_size", "max_latency", "max_memory", "max_drop"]
    limit: float  # bytes, milliseconds, bytes, points
    value: float | None
    met: bool
    margin: float | None  # limit - value


class Stage(Entry):
    """One finished stage."""

    name: str
    key: str
    seconds: float
    reused: bool = False


class Milestone(Entry):
    """The student after a stage that made it, or made it smaller."""

    stage: str
    parameters: int
    bytes: int  # of its weights in float32, each once
    latencies: list[Latency] = []  # of its fp32 ONNX form, in turns with the artefacts
    scores: dict[str, dict[str, float]]  # split -> metric -> value


class Trial(Entry):
    """One student that a search tried."""

    number: int  # from 1
    changes: dict[str, str]  # choice -> what was chosen
    status: Literal["trained", "stopped", "over", "impossible"]  # over: no file would meet the limits, so not trained
    reason: str = ""  # why it was not trained to the end
    models: list[Model] = []  # its files: costs of the untrained student, dev scores after the short distillation
    best: str | None = None  # the file that it is judged by
    seconds: float = 0.0


class Search(Entry):
    """The students that were tried before this one was trained in full."""

    trials: list[Trial] = []
    winner: int | None = None  # the trial whose student this run is
    candidates: int  # in the space
    ended: str  # why no more were tried


class Run(Entry):
    """A whole run."""

    format: Literal["attar-run/1"] = FORMAT  # type: ignore[assignment]
    attar: str  # version
    name: str
    created: str  # ISO 8601, UTC
    measured: str = ""  # ISO 8601, UTC: when its costs were measured, which a reused stage keeps
    command: str = ""  # the command line that made it, as it would be typed again
    task: dict[str, Any]  # kind, metric, labels, pair, rows per split
    recipe: dict[str, Any]  # the resolved recipe
    machine: dict[str, Any]  # processor, features, cores, memory, system, versions
    provenance: dict[str, Any]  # teacher source, licence as found, data digests
    stages: list[Stage] = []
    training: list[Training] = []
    models: list[Model] = []
    road: list[Milestone] = []  # where the recipe has steps that make the student smaller
    shares: dict[str, list[Share]] = {}  # "teacher", "student" -> parts
    layers: Layers | None = None  # of the choice
    layer_times: dict[str, Rows] = {}  # artefact -> [{"part", "ms", "share"}], from the runtime's profiler
    checks: list[Check] = []
    targets: list[Site] = []  # other machines, and emulated ones, that run its files
    search: Search | None = None  # how its student was found, where it was searched for
    limits: list[Limit] = []
    advice: list[str] = []  # what would meet the limits that were missed
    choice: str | None = None  # the artefact the verdict is about: the smallest that passed and meets the budget
    notes: list[str] = []  # conditions a reader must know
    file: str = Field("run.json", exclude=True)  # the name of the file it was read from


def load(path: Path) -> Run:
    """Read `run.json` (a file, or the run folder that holds it)."""
    file = path / "run.json" if path.is_dir() else path
    return read_document(Run, file, "run record").model_copy(update={"file": file.name})


def load_bench(path: Path) -> Bench:
    """Read what `attar bench --target … --json` printed; each target says where it stands."""
    found = read_document(Bench, path, "measurement of targets")
    placed = [site.model_copy(update={"place": f"{path.name}: targets[{n}]."}) for n, site in enumerate(found.targets)]
    return found.model_copy(update={"targets": placed})


def save(run: Run, path: Path) -> None:
    """Write the record atomically."""
    write_text(path, run.model_dump_json(indent=2) + "\n")

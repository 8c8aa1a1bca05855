"""The stage `measure`: latency, load time and memory of every artefact that passed, beside its teacher.

- The teacher's fp32 ONNX file is the reference; all models take turns in one run, so ratios survive a noisy machine.
  Where it was rejected or could not be timed there are no ratios: the student is no substitute.
- Inputs are the task's own dev rows as a model reads them, joined until they fill the length. One inference is of one
  sequence, whatever an answer takes.
- What cannot be measured is a line in `failures`, and everything else goes on.
- Operators are profiled at the longest length that every profiled model was timed at, so that they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import recipe
from ..errors import AttarError
from ..export.runtimes import Arrays
from ..tasks.encoding import Features
from . import cost, latency, machine, profile
from .protocol import Protocol
from .record import Cost, Latency, Model

ONNX = "onnxruntime"
PROFILED = ("teacher.onnx", "model.onnx", "model-int8.onnx")
Queries = dict[int, list[Arrays]]


def measure(
    spec: recipe.Measure,
    models: Sequence[Model],
    sequences: Sequence[Features],
    pad_id: int,
    out: Path,
    progress: Callable[[str, float, str], None],
    road: Mapping[str, Path] = MappingProxyType({}),
) -> dict[str, Any]:
    """Costs by the rows' names, the machine, and where the time goes; `models` are rows whose files lie below `out`.

    `road` are ONNX files of the student after its stages, which take turns with the others at the longest length.
    """
    passed = [model for model in models if model.status == "ok" and model.file]
    passed.sort(key=lambda model: model.of != "teacher")  # the teacher is the reference
    failures: list[str] = []
    lengths = {*spec.lengths, *(model.length for model in passed if model.length)}
    queries: Queries = {length: latency.fill(sequences, pad_id, length) for length in lengths}
    longest = {max(lengths): queries[max(lengths)]}
    stones = [latency.Contender(f"road {stage}", path, ONNX, None, longest) for stage, path in road.items()]
    times = latency.measure(
        [latency.Contender(m.name, out / str(m.file), m.runtime, m.length) for m in passed] + stones,
        queries,
        spec.threads,
        Protocol(spec.queries, spec.seconds, spec.sessions, spec.warmup),
        on_progress=lambda what, done, total: progress("measure", 0.9 * done / total, what),
        on_failure=failures.append,
        reference=bool(passed) and passed[0].of == "teacher",
    )
    costs: dict[str, Any] = {}
    for number, model in enumerate(passed):
        progress("measure", 0.9 + 0.1 * number / len(passed), f"load and memory of {model.name}")
        if measured := times[model.name]:
            costs[model.name] = _cost(model, measured, queries, out, failures).model_dump()
    layer_times = _operators([model for model in passed if model.name in PROFILED], times, queries, out, failures)
    found = {"costs": costs, "failures": failures, "machine": machine.describe(), "layer_times": layer_times}
    of_road = {stage: [one.model_dump() for one in times[f"road {stage}"]] for stage in road}
    return found | ({"road": of_road} if of_road else {})


def _cost(model: Model, measured: list[Latency], queries: Queries, out: Path, failures: list[str]) -> Cost:
    """Load time and memory, at the longest length that the model was timed at, beside its latencies."""
    longest = max(one.length for one in measured)
    try:
        found = cost.measure(out / str(model.file), model.runtime, queries[longest][0])
    except AttarError as error:
        failures.append(AttarError(error.what, where=f"load and memory of {model.name}").line())
        found = Cost()
    return found.model_copy(update={"latencies": measured})


def _operators(
    models: Sequence[Model], times: dict[str, list[Latency]], queries: Queries, out: Path, failures: list[str]
) -> dict[str, Any]:
    """Operator times by model."""
    models = [model for model in models if times[model.name]]
    common = set(queries).intersection(*({one.length for one in times[model.name]} for model in models))
    if not common:
        return {}
    found = {}
    for model in models:
        try:
            found[model.name] = profile.operators(out / str(model.file), queries[max(common)][0])
        except AttarError as error:
            failures.append(AttarError(error.what, where=f"operators of {model.name}").line())
    return found

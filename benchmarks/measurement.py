"""The stage `measure`: latency, load time and memory of every artefact that passed, beside its teacher.

- The teacher's fp32 ONNX file is the reference; all models take turns in one run, so ratios survive a noisy machine.
  Where it was rejected or could not be timed there are no ratios: the student is no substitute.
- Inputs are the task's own dev rows as a model reads them, joined until they fill the length. One inference is of one
  sequence, whatever an answer takes.
- On another target (`measure.target`) everything but the operators is measured there, and the machine is that one.
- What cannot be measured is a line in `failures`, and everything else goes on.
- Operators are profiled at the longest length that every profiled model was timed at, so that they compare; so are
  the layers of each of the student's artefacts, any of which may be chosen. LiteRT's Python runtimes have no profiler:
  of their files the bytes alone are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .. import recipe
from ..errors import AttarError, UsageError
from ..export.runtimes import Arrays
from ..tasks.encoding import Features
from . import cost, latency, layers, machine, macs, profile
from .compare import gzipped
from .protocol import Protocol
from .record import Cost, Latency, Layers, Model
from .sites import describe
from .targets import Target, parse
from .targets.host import HERE, Host

ONNX = "onnxruntime"
PROFILED = ("teacher.onnx", "model.onnx", "model-int8.onnx")
Queries = dict[int, list[Arrays]]


def target(spec: recipe.Measure) -> Target:
    """Where it is measured. Raises `UsageError` for a word that names no target, or one that gives no time."""
    (found,) = parse([spec.target])
    if found.measures != "time":
        fix = "name local, ssh://user@host or adb:SERIAL; attar bench takes the others"
        raise UsageError(f"{spec.target} gives no time", where="measure.target", fix=fix)
    return found


def measure(
    spec: recipe.Measure,
    models: Sequence[Model],
    sequences: Sequence[Features],
    pad_id: int,
    out: Path,
    progress: Callable[[str, float, str], None],
    road: Mapping[str, Path] = MappingProxyType({}),
    whole: bool = False,
    host: Host = HERE,
) -> dict[str, Any]:
    """Costs by the rows' names, the machine, and where the time goes; `models` are rows whose files lie below `out`.

    `road` are ONNX files of the student after its stages, which take turns with the others at the longest length;
    `whole` says that the head reads every piece, which decides its MACs. `host` runs them: the open `target`'s.
    """
    passed = [model for model in models if model.status == "ok" and model.file]
    passed.sort(key=lambda model: model.of != "teacher")  # the teacher is the reference
    failures: list[str] = []
    lengths = {*spec.lengths, *(model.length for model in passed if model.length)}
    queries: Queries = {length: latency.fill(sequences, pad_id, length) for length in lengths}
    longest = {max(lengths): queries[max(lengths)]}
    stones = [latency.Contender(f"road {stage}", path, ONNX, None, longest, host) for stage, path in road.items()]
    times = latency.measure(
        [latency.Contender(m.name, out / str(m.file), m.runtime, m.length, host=host) for m in passed] + stones,
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
            measured = _with_work(model, measured, out, whole, failures)
            costs[model.name] = _cost(model, measured, queries, out, failures, host).model_dump()
    found = {
        "costs": costs,
        "failures": failures,
        "machine": machine.describe() if host is HERE else describe(host),
        "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gzipped": {model.name: gzipped(out / str(model.file)) for model in passed if model.name in costs},
        **_profiles([model for model in passed if model.name in costs], times, queries, out, failures, host),
    }
    of_road = {stage: [one.model_dump() for one in times[f"road {stage}"]] for stage in road}
    return found | ({"road": of_road} if of_road else {})


def _cost(model: Model, measured: list[Latency], queries: Queries, out: Path, failures: list[str], host: Host) -> Cost:
    """Load time and memory, at the longest length that the model was timed at, beside its latencies."""
    longest = max(one.length for one in measured)
    try:
        found = cost.measure(out / str(model.file), model.runtime, queries[longest][0], host=host)
    except AttarError as error:
        failures.append(AttarError(error.what, where=f"load and memory of {model.name}").line())
        found = Cost()
    return found.model_copy(update={"latencies": measured})


def _with_work(model: Model, measured: list[Latency], out: Path, whole: bool, failures: list[str]) -> list[Latency]:
    """Latencies with the MACs of an inference of their length."""
    lengths = {one.length for one in measured}
    try:
        work = {n: sum(macs.count(out / str(model.file), n, whole=whole).values()) for n in lengths}
    except AttarError as error:  # nothing here reads the file
        failures.append(AttarError(error.what, where=f"MACs of {model.name}").line())
        return measured
    return [one.model_copy(update={"macs": work[one.length]}) for one in measured]


def _profiles(
    models: Sequence[Model],
    times: dict[str, list[Latency]],
    queries: Queries,
    out: Path,
    failures: list[str],
    host: Host,
) -> dict[str, Any]:
    """`layer_times`, operator times of the usual files, and `layers`, the parts of each of the student's artefacts.

    The profiler runs on this machine alone: of another there are no operator times.
    """
    asked = [model for model in models if model.runtime == ONNX and (model.name in PROFILED or model.of == "student")]
    asked = asked if host is HERE else []
    common = set(queries).intersection(*({one.length for one in times[model.name]} for model in asked))
    operators, parts = {}, {}
    for model in models:
        file, found, length = out / str(model.file), None, max(common) if model in asked and common else None
        if length is not None:
            try:
                found = profile.profile(file, queries[length][0])
            except AttarError as error:
                failures.append(AttarError(error.what, where=f"operators of {model.name}").line())
        if found and model.name in PROFILED:
            operators[model.name] = profile.operators(found)
        if model.of == "student":
            try:
                own = layers.parts(file, found)
            except AttarError as error:
                failures.append(AttarError(error.what, where=f"layers of {model.name}").line())
                continue
            parts[model.name] = Layers(model=model.name, length=length if found else None, parts=own).model_dump()
    return {"layer_times": operators, "layers": parts}

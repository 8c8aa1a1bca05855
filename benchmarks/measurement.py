"""The stage `measure`: latency, load time and memory of every artefact that passed, beside its teacher.

- The teacher's fp32 ONNX file is the reference; all models take turns in one run, so ratios survive a noisy machine.
- Texts are the task's own dev texts, joined until they fill the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import recipe
from ..errors import AttarError
from ..tasks.encoding import Encoder, collate
from . import cost, latency, machine, profile
from .record import Model


def measure(
    spec: recipe.Measure,
    models: Sequence[Model],
    tokenizer: Path,
    texts: Sequence[tuple[str, str | None]],
    out: Path,
    progress: Callable[[str, float, str], None],
) -> dict[str, Any]:
    """Costs by the rows' names, the machine, and where the time goes; `models` are rows whose files lie below `out`."""
    passed = [model for model in models if model.status == "ok" and model.file]
    passed.sort(key=lambda model: model.of != "teacher")  # the teacher is the reference
    failures: list[str] = []
    lengths = sorted({*spec.lengths, *(model.length for model in passed if model.length)})
    queries = {length: latency.fill(Encoder(tokenizer, length), texts, length) for length in lengths}
    found = latency.measure(
        [latency.Contender(m.name, out / str(m.file), m.runtime, m.length) for m in passed],
        queries,
        spec.threads,
        spec.warmup,
        spec.queries,
        on_progress=lambda what, done, total: progress("measure", 0.9 * done / total, what),
        on_failure=failures.append,
    )
    costs = {}
    for number, model in enumerate(passed):
        progress("measure", 0.9 + 0.1 * number / len(passed), f"load and memory of {model.name}")
        try:
            one = cost.measure(out / str(model.file), model.runtime, queries[model.length or max(lengths)][0])
        except AttarError as error:
            failures.append(AttarError(error.what, where=model.name).line())
            continue
        one.latencies = found[model.name]
        costs[model.name] = one.model_dump()
    encoder = Encoder(tokenizer, max(lengths))
    sample = collate(encoder.encode([texts[0]]), encoder.pad_id, max(lengths))
    times = {
        model.name: profile.operators(out / str(model.file), sample)
        for model in passed
        if model.runtime == "onnxruntime" and model.name in ("teacher.onnx", "model.onnx", "model-int8.onnx")
    }
    return {"costs": costs, "failures": failures, "machine": machine.describe(), "layer_times": times}

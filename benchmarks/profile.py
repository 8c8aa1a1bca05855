"""Where the milliseconds are: operator times from onnxruntime's own profiler.

- The profiler slows a model down, so the shares are to be read, not the sum; the sum is reported all the same.
- The runtime fuses operators before it runs them: times are of the nodes of *its* graph, which it writes out. An
  `.ort` file was fused when it was made.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from ..errors import AttarError
from ..export.runtimes import Arrays
from . import graphs
from .graphs import Graph

RUNS = 30
WARMUP = 5
KERNEL = "_kernel_time"  # what the profiler adds to a node's name


@dataclass(frozen=True)
class Profile:
    """One inference on one thread, the mean of `RUNS`."""

    graph: Graph  # as the runtime runs it
    times: dict[tuple[str, str], float]  # (name, operator) of a node -> milliseconds


def profile(model: Path, arrays: Arrays) -> Profile:
    """Profile an `.onnx` or `.ort` file.

    Errors: whatever the runtime says of the file, or of arrays that it cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        fused = model if model.suffix == ".ort" else Path(folder) / "fused.onnx"
        try:
            events = _events(model, arrays, Path(folder), fused)
        except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
            raise AttarError(f"the profiler failed: {error}", where=model.name) from None
        graph = graphs.read(fused)
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")[WARMUP:]
    times: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL) and event["ts"] >= starts[0]:
            node = event["name"].removesuffix(KERNEL), event["args"]["op_name"]
            times[node] += event["dur"] / 1000 / len(starts)
    return Profile(graph, dict(times))


def operators(found: Profile, top: int = 8) -> list[dict[str, Any]]:
    """Time by operator type, largest first: `part`, `ms`, `share`."""
    times: dict[str, float] = defaultdict(float)
    for (_, op), ms in found.times.items():
        times[op] += ms
    total = sum(times.values())
    ranked = sorted(times.items(), key=lambda item: -item[1])
    rows = [{"part": name, "ms": ms, "share": ms / total} for name, ms in ranked[:top]]
    if rest := sum(ms for _, ms in ranked[top:]):
        rows.append({"part": "other", "ms": rest, "share": rest / total})
    return rows


def _events(model: Path, arrays: Arrays, folder: Path, fused: Path) -> list[dict[str, Any]]:
    """The profiler's events of all runs, the warm-up's too; leaves the graph that ran in `fused`."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    if fused != model:
        options.optimized_model_filepath = str(fused)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong comes as an exception
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = {node.name: arrays[node.name] for node in session.get_inputs()}
    for _ in range(WARMUP + RUNS):
        session.run(None, feed)
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return events

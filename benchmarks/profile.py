"""Where the milliseconds are: operator times from onnxruntime's own profiler.

The profiler slows a model down, so the shares are to be read, not the sum; the sum is reported all the same.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnxruntime

from ..errors import AttarError
from ..export.runtimes import Arrays

RUNS = 30
WARMUP = 5


def operators(model: Path, arrays: Arrays, top: int = 8) -> list[dict[str, Any]]:
    """Mean time of one inference by operator type, largest first: `part`, `ms`, `share`; one thread.

    Errors: whatever the runtime says of the file, or of arrays that it cannot run.
    """
    try:
        events = _events(model, arrays)
    except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
        raise AttarError(f"the profiler failed: {error}", where=model.name) from None
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")[WARMUP:]
    times: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= starts[0]:
            times[event["args"]["op_name"]] += event["dur"] / 1000 / len(starts)
    total = sum(times.values())
    ranked = sorted(times.items(), key=lambda item: -item[1])
    rows = [{"part": name, "ms": ms, "share": ms / total} for name, ms in ranked[:top]]
    if rest := sum(ms for _, ms in ranked[top:]):
        rows.append({"part": "other", "ms": rest, "share": rest / total})
    return rows


def _events(model: Path, arrays: Arrays) -> list[dict[str, Any]]:
    """The profiler's events of all runs, the warm-up's too."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong comes as an exception
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        feed = {node.name: arrays[node.name] for node in session.get_inputs()}
        for _ in range(WARMUP + RUNS):
            session.run(None, feed)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return events

"""The figures of runs as CSV: one row for each model, length and number of threads, with the conditions in every row.

- Plain numbers in plain units (bytes, milliseconds, fractions), as in run.json; what was not measured is empty. A model
  that was not timed has one row.
- A row is a line. A name that a spreadsheet would take for a formula has an apostrophe before it (OWASP, CSV
  injection); numbers never do.
- `file` and `path` lead each row back to the JSON it was made from.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from . import machine, places
from .derived import chosen, drop, interval, metric_of, score, split_of
from .record import Instructions, Latency, Model, Placed, Run, Site

COLUMNS = (
    *("run", "measured", "attar", "target", "processor", "features", "cores", "system", "runtime", "runtime_version"),
    *("model", "role", "of", "precision", "status", "chosen", "bytes", "gzipped", "parameters"),
    *("split", "rows", "metric", "score", "score_low", "score_high", "drop_points"),
    *("length", "pieces", "threads", "queries", "sessions", "p50_ms", "p50_low_ms", "p50_high_ms", "p90_ms", "p99_ms"),
    *("ratio", "ratio_low", "ratio_high", "macs", "floor_ms", "instructions", "load_s", "first_ms", "peak_memory"),
    *("golden_error", "file", "path"),
)
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # the wide ones too
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def text(runs: Sequence[Run]) -> str:
    """CSV (RFC 4180, lines end with one newline) of all runs and of the targets that they hold."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        for row in _rows(run):
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    """The value as a cell; words are of one line, and none is a formula."""
    if isinstance(value, str):
        words = CONTROLS.sub(" ", value)
        return f"'{words}" if words.lstrip().startswith(FORMULA) else words
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    """Every row of a run: its models on the machine that made it, then each target."""
    about = {"run": run.name, "measured": run.measured or run.created, "attar": run.attar}
    for at, site in enumerate([places.own(run), *run.targets], -1):
        root = places.root(site, at)
        file = run.file if ": " not in root else root.partition(": ")[0]
        for number, placed in enumerate(site.models):
            home = at < 0
            model = run.models[number] if home else _same(run, placed)
            facts = about | _machine(site, placed.runtime) | _facts(run, model, placed, home)
            if not home:
                facts["measured"] = ""  # a target's own document says when
            path = f"{root.rpartition(': ')[2]}models[{number}]"
            timed: list[Latency | Instructions | None] = [*(placed.cost.latencies if placed.cost else ())]
            counted = len(timed)
            timed += placed.instructions
            for place, one in enumerate(timed or [None]):
                kind = "cost.latencies" if place < counted else "instructions"
                where = f"{path}.{kind}[{place - (0 if place < counted else counted)}]" if one else path
                yield facts | _timing(one) | {"file": file, "path": where}


def _same(run: Run, placed: Placed) -> Model | None:
    """The run's own row of a file that was measured elsewhere, by its name and size."""
    name = placed.name.rpartition("/")[2]
    return next((one for one in run.models if one.name == name and one.bytes == placed.bytes), None)


def _machine(site: Site, runtime: str) -> dict[str, Any]:
    """The conditions of a target as it describes itself."""
    words, features = site.machine, site.machine.get("features")
    return {
        "target": "local" if site.place == "" else site.target,
        "processor": words.get("processor", ""),
        "features": " ".join(map(str, features)) if isinstance(features, list) else "",
        "cores": words.get("cores", ""),
        "system": words.get("system", ""),
        "runtime": runtime,
        "runtime_version": machine.runtime_version(words, runtime),
    }


def _facts(run: Run, model: Model | None, placed: Placed, home: bool) -> dict[str, Any]:
    """What is known of a model whatever its length; a score belongs to the target where it was taken."""
    facts: dict[str, Any] = {"model": placed.name, "bytes": placed.bytes or "", "gzipped": placed.gzipped}
    if cost := placed.cost:
        facts |= {"load_s": cost.load_s, "first_ms": cost.first_ms, "peak_memory": cost.peak_memory}
    metric, split = metric_of(run), split_of(run)
    if model:
        facts |= {name: getattr(model, name) for name in ("role", "of", "precision", "status", "parameters")}
        facts["chosen"] = model is chosen(run)
    if home and model:
        low, high = interval(model, split, metric) or (None, None)
        facts |= {"split": split, "rows": model.rows.get(split), "metric": metric, "golden_error": model.golden_error}
        facts |= {"score": score(model, split, metric), "score_low": low, "score_high": high}
        facts["drop_points"] = drop(run, model, split)
    elif placed.outputs:
        facts |= {"golden_error": placed.outputs.golden_error}
        if metric in placed.outputs.scores:
            facts |= {"split": "dev", "rows": placed.outputs.rows, "metric": metric}
            facts["score"] = placed.outputs.scores[metric]
    return facts


def _timing(one: Latency | Instructions | None) -> dict[str, Any]:
    """What was timed, or counted, of one length."""
    if one is None:
        return {}
    if isinstance(one, Instructions):
        return {"length": one.length, "threads": 1, "queries": one.repeats, "instructions": one.executed}
    low, high = one.p50_interval or (None, None)
    least, most = one.ratio_interval or (None, None)
    names = ("threads", "queries", "sessions", "pieces", "p50_ms", "p90_ms", "p99_ms", "ratio", "macs", "floor_ms")
    found = {name: getattr(one, name) for name in names} | {"length": one.length or "own"}
    return found | {"p50_low_ms": low, "p50_high_ms": high, "ratio_low": least, "ratio_high": most}

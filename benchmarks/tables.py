"""The tables of models: the main one, latencies, every score, the comparison of runs.

- `~` stands before a speed that is a quotient of two medians; without it the teacher and the model were
  timed in turns.
- A rejected artefact stays in the table, with its reason below it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .cells import DASH, Cell, Row, Table, below, figure, source
from .derived import (
    chosen,
    digits,
    drop,
    interval,
    latency_at,
    metric_of,
    points,
    row_of,
    score,
    setting_of,
    smaller,
    speed,
    split_of,
    splits_of,
)
from .intervals import half_width
from .record import Latency, Model, Run


def described(model: Model) -> str:
    """Runtime, precision and static length in one line."""
    length = f" · length {model.length}" if model.length else ""
    processor = " · dot-product" if model.processor == "dot-product" else ""
    return f"{model.runtime} · {model.precision}{processor}{length}"


def name_cell(run: Run, index: int) -> Cell:
    """The header of a model's row."""
    model = run.models[index]
    of = " · of the teacher" if model.role == "artefact" and model.of == "teacher" else ""
    return Cell(model.name, described(model) + of, source(f"models[{index}].name", model.name))


def mark_of(run: Run, model: Model) -> str:
    """How a model's row is marked."""
    if model.status == "rejected":
        return "rejected"
    return "chosen" if model is chosen(run) else model.role


def models_table(run: Run) -> Table:
    """The main table: size, quality and cost of teacher, student and every artefact."""
    metric, setting, splits = metric_of(run), setting_of(run), splits_of(run)
    at = f"{setting[0]} tokens, {setting[1]} thread{'s' * (setting[1] > 1)}" if setting else "not measured"
    columns = [("", "model", ""), ("size", "file", "MB"), ("size", "parameters", "million")]
    columns += [("score", f"{split} {metric}", _rows_note(run, split)) for split in splits]
    columns += [("score", "drop", f"points, {split_of(run)}")]
    columns += [("against PyTorch", "score", "points"), ("against PyTorch", "logits", "largest error")]
    columns += [("against PyTorch", "answers", "% the same")]
    columns += [("cost", "p50 ms", at), ("cost", "speed", "teacher = 1"), ("cost", "load", "ms")]
    columns += [("cost", "first", "ms"), ("cost", "memory", "MB, peak"), ("", "status", "")]
    rows = []
    for index, model in enumerate(run.models):
        cells = [name_cell(run, index), *_size(run, index)]
        cells += [_score(run, index, split) for split in splits]
        cells += [_drop(run, index), *_parity(run, index), *_cost(run, index)]
        bad = model.status == "rejected"
        text = "rejected" if bad else "chosen" if model is chosen(run) else "ok"
        cells.append(Cell(text, "", source(f"models[{index}].status", model.status), "bad" if bad else "good"))
        remark = f"Rejected: {model.reason or 'no reason was recorded'}" if bad else ""
        rows.append(Row(cells, mark_of(run, model), remark))
    caption = (
        "Scores are × 100, with Wilson's 95 % interval below those that are a share of rows; drop is against "
        "the teacher. ÷ tells how many times smaller than the teacher a file is. “Against PyTorch” compares "
        "an artefact with the PyTorch model it was made from, on every row and on the golden examples. "
        f"Differences are taken before rounding. Speed is the time of {_reference(run)} over this model's, "
        "timed in turns; ~ marks a quotient of two separate medians. Memory is the peak of a fresh process. "
        "1 MB = 1,000,000 bytes."
    )
    made = Table("models", "Models", caption, columns, rows)
    return made if any(model.role == "artefact" for model in run.models) else made.known()


def _reference(run: Run) -> str:
    """The model that interleaved times are taken against: the teacher's row whose ratio is 1."""
    rows = (m for m in run.models if m.of == "teacher" and any(x.ratio == 1 for x in m.cost.latencies))
    return next((model.name for model in rows), "the teacher")


def _error(value: float) -> str:
    """0.055, 3.3e-6."""
    return f"{value:.2g}".replace("e-0", "e-")


def _rows_note(run: Run, split: str) -> str:
    """`872 rows` where all models were scored on as many."""
    counts = {model.rows.get(split) for model in run.models if split in model.scores}
    return f"{only:,} rows" if len(counts) == 1 and (only := counts.pop()) else "rows differ"


def _size(run: Run, index: int) -> Iterator[Cell]:
    model, path = run.models[index], f"models[{index}]"
    ratio = None if model.role == "teacher" else smaller(run, model)
    teacher = row_of(run, "teacher")
    also = f"models[{run.models.index(teacher)}].bytes / {path}.bytes" if ratio and teacher else ""
    note = f"÷ {digits(ratio)}" if ratio and ratio >= 1 else f"× {digits(1 / ratio)}" if ratio else ""
    yield figure(f"{path}.bytes", model.bytes, lambda count: digits(count / 1e6), note, also)
    yield figure(f"{path}.parameters", model.parameters, lambda count: digits(count / 1e6))


def _score(run: Run, index: int, split: str) -> Cell:
    model, metric = run.models[index], metric_of(run)
    path = below(below(f"models[{index}].scores", split), metric)
    band = interval(model, split, metric)
    note = f"{band[0] * 100:.1f}–{band[1] * 100:.1f}" if band else ""
    rows = source(below(f"models[{index}].rows", split), model.rows[split]) if split in model.rows else ""
    if note and _rows_note(run, split) == "rows differ":
        note += f", n = {model.rows[split]:,}"
    return figure(path, score(model, split, metric), lambda value: f"{value * 100:.1f}", note, rows)


def _drop(run: Run, index: int) -> Cell:
    model, split = run.models[index], split_of(run)
    value, teacher = drop(run, model, split), row_of(run, "teacher")
    if value is None or teacher is None or model is teacher:
        return Cell(DASH)
    tail = below(below(".scores", split), metric_of(run))
    return Cell(points(value), "", f"100 × (models[{run.models.index(teacher)}]{tail} - models[{index}]{tail})")


def _parity(run: Run, index: int) -> Iterator[Cell]:
    model, path, split = run.models[index], f"models[{index}]", split_of(run)
    origin = row_of(run, model.of)
    ours, theirs = (score(m, split, metric_of(run)) for m in (model, origin))
    if model.role != "artefact" or ours is None or theirs is None or origin is None:
        yield Cell(DASH)
    else:
        tail = below(below(".scores", split), metric_of(run))
        value = (ours - theirs) * 100
        text = "0.0" if abs(value) < 0.005 else f"{'+' if value > 0 else '−'}{points(abs(value))}"
        yield Cell(text, "", f"100 × ({path}{tail} - models[{run.models.index(origin)}]{tail})")
    yield figure(f"{path}.golden_error", model.golden_error, _error)
    yield figure(f"{path}.golden_agreement", model.golden_agreement, lambda value: f"{value * 100:.1f}")


def _cost(run: Run, index: int) -> Iterator[Cell]:
    model, path, setting = run.models[index], f"models[{index}].cost", setting_of(run)
    item = latency_at(model, setting)
    place = f"{path}.latencies[{model.cost.latencies.index(item)}]" if item else f"{path}.latencies"
    yield figure(f"{place}.p50_ms", item.p50_ms, digits) if item else Cell(DASH, "", place)
    yield _speed(run, model, item, place)
    yield figure(f"{path}.load_s", model.cost.load_s, lambda seconds: digits(seconds * 1000))
    yield figure(f"{path}.first_ms", model.cost.first_ms, digits)
    yield figure(f"{path}.peak_memory", model.cost.peak_memory, lambda count: digits(count / 1e6))


def _speed(run: Run, model: Model, item: Latency | None, place: str) -> Cell:
    ratio = speed(run, model, (item.length, item.threads)) if item and model.role != "teacher" else None
    if ratio is None:
        return Cell(DASH)
    value, turns = ratio
    path = source(f"{place}.ratio", value) if turns else f"teacher's p50_ms / {place}.p50_ms"
    return Cell(f"{'' if turns else '~'}{digits(value)}×", "", path)


def latency_table(run: Run) -> Table:
    """p50, p90 and p99 of every model at every length and thread count."""
    settings = sorted({(x.length, x.threads) for model in run.models for x in model.cost.latencies})
    columns = [("", "model", "")]
    columns += [(f"length {n}", f"{t} thread{'s' * (t > 1)}", "p50 ms") for n, t in settings]
    rows = []
    for index, model in enumerate(run.models):
        cells = [name_cell(run, index)]
        for setting in settings:
            item = latency_at(model, setting)
            if item is None:
                cells.append(Cell(DASH))
                continue
            place = f"models[{index}].cost.latencies[{model.cost.latencies.index(item)}]"
            also = "\n".join(source(f"{place}.{name}", getattr(item, name)) for name in ("p90_ms", "p99_ms", "ratio"))
            fast = _speed(run, model, item, place).text
            fast += f" ± {half_width(item.ratio_interval):.1%}" if item.ratio_interval and item.ratio != 1 else ""
            slowest = DASH if item.p99_ms is None else digits(item.p99_ms)
            note = f"{digits(item.p90_ms)} / {slowest}" + (f", {fast}" if fast != DASH else "")
            cells.append(figure(f"{place}.p50_ms", item.p50_ms, digits, note, also))
        if model.cost.latencies:
            rows.append(Row(cells, mark_of(run, model)))
    counts = sorted({x.queries for model in run.models for x in model.cost.latencies})
    queries = "–".join(f"{n:,}" for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    caption = f"p50, below it p90 / p99 and the speed against the teacher; batch 1, {queries} queries each."
    if any(x.ratio_interval for model in run.models for x in model.cost.latencies):
        caption += " ± is half of the speed's 95 % interval over processes."
    return Table("latencies", "Latency", caption, columns, rows)


def comparison_table(runs: list[Run]) -> Table:
    """Teacher, student and chosen artefact of every run, side by side."""
    metrics = list(dict.fromkeys(metric_of(run) for run in runs))
    columns = [("", "run", ""), ("", "model", ""), ("size", "file", "MB"), ("size", "parameters", "million")]
    columns += [
        ("score", " / ".join(metrics), "95 % interval"),
        ("score", "drop", "points"),
        ("cost", "p50 ms", ""),
    ]
    columns += [("cost", "speed", "teacher = 1"), ("cost", "memory", "MB, peak")]
    rows = []
    for run in runs:
        for index, model in enumerate(run.models):
            if model.role == "artefact" and model is not chosen(run):
                continue
            p50, fast, _, _, memory = _cost(run, index)
            name = name_cell(run, index)
            item = latency_at(model, setting_of(run))
            if item:
                p50 = p50._replace(note=f"length {item.length}, {item.threads} thread{'s' * (item.threads > 1)}")
            cells = [
                Cell(run.name, "", source("name", run.name)),
                name._replace(mark="text"),
                *_size(run, index),
            ]
            cells += [_score(run, index, split_of(run)), _drop(run, index), p50, fast, memory]
            rows.append(Row(cells, mark_of(run, model)))
    caption = "Teacher, student and chosen artefact of each run; paths are those of its own record."
    return Table("comparison", "Comparison", caption, columns, rows)


def scores_table(run: Run) -> Table:
    """Every metric on every split."""
    names = list(dict.fromkeys((s, m) for model in run.models for s, found in model.scores.items() for m in found))
    rows = []
    for index, model in enumerate(run.models):
        cells = [name_cell(run, index)]
        for split, metric in names:
            path = below(below(f"models[{index}].scores", split), metric)
            cells.append(figure(path, score(model, split, metric), lambda value: f"{value * 100:.2f}"))
        rows.append(Row(cells, mark_of(run, model)))
    columns = [("", "model", ""), *((split, metric, "") for split, metric in names)]
    return Table("scores", "Every score", "All metrics × 100.", columns, rows)

"""Where the bytes and the milliseconds are: stacked bars and the tables behind them."""

from __future__ import annotations

from collections.abc import Callable

from .cells import Cell, Figure, Row, Table, below
from .derived import digits, megabytes
from .plots import Bar, stacked
from .record import Run
from .svg import SHAPES

PARTS = 7  # parts of a bar with a colour of their own; the rest is "others"


def bytes_figure(run: Run, key: str) -> Figure | None:
    """Where the bytes are: teacher and student to scale, then as shares."""
    names = list(dict.fromkeys(share.part for shares in run.shares.values() for share in shares))
    rows = []
    for model, shares in run.shares.items():
        path = below("shares", model)
        parts = [(s.part, float(s.bytes), f"{path}[{i}].bytes") for i, s in enumerate(shares)]
        rows.append((model, megabytes(sum(s.bytes for s in shares)), parts))
    if not any(parts for _, _, parts in rows):
        return None
    bars = [Bar(f"{name}, to scale", total, _parts(names, parts, megabytes)) for name, total, parts in rows]
    bars += [Bar(f"{name}, as shares", "100 %", _parts(names, parts, megabytes), full=True) for name, _, parts in rows]
    return Figure(
        "Where the bytes are",
        stacked(key, "Where the bytes are", "; ".join(t for bar in bars for _, _, _, t in bar.parts), bars),
        "Unique parameters by part, first on one scale, then as shares of each model. Paths: shares.",
        _legend(names),
        _table("bytes", f"{key}-table", rows),
    )


def milliseconds_figure(run: Run, key: str) -> Figure | None:
    """Where the milliseconds are, as the runtimes' profilers saw it."""
    rows = []
    for model, found in run.layer_times.items():
        path = below("layer_times", model)
        parts = [(str(x.get("part", "?")), float(x.get("ms") or 0), f"{path}[{i}].ms") for i, x in enumerate(found)]
        rows.append((model, f"{digits(sum(value for _, value, _ in parts))} ms", parts))
    weights: dict[str, float] = {}
    for _, _, parts in rows:
        for part, value, _ in parts:
            weights[part] = weights.get(part, 0.0) + value
    if not weights:
        return None
    names = sorted(weights, key=lambda part: (-weights[part], part))
    bars = [Bar(name, total, _parts(names, parts, lambda ms: f"{digits(ms)} ms")) for name, total, parts in rows]
    desc = "; ".join(f"{bar.label}: " + ", ".join(t for _, _, _, t in bar.parts) for bar in bars)
    return Figure(
        "Where the milliseconds are",
        stacked(key, "Where the milliseconds are", desc, bars),
        "By operator, from each runtime's own profiler, which slows the run it watches. Paths: layer_times.",
        _legend(names),
        _table("ms", f"{key}-table", rows),
    )


def _parts(
    names: list[str], parts: list[tuple[str, float, str]], show: Callable[[float], str]
) -> list[tuple[int, str, float, str]]:
    """The parts of a bar in the order of the legend; the small rest is one part."""
    whole = sum(value for _, value, _ in parts) or 1.0
    out: dict[int, list[tuple[str, float]]] = {}
    for part, value, _ in parts:
        out.setdefault(min(names.index(part), PARTS), []).append((part, value))
    bars = []
    for colour, found in sorted(out.items()):
        value = sum(value for _, value in found)
        name = found[0][0] if len(found) == 1 else f"{len(found)} others"
        bars.append((colour, name, value, f"{name}: {show(value)}, {100 * value / whole:.1f} %"))
    return bars


def _legend(names: list[str]) -> list[tuple[int, str, str]]:
    shown = [*names[:PARTS], *(["others"] if len(names) > PARTS + 1 else names[PARTS:])]
    return [(min(i, PARTS), SHAPES[1], name) for i, name in enumerate(shown)]


def _table(title: str, key: str, parts: list[tuple[str, str, list[tuple[str, float, str]]]]) -> Table:
    """The figures behind a stacked bar: (model, total, [(part, value, path)])."""
    rows = []
    for model, _, shares in parts:
        whole = sum(value for _, value, _ in shares) or 1.0
        for part, value, path in shares:
            cells = [
                Cell(model),
                Cell(part, mark="text"),
                Cell(f"{value:,.3f}".rstrip("0").rstrip("."), "", path),
            ]
            rows.append(Row([*cells, Cell(f"{100 * value / whole:.1f} %")]))
    columns = [("", "model", ""), ("", "part", ""), ("", title, ""), ("", "share", "")]
    return Table(key, "The figures", "", columns, rows)

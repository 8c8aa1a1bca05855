"""The chosen artefact layer by layer: the table, and bars of its bytes and its milliseconds."""

from __future__ import annotations

from itertools import groupby

from .breakdown import PARTS
from .cells import Cell, Figure, Row, Table, figure, source
from .derived import digits, megabytes
from .plots import rows
from .record import LayerPart, Run
from .svg import SHAPES


def layers_table(run: Run) -> Table:
    """Every part of every layer: parameters, bytes and milliseconds, with their shares."""
    columns = [("", "part", ""), ("", "parameters", "thousand"), ("bytes", "kB", ""), ("bytes", "share", "%")]
    columns += [("time", "ms", ""), ("time", "share", "%")]
    if run.layers is None:
        return Table("layers", "Layer by layer", "", columns, [])
    found = run.layers.parts
    whole, total = sum(one.bytes for one in found) or 1, sum(one.ms or 0 for one in found) or 1.0
    made = []
    for number, one in enumerate(found):
        path = f"layers.parts[{number}]"
        cells = [
            Cell(_group(one), one.part if one.layer else "", source(f"{path}.part", one.part)),
            figure(f"{path}.parameters", one.parameters, lambda count: digits(count / 1e3)),
            figure(f"{path}.bytes", one.bytes, lambda count: digits(count / 1e3)),
            figure(f"{path}.bytes", one.bytes, lambda count: f"{100 * count / whole:.1f}"),
            figure(f"{path}.ms", one.ms, lambda ms: f"{ms:.3f}"),
            figure(f"{path}.ms", one.ms, lambda ms: f"{100 * ms / total:.1f}"),
        ]
        made.append(Row(cells))
    caption = " ".join(_caption(run, field) for field in ("bytes", "ms"))
    return Table("layers", "Layer by layer", caption, columns, made).known()


def layers_figures(run: Run, key: str) -> list[Figure]:
    """Bytes, and milliseconds where they are known, as horizontal bars: a row for each layer, cut into its parts."""
    found = []
    for field, title in (("bytes", "The bytes of the file"), ("ms", "The milliseconds of an inference")):
        parts = [(n, one) for n, one in enumerate(run.layers.parts if run.layers else []) if getattr(one, field)]
        if not parts:
            continue
        names = list(dict.fromkeys(one.part for _, one in parts))
        bars = [(name, *_bar(list(own), names, field)) for name, own in groupby(parts, key=lambda one: _group(one[1]))]
        desc = "; ".join(about for _, _, cut in bars for *_, about in cut)
        legend = [(min(number, PARTS), SHAPES[1], name) for number, name in enumerate(names)]
        caption = f"{_caption(run, field)} Paths: layers.parts."
        found.append(Figure(title, rows(f"{key}-{field}", title, desc, bars), caption, legend, kind="layers"))
    return found


def _group(one: LayerPart) -> str:
    return f"layer {one.layer}" if one.layer else one.part


def _bar(found: list[tuple[int, LayerPart]], names: list[str], field: str) -> tuple[str, list[tuple[int, float, str]]]:
    """The bar's total in words, and its parts as (colour, value, title)."""
    cut, total = [], 0.0
    for number, one in found:
        value = float(getattr(one, field) or 0)
        said = _said(value, field)
        where = f"{_group(one)}, {one.part}" if one.layer else one.part
        colour = min(names.index(one.part), PARTS)
        cut.append((colour, value, f"{where}: {said} — layers.parts[{number}].{field}"))
        total += value
    return _said(total, field), cut


def _said(value: float, field: str) -> str:
    if field == "ms":
        return f"{digits(value)} ms"
    return f"{value:,.0f} bytes" if value < 1e3 else f"{digits(value / 1e3)} kB" if value < 1e5 else megabytes(value)


def _caption(run: Run, field: str) -> str:
    assert run.layers is not None
    if field == "bytes":
        return f"The bytes add up to the file {run.layers.model}, the chosen artefact."
    if run.layers.length is None:
        return "Its runtime has no profiler, so milliseconds are not known."
    return (
        f"Milliseconds on one thread at length {run.layers.length}, by the runtime's own profiler, which slows the run "
        "that it watches: read shares."
    )

"""Accuracy by prompt as SVG files: against the number of examples and, for several models, against their size.

Chance and the commonest label are dashed lines. A file carries the report's colours and needs nothing beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..benchmarks.plots import Line
from ..benchmarks.rendering import TEMPLATES
from ..benchmarks.svg import SHAPES, done, el, log_ticks, picture, short, ticks
from ..files import write_text
from .record import Result, Score, Scores

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 300, 42, 130, 34, 252


class Axis(NamedTuple):
    """The x-axis: where values stand, in [0, 1], and which are named."""

    label: str
    place: Callable[[float], float]
    marks: list[tuple[float, str]]


def save(found: Scores, document: Path) -> list[Path]:
    """Write the plots beside the document; gives their places."""
    places = []
    for name, text in pictures(found).items():
        places.append(document.with_name(f"{document.stem}-{name}.svg"))
        write_text(places[-1], text)
    return places


def pictures(found: Scores) -> dict[str, str]:
    """The plots of every score by prompt, as `SCORE-k` and, of several models, `SCORE-parameters`."""
    made = {}
    for score in (score for score in found.scores if score.kind == "prompted" and score.results):
        made[f"{score.name}-k"] = by_shots(score)
        if len(found.models) > 1:
            made[f"{score.name}-parameters"] = by_size(score, {model.name: model.parameters for model in found.models})
    return made


def by_shots(score: Score) -> str:
    """A line for each model over k, whose values stand at equal steps."""
    counts = sorted({result.condition["k"] for result in score.results})
    steps = {float(k): number / max(1, len(counts) - 1) for number, k in enumerate(counts)}
    names = dict.fromkeys(result.model for result in score.results)
    lines = [Line(name, [_point(result, result.condition["k"]) for result in score.results if result.model == name])
             for name in names]  # fmt: skip
    axis = Axis("examples in the prompt (k)", steps.__getitem__, [(float(k), str(k)) for k in counts])
    return _draw(score, f"{score.name}: accuracy against k", lines, axis)


def by_size(score: Score, parameters: dict[str, int]) -> str:
    """A line for each k over the models' parameters, on a logarithmic axis."""
    low, high = min(parameters.values()) / 1.2, max(parameters.values()) * 1.2
    lines = []
    for k in sorted({result.condition["k"] for result in score.results}):
        own = sorted((r for r in score.results if r.condition["k"] == k), key=lambda r: parameters[r.model])
        lines.append(Line(f"k = {k}", [_point(result, parameters[result.model]) for result in own]))
    marks = [(value, _count(value)) for value in log_ticks(low, high)]
    axis = Axis("parameters", lambda value: math.log(value / low) / math.log(high / low), marks)
    return _draw(score, f"{score.name}: accuracy against model size", lines, axis)


def _point(result: Result, x: float) -> tuple[float, float, str]:
    accuracy = 100 * result.metrics["accuracy"]
    return float(x), accuracy, f"{result.model}, k = {result.condition['k']}: {accuracy:.1f} %"


def _count(value: float) -> str:
    """1,000,000 as 1M."""
    size, unit = next(((size, unit) for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= size), (1.0, ""))
    return f"{value / size:g}{unit}"


def _draw(score: Score, title: str, lines: Sequence[Line], axis: Axis) -> str:
    references = {name: 100 * metrics["accuracy"] for name, metrics in score.results[0].baselines.items()}
    values = [y for line in lines for _, y, _ in line.points] + list(references.values())
    pad = (max(values) - min(values)) * 0.1 or 1.0
    low, high = max(0.0, min(values) - pad), min(100.0, max(values) + pad)

    def x_at(value: float) -> float:
        return LEFT + 10 + (WIDTH - LEFT - RIGHT - 20) * axis.place(value)

    def y_at(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    said = "; ".join(text for line in lines for _, _, text in line.points)
    svg = picture(f"{score.name}-plot", title, said, HEIGHT, WIDTH)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    el(svg, "style", text=_style())
    el(svg, "text", "label", x=2, y=TOP - 16, text=f"accuracy % over {score.rows:,} queries")
    for value in ticks(low, high, 5):
        el(svg, "line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(value), y2=y_at(value))
        el(svg, "text", "tick end", x=LEFT - 6, y=y_at(value) + 4, text=f"{value:g}")
    for x, text in axis.marks:
        el(svg, "text", "tick mid", x=x_at(x), y=BOTTOM + 18, text=text)
    el(svg, "text", "label mid", x=(LEFT + WIDTH - RIGHT) / 2, y=BOTTOM + 38, text=axis.label)
    names = [(y_at(value), name, "soft") for name, value in references.items()]
    for value in references.values():
        el(svg, "line", "limit", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(value), y2=y_at(value))
    for colour, line in enumerate(lines):
        group = el(svg, "g", f"s{colour % 8}")
        el(group, "polyline", "line", points=" ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y, _ in line.points))
        for x, y, text in line.points:
            place = f"translate({x_at(x):.1f} {y_at(y):.1f}) scale(.72)"
            el(el(group, "path", "mark", d=SHAPES[colour % len(SHAPES)], transform=place), "title", text=text)
        names.append((y_at(line.points[-1][1]), line.name, f"s{colour % 8}"))
    taken = -math.inf
    for y, name, style in sorted(names):
        taken = max(y, taken + 14)
        group = el(svg, "g", style)
        el(
            group,
            "text",
            "label" if style == "soft" else "tint",
            x=WIDTH - RIGHT + 6,
            y=taken + 4,
            text=short(name, 17),
        )
    return f"{done(svg)}\n"


def _style() -> str:
    """The report's colours and what it says of plots; a file of its own has a page of its own."""
    css = (TEMPLATES / "style.css").read_text("utf-8")
    blocks = re.findall(r"^(?::root \{.*?^\}|@media \(prefers-color-scheme: dark\) \{.*?^\})", css, re.M | re.S)
    rules = re.findall(r"^(?:svg |\.s\d ).*$", css, re.M)
    return "\n".join([*blocks, *rules, "svg { background: var(--page); }"])

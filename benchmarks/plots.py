"""Five plots as inline SVG: points against a cost, curves over epochs, stacked bars, a waterfall, rows of bars.

- Nothing here knows what a run is; `figures.py` chooses what to draw.
- Series differ by shape as well as by colour; every mark has a `<title>` to hover and hear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from .svg import (
    CHARACTER,
    CURVE_WIDTH,
    LEFT,
    RIGHT,
    SHAPES,
    WIDTH,
    done,
    el,
    log_ticks,
    picture,
    place_labels,
    short,
    ticks,
)


class Point(NamedTuple):
    """One mark of a scatter plot; y is in the plot's unit."""

    label: str
    x: float
    y: float
    title: str
    series: int
    low: float | None = None  # whiskers
    high: float | None = None
    hollow: bool = False
    strong: bool = False


class Line(NamedTuple):
    """One curve: (epoch, value, title) in order."""

    name: str
    points: list[tuple[float, float, str]]


class Panel(NamedTuple):
    """Curves that share an axis."""

    label: str
    lines: list[Line]


class Bar(NamedTuple):
    """One stacked bar: (colour, part, value, title) in order."""

    label: str
    total: str
    parts: list[tuple[int, str, float, str]]
    full: bool = False  # stretched to the whole width: shares


class Fall(NamedTuple):
    """One panel of a waterfall: what it shows, and (stop, value, as text, title) in order."""

    label: str
    stops: list[tuple[str, float, str, str]]


def scatter(
    key: str, title: str, desc: str, points: Sequence[Point], x_label: str, y_label: str,
    x_limit: float | None = None, y_limit: float | None = None,
) -> Markup:  # fmt: skip
    """Score against a cost on a logarithmic axis; the corner that meets both limits is shaded."""
    height, top, bottom = 330, 24, 284
    solid = [p for p in points if not p.hollow] or list(points)
    heights = [v for p in solid for v in (p.y, p.low, p.high, y_limit) if v is not None]
    pad = (max(heights) - min(heights)) * 0.08 or 1.0
    y_low, y_high = min(heights) - pad, max(heights) + pad
    costs = [v for v in (*(p.x for p in points), x_limit) if v is not None]
    x_low, x_high = min(costs) / 1.35, max(costs) * 1.35

    def x_at(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / x_low) / math.log(x_high / x_low)

    def y_at(value: float) -> float:
        return bottom - (bottom - top) * (min(max(value, y_low), y_high) - y_low) / (y_high - y_low)

    svg = picture(key, title, desc, height)
    right = x_at(x_limit) if x_limit is not None else WIDTH - RIGHT
    base = y_at(y_limit) if y_limit is not None else bottom
    if x_limit is not None or y_limit is not None:
        zone = el(svg, "rect", "zone", x=LEFT, y=top, width=right - LEFT, height=base - top)
        el(zone, "title", text="meets the limits of the budget")
    for value in ticks(y_low, y_high):
        el(svg, "line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y_at(value), y2=y_at(value))
        el(svg, "text", "tick end", x=LEFT - 6, y=y_at(value) + 4, text=f"{value:g}")
    for value in log_ticks(x_low, x_high):
        el(svg, "line", "axis", x1=x_at(value), x2=x_at(value), y1=bottom, y2=bottom + 5)
        el(svg, "text", "tick mid", x=x_at(value), y=bottom + 18, text=f"{value:g}")
    el(svg, "line", "axis", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom)
    el(svg, "text", "label mid", x=(LEFT + WIDTH - RIGHT) / 2, y=bottom + 38, text=x_label)
    el(svg, "text", "label", x=2, y=13, text=y_label)
    if x_limit is not None:
        el(svg, "line", "limit", x1=right, x2=right, y1=top, y2=bottom)
    if y_limit is not None:
        el(svg, "line", "limit", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base)
    points = sorted(points, key=lambda p: p.strong)  # the chosen one on top
    spots = [(x_at(p.x), y_at(p.y)) for p in points]
    for point, (x, y) in zip(points, spots, strict=True):
        mark = el(svg, "g", f"s{point.series}" + " hollow" * point.hollow + " strong" * point.strong)
        el(mark, "title", text=point.title)
        if point.low is not None and point.high is not None and not point.hollow:
            el(mark, "line", "whisker", x1=x, x2=x, y1=y_at(point.low), y2=y_at(point.high))
        if point.strong:
            el(mark, "circle", "ring", cx=x, cy=y, r=9)
        el(
            mark,
            "path",
            "mark",
            d=SHAPES[point.series % len(SHAPES)],
            transform=f"translate({x:.1f} {y:.1f})",
        )
    texts = [f"{p.label} ↓ {p.y:.1f}" if p.y < y_low else p.label for p in points]
    for (tx, ty, side), text, point, (x, y) in zip(
        place_labels(spots, texts, bottom), texts, points, spots, strict=True
    ):
        if abs(ty - y) > 12:
            el(svg, "line", "lead", x1=x, y1=y, x2=tx, y2=ty)
        el(svg, "text", f"name {side}" + " strong" * point.strong, x=tx, y=ty + 4, text=text)
    return done(svg)


def curves(key: str, title: str, desc: str, panels: Sequence[Panel], kept: float | None = None) -> Markup:
    """Panels below each other over the same epochs; the kept epoch is marked."""
    tall, gap, right = 112, 42, 92
    height = len(panels) * (tall + gap) + 22
    epochs = [x for panel in panels for line in panel.lines for x, _, _ in line.points]
    first, last = min(epochs), max(epochs)

    def x_at(value: float) -> float:
        share = (value - first) / (last - first) if last > first else 0.5
        return LEFT + 8 + (CURVE_WIDTH - LEFT - right - 16) * share

    svg = picture(key, title, desc, height, CURVE_WIDTH)
    for number, panel in enumerate(panels):
        top = number * (tall + gap) + 26
        bottom = top + tall
        values = [y for line in panel.lines for _, y, _ in line.points]
        pad = (max(values) - min(values)) * 0.1 or abs(max(values)) * 0.1 or 1.0
        low, high = min(values) - pad, max(values) + pad
        low = 0.0 if min(values) >= 0 and low < 0.35 * high else low

        def y_at(value: float, bottom: int = bottom, low: float = low, high: float = high) -> float:
            return bottom - tall * (value - low) / (high - low)

        el(svg, "text", "label", x=2, y=top - 11, text=panel.label)
        for value in ticks(low, high, 4):
            el(svg, "line", "grid", x1=LEFT, x2=CURVE_WIDTH - right, y1=y_at(value), y2=y_at(value))
            el(svg, "text", "tick end", x=LEFT - 6, y=y_at(value) + 4, text=f"{value:g}")
        el(svg, "line", "axis", x1=LEFT, x2=CURVE_WIDTH - right, y1=bottom, y2=bottom)
        if kept is not None:
            el(svg, "line", "limit", x1=x_at(kept), x2=x_at(kept), y1=top, y2=bottom)
        ends: list[float] = []
        for colour, line in sorted(enumerate(panel.lines), key=lambda pair: y_at(pair[1].points[-1][1])):
            group = el(svg, "g", f"s{colour}")
            path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y, _ in line.points)
            el(group, "polyline", "line", points=path)
            for x, y, text in line.points:
                place = f"translate({x_at(x):.1f} {y_at(y):.1f}) scale(.72)"
                dot = el(group, "path", "mark", d=SHAPES[colour % len(SHAPES)], transform=place)
                el(dot, "title", text=text)
            x, y, _ = line.points[-1]
            ends.append(max(y_at(y), ends[-1] + 14) if ends else y_at(y))
            el(group, "text", "name tint", x=x_at(last) + 10, y=ends[-1] + 4, text=short(line.name, 15))
    whole = range(math.ceil(first), math.floor(last) + 1)
    for epoch in whole if len(whole) <= 12 else ticks(first, last):
        el(svg, "text", "tick mid", x=x_at(epoch), y=height - 18, text=f"{epoch:g}")
    el(svg, "text", "label mid", x=(LEFT + CURVE_WIDTH - right) / 2, y=height - 2, text="epoch")
    return done(svg)


def stacked(key: str, title: str, desc: str, bars: Sequence[Bar]) -> Markup:
    """Horizontal bars cut into parts, on one scale but for those that show shares."""
    step, tall = 50, 24
    svg = picture(key, title, desc, step * len(bars) + 2)
    scale = max((sum(v for _, _, v, _ in bar.parts) for bar in bars if not bar.full), default=1.0) or 1.0
    for number, bar in enumerate(bars):
        y = number * step + 18
        el(svg, "text", "name", x=0, y=y - 6, text=short(bar.label, 40))
        el(svg, "text", "tick end", x=WIDTH, y=y - 6, text=bar.total)
        whole = sum(v for _, _, v, _ in bar.parts) or 1.0
        x, unit = 0.0, WIDTH / (whole if bar.full else scale)
        for colour, part, value, text in bar.parts:
            width = value * unit
            group = el(svg, "g", f"s{colour}")
            el(group, "title", text=text)
            el(group, "rect", "part", x=x, y=y, width=max(width - 1.2, 0.4), height=tall)
            if width > CHARACTER * len(part) + 8:
                el(group, "text", "on", x=x + 6, y=y + 16, text=part)
            x += width
    return done(svg)


def waterfall(key: str, title: str, desc: str, panels: Sequence[Fall]) -> Markup:
    """Bars that fall from stop to stop, from 0; what a stop took away stands behind its bar."""
    step, tall, head, left, right = 20, 12, 34, 112, 100
    svg = picture(key, title, desc, sum(head + step * len(panel.stops) for panel in panels))
    top = 0
    for colour, panel in enumerate(panels):
        el(svg, "text", "label", x=2, y=top + 22, text=panel.label)
        unit = (WIDTH - left - right) / (max(value for _, value, _, _ in panel.stops) or 1.0)
        before = 0.0
        for number, (name, value, said, about) in enumerate(panel.stops):
            y = top + head + step * number
            row = el(svg, "g", f"s{colour}")
            el(row, "title", text=about)
            el(row, "text", "name end", x=left - 8, y=y + 10, text=short(name, 15))
            if before > value:
                el(row, "rect", "cut", x=left + value * unit, y=y, width=(before - value) * unit, height=tall)
            el(row, "rect", "part", x=left, y=y, width=max(value * unit, 0.6), height=tall)
            el(row, "text", "name", x=left + max(value, before) * unit + 6, y=y + 10, text=said)
            before = value
        top += head + step * len(panel.stops)
    return done(svg)


def rows(key: str, title: str, desc: str, bars: Sequence[tuple[str, str, Sequence[tuple[int, float, str]]]]) -> Markup:
    """Horizontal bars on one scale, each (name, total in words, [(colour, value, title)]) and cut into those parts."""
    step, tall, left, right = 22, 14, 118, 66
    svg = picture(key, title, desc, step * len(bars) + 4)
    unit = (WIDTH - left - right) / (max(sum(value for _, value, _ in parts) for _, _, parts in bars) or 1.0)
    for number, (name, total, parts) in enumerate(bars):
        y, x = step * number + 4, float(left)
        el(svg, "text", "name end", x=left - 8, y=y + 11, text=short(name, 17))
        for colour, value, about in parts:
            part = el(svg, "g", f"s{colour}")
            el(part, "title", text=about)
            el(part, "rect", "part", x=x, y=y, width=max(value * unit - 0.8, 0.4), height=tall)
            x += value * unit
        el(svg, "text", "name", x=x + 6, y=y + 11, text=total)
    return done(svg)

"""The pencil of the plots: SVG elements, axis ticks, places for labels.

- ElementTree rather than matplotlib: the page's style sheet colours a plot (light, dark, print), text stays
  text, names are escaped, and equal input gives equal bytes.
- Widths are for a phone: 440 units, of which a letter takes about 7.
"""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH = 440
CURVE_WIDTH = 350
LEFT, RIGHT = 42, 12
SHAPES = (
    "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0Z",  # circle
    "M-4.2-4.2h8.4v8.4h-8.4Z",  # square
    "M0-5.4L5.2 4H-5.2Z",  # triangle
    "M0-5.8L5.8 0L0 5.8L-5.8 0Z",  # diamond
)
OFFSETS = (0, -15, 15, -28, 28, -41, 41, -54, 54, -67, 67)  # of a label from its mark, nearest first
CHARACTER = 6.9  # width of a label's average character, in units


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round values within [low, high], at most about `count`."""
    raw = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [round(n * step, 12) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 of every decade within [low, high]; powers of ten alone over more than three decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low <= 1000 else (1,)
    return [v for d in decades for f in factors if low <= (v := round(f * 10.0**d, 12)) <= high]


def place_labels(spots: list[tuple[float, float]], texts: list[str], bottom: float) -> list[tuple[float, float, str]]:
    """A place (x, y, side) for each label where it covers no mark and no other label."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in spots]
    out: list[tuple[float, float, str]] = []
    for (x, y), text in reversed(list(zip(spots, texts, strict=True))):
        wide = CHARACTER * len(text)
        best = (x + 11, y, "start") if x < WIDTH / 2 else (x - 11, y, "end")
        for dy, side in ((dy, side) for dy in OFFSETS for side in ("start", "end")):
            left = x + 11 if side == "start" else x - 11 - wide
            box = (left, y + dy - 7, left + wide, y + dy + 7)
            free = all(box[2] < t[0] or t[2] < box[0] or box[3] < t[1] or t[3] < box[1] for t in taken)
            if free and left > 4 and box[2] < WIDTH and box[1] > 18 and box[3] < bottom + 2:
                taken.append(box)
                best = (x + 11 if side == "start" else x - 11, y + dy, side)
                break
        out.append(best)
    return out[::-1]


def short(text: str, limit: int) -> str:
    """The text, cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def picture(key: str, title: str, desc: str, height: int, width: int = WIDTH) -> Element:
    """An empty picture with its title and description, which screen readers speak."""
    names = f"{key}-title {key}-desc"
    svg = Element("svg", {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-labelledby": names})
    el(svg, "title", text=title).set("id", f"{key}-title")
    el(svg, "desc", text=desc).set("id", f"{key}-desc")
    return svg


def el(parent: Element, name: str, style: str = "", *, text: str = "", **values: float | str) -> Element:
    """A child element; numbers are written with one decimal."""
    element = SubElement(parent, name, {"class": style} if style else {})
    for key, value in values.items():
        element.set(key, value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0"))
    element.text = text or None
    return element


def done(svg: Element) -> Markup:
    """The picture as markup; ElementTree has escaped every text in it."""
    return Markup(tostring(svg, encoding="unicode"))

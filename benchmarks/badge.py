"""A badge of one run: `attar | 3.9 MB · 2.1 ms · 98.6 %`, drawn here, and the lines that show it.

- An SVG of its own with no request, no script and no font to load; the same record gives the same bytes.
- White on two dark grounds (contrast above 7); its name says in full what the three figures are, and under which
  conditions the time was taken.
"""

from __future__ import annotations

from .derived import PROPORTIONS, chosen, digits, latency_at, megabytes, metric_of, row_of, score, setting_of, split_of
from .record import Model, Run
from .svg import done, el, picture

LEFT, RIGHT, TEXT = "#3f3438", "#8e1b46", "#ffffff"
HEIGHT, PAD, NAME = 20, 7, "attar"
NARROW, WIDE = " .,·:;|il1!'", "mwMW%@—"
FONT = "11px Verdana, 'DejaVu Sans', Geneva, sans-serif"


def svg(run: Run) -> str:
    """The badge as a file."""
    said = figures(run)
    left, right = (_width(text) + 2 * PAD for text in (NAME, said))
    image = picture("badge", label(run), "", HEIGHT, left + right)
    image.attrib |= {"xmlns": "http://www.w3.org/2000/svg", "width": str(left + right), "height": str(HEIGHT)}
    image.attrib |= {"aria-label": label(run)}
    for x, width, colour in ((0, left, LEFT), (left, right, RIGHT)):
        el(image, "rect", x=x, width=width, height=HEIGHT, fill=colour)
    for x, width, text in ((PAD, left, NAME), (left + PAD, right, said)):
        shown = el(image, "text", x=x, y=14, fill=TEXT, textLength=width - 2 * PAD, text=text)
        shown.set("style", f"font: {FONT}")
    return f"{done(image)}\n"


def line(run: Run, image: str = "badge.svg") -> str:
    """The badge in Markdown."""
    name = label(run).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"![{' '.join(name.split())}]({image.replace(' ', '%20').replace(')', '%29')})"


def figures(run: Run) -> str:
    """Size, time and score of the chosen artefact, as far as they were measured; without one what was trained."""
    model = _model(run)
    if model is None:
        return "not trained"
    time = latency_at(model, _setting(run, model))
    known = [
        megabytes(model.bytes) if model.bytes else "",
        f"{digits(time.p50_ms)} ms" if time else "",
        _score(run, model),
    ]
    return " · ".join(filter(None, known)) or "not measured"


def label(run: Run) -> str:
    """What the badge says, in full."""
    model = _model(run)
    if model is None:
        return f"attar: {run.name}, nothing was trained"
    said = [f"attar: {run.name}, {model.name}"]
    if model.bytes:
        said.append(megabytes(model.bytes))
    if time := latency_at(model, _setting(run, model)):
        threads = "one thread" if time.threads == 1 else f"{time.threads} threads"
        processor = run.machine.get("processor")
        where = f" on {processor}" if processor else ""
        said.append(f"{digits(time.p50_ms)} ms (p50, {threads}, length {time.length}{where})")
    if value := _score(run, model):
        said.append(f"{value.removesuffix(metric_of(run)).strip()} {split_of(run)} {metric_of(run)}")
    return ", ".join(said)


def _model(run: Run) -> Model | None:
    return chosen(run) or row_of(run, "student") or row_of(run, "teacher")


def _setting(run: Run, model: Model) -> tuple[int, int] | None:
    """The report's length and threads, or what this model was timed at, fewest threads and longest length first."""
    if latency_at(model, setting_of(run)):
        return setting_of(run)
    own = [(one.length, one.threads) for one in model.cost.latencies]
    return max(own, key=lambda pair: (-pair[1], pair[0]), default=None)


def _score(run: Run, model: Model) -> str:
    """`98.6 %` of rows, or `0.893 spearman` of what is no share of them."""
    metric = metric_of(run)
    value = score(model, split_of(run), metric)
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if metric in PROPORTIONS else f"{value:.3f} {metric}"


def _width(text: str) -> int:
    """Of a text at 11 pixels, about; `textLength` makes it exact."""
    return round(sum(4 if sign in NARROW else 9 if sign in WIDE else 13 if ord(sign) > 0x2E80 else 7 for sign in text))

"""Do two repetitions of a bench agree within the intervals that they state?

    attar bench BUNDLE --all --json > first.json; attar bench BUNDLE --all --json > second.json
    python -m attar.benchmarks.agreement first.json second.json

- Two estimates of the same quantity differ by more than √(a² + b²), a and b half of their 95 % intervals, once in
  twenty times by chance alone. So of twenty figures one may disagree, and more than that says that the intervals are
  too narrow.
- Speeds (ratios of models in turns) and times (p50) are held apart: a busy machine moves the times of a whole run.
- The exit code is 1 where more figures disagree than chance would bring nineteen times in twenty.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import FAILED, AttarError, UsageError
from . import compare, terminal
from .intervals import half_width
from .record import Latency, Site

CHANCE = 0.05


class Pair(NamedTuple):
    """One figure of both repetitions."""

    name: str
    kind: str  # "speed" or "time"
    apart: float  # |log(first / second)|
    allowed: float  # √(a² + b²)

    @property
    def agrees(self) -> bool:
        """Within what the intervals allow."""
        return self.apart <= self.allowed


def pairs(first: Site, second: Site) -> list[Pair]:
    """All figures with an interval that both have. Raises `UsageError` where there are none."""
    others = {(name, one.length, one.threads): one for name, one in _latencies(second)}
    found = []
    for name, one in _latencies(first):
        other = others.get((name, one.length, one.threads))
        title = f"{name}, {compare.lengthwise(one)}, {one.threads} thr."
        if other and one.ratio_interval and other.ratio_interval and one.ratio and other.ratio:
            found.append(_pair(title, "speed", one.ratio, other.ratio, one.ratio_interval, other.ratio_interval))
        if other and one.p50_interval and other.p50_interval:
            found.append(_pair(title, "time", one.p50_ms, other.p50_ms, one.p50_interval, other.p50_interval))
    if not found:
        raise UsageError("no figure with an interval stands in both", fix="run both alike, and without --quick")
    return [one for one in found if one.allowed > 0]  # the reference's own speed is 1 in any case


def _latencies(site: Site) -> Iterator[tuple[str, Latency]]:
    return ((model.name, one) for model in site.models for one in (model.cost.latencies if model.cost else []))


def _pair(name: str, kind: str, a: float, b: float, of_a: tuple[float, float], of_b: tuple[float, float]) -> Pair:
    halves = (math.log1p(half_width(one)) for one in (of_a, of_b))
    return Pair(name, kind, abs(math.log(a / b)), math.hypot(*halves))


def most(count: int) -> int:
    """How many of so many figures disagree by chance at the most, nineteen times in twenty (binomial)."""
    below, so_far = -1, 0.0
    while so_far < 1 - CHANCE:
        below += 1
        so_far += math.comb(count, below) * CHANCE**below * (1 - CHANCE) ** (count - below)
    return below


def main(words: list[str] | None = None) -> int:
    """Compare and show; 0 where they agree, 1 where they do not, else the error's code."""
    parser = argparse.ArgumentParser(prog="attar.benchmarks.agreement", description=__doc__.partition("\n")[0])
    for name in ("first", "second"):
        parser.add_argument(name, type=Path, help="what `attar bench … --json` printed")
    options = parser.parse_args(words)
    try:
        found = pairs(compare.site(options.first), compare.site(options.second))
    except AttarError as error:
        print(error.line(), file=sys.stderr)
        return error.code
    table: Any = terminal.table("figure", "kind", ">apart", ">allowed", "")
    for one in found:
        table.add_row(one.name, one.kind, f"{one.apart:.1%}", f"{one.allowed:.1%}", "" if one.agrees else "differs")
    said, code = [], 0
    for kind in ("speed", "time"):
        own = [one for one in found if one.kind == kind]
        agree, least = sum(one.agrees for one in own), len(own) - most(len(own))
        said.append(f"{kind}s: {agree} of {len(own)} agree, {least} or more are expected")
        code = FAILED if agree < least else code
    terminal.show(table, *said)
    return code


if __name__ == "__main__":
    sys.exit(main())

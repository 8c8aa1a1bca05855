"""What a machine was asked and what it could do: the work of an inference beside the machine's peak, and throughput.

- The floor of a latency is its multiply-accumulates (MACs) at the best rate that the machine reached, at the model's
  own precision, in the same run, or the reading of weights that no cache holds (`floor`): the share of it that is
  reached says what is left to win.
- Texts a second are of many texts that wait, in batches; they say nothing of how long one of them waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .cells import DASH, Cell, Row, Table, figure
from .derived import digits
from .places import place_cell, root
from .record import Cost, Placed, Site


def tables(sites: Sequence[Site]) -> list[Table]:
    """The tables that have rows."""
    return [table for table in (work(sites), throughput(sites)) if table.rows]


def work(sites: Sequence[Site]) -> Table:
    """MACs of each inference beside the machine's peak, where that was measured in the same run."""
    columns = [("", "target", ""), ("", "model", ""), ("", "length", "pieces"), ("", "threads", "")]
    columns += [("", "work", "million MACs"), ("", "weights", "MB"), ("", "p50", "ms"), ("rate", "reached", "GMAC/s")]
    columns += [("rate", "at best", "GMAC/s"), ("rate", "share", "% of the best")]
    rows = []
    for site, model, cost, path in _timed(sites):
        for place, one in enumerate(cost.latencies):
            if one.macs is None or one.floor_ms is None:
                continue  # nothing to hold it against
            at = f"{path}.latencies[{place}]"
            rate = f"{at}.macs / {at}"
            cells = [
                place_cell(site),
                Cell(model.name),
                Cell(str(one.length) if one.length else f"own, {digits(one.pieces or 0)}"),
                Cell(str(one.threads)),
                figure(f"{at}.macs", one.macs, lambda count: digits(count / 1e6)),
                figure(f"{at}.weights", one.weights, lambda count: digits(count / 1e6)),
                figure(f"{at}.p50_ms", one.p50_ms, digits),
                Cell(digits(one.macs / one.p50_ms / 1e6), "", f"{rate}.p50_ms"),
            ]
            cells += [
                Cell(digits(one.macs / one.floor_ms / 1e6), "", f"{rate}.floor_ms"),
                Cell(f"{100 * one.floor_ms / one.p50_ms:.0f}", "", f"{at}.floor_ms / {at}.p50_ms"),
            ]
            rows.append(Row(cells))
    caption = (
        "Multiply-accumulates of the products with weights and of attention, by the file's own graph. At best: what "
        "the same machine reached in large products, in float32 or in 8 bits as the model is, or what its memory lets "
        "through of weights that its last cache does not hold."
    )
    return Table("work", "Work, and the machine's floor", caption, columns, rows)


def throughput(sites: Sequence[Site]) -> Table:
    """Texts a second of each model, by batch and threads."""
    found = list(_timed(sites))
    settings = sorted({(one.threads, one.batch) for _, _, cost, _ in found for one in cost.throughputs})
    columns = [("", "target", ""), ("", "model", "")]
    columns += [(f"{threads} thread{'s' * (threads > 1)}", f"batch {batch}", "texts/s") for threads, batch in settings]
    rows = []
    for site, model, cost, path in found:
        rates = {(one.threads, one.batch): (n, one.texts_per_s) for n, one in enumerate(cost.throughputs)}
        if not rates:
            continue
        cells = [place_cell(site), Cell(model.name)]
        for setting in settings:
            number, rate = rates.get(setting, (0, None))
            cells.append(figure(f"{path}.throughputs[{number}].texts_per_s", rate, digits) if rate else Cell(DASH))
        rows.append(Row(cells))
    caption = "Many texts wait, and are answered in batches of like length; the median pass over all of them."
    return Table("throughput", "Throughput", caption, columns, rows)


def _timed(sites: Sequence[Site]) -> Iterator[tuple[Site, Placed, Cost, str]]:
    """Every model that was timed, and the path of its cost."""
    for at, site in enumerate(sites):
        for number, model in enumerate(site.models):
            if model.cost:
                yield site, model, model.cost, f"{root(site, at)}models[{number}].cost"

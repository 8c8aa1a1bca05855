"""How long attention takes to learn on this CPU: torch's fused kernel against plain products, in turns in one process.

    python -m attar.compress.attention_cost --length 13 64 128 256

Forward and backward of one layer, 32 rows of 12 heads of 32, without dropout, one thread. Above 1 plain products are
faster: `training.PLAIN` is the length up to which a training in bfloat16 takes them. It needs torch, which `benchmarks`
must do without.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from ..benchmarks import machine

ROWS, HEADS, WIDTH, TURNS = 32, 12, 32, 9


def ratios(length: int, rounded: bool) -> float:
    """The fused kernel's median time over that of plain products, at so many pieces, in bfloat16 where `rounded`."""
    import torch
    from torch.nn import functional as F

    kind = torch.bfloat16 if rounded else torch.float32
    given = [torch.randn(ROWS, HEADS, length, WIDTH, dtype=kind, requires_grad=True) for _ in range(3)]
    mask = torch.zeros(ROWS, 1, 1, length, dtype=kind)
    query, key, value = given

    def plain() -> torch.Tensor:
        scores = query @ key.transpose(-1, -2) * WIDTH**-0.5 + mask
        return F.softmax(scores, -1, dtype=torch.float32).to(kind) @ value

    def fused() -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def seconds(attend: Callable[[], torch.Tensor]) -> float:
        start = time.perf_counter()
        torch.autograd.grad(attend().sum(), given)
        return time.perf_counter() - start

    taken = [(seconds(fused), seconds(plain)) for _ in range(TURNS + 1)][1:]  # the first one warms up
    slow, quick = zip(*taken, strict=True)
    return float(statistics.median(slow) / statistics.median(quick))


def main(words: Sequence[str] | None = None) -> None:
    """Print the ratios."""
    import torch

    parser = argparse.ArgumentParser(prog="attar.compress.attention_cost", description="Fused against plain attention.")
    parser.add_argument("--length", type=int, nargs="+", default=[13, 64, 128, 256], help="pieces (13 64 128 256)")
    lengths = parser.parse_args(words).length
    torch.set_num_threads(1)
    table = Table("pieces", "float32", "bfloat16", title=f"fused / plain, {machine.processor()}, one thread")
    for length in lengths:
        table.add_row(str(length), *(f"{ratios(length, rounded):.2f}" for rounded in (False, True)))
    Console().print(table)


if __name__ == "__main__":
    main()

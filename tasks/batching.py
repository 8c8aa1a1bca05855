"""Batches bucketed by length: rows of like length stand together, so little is padded.

The order depends on the seed and the epoch alone; a training that continues after an interruption sees the same
batches as one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

POOL = 50  # batches that are sorted together: large enough to pad little, small enough to mix well

Indices = npt.NDArray[np.int64]


def shuffled(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Row numbers of each training batch of an epoch; every row once."""
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    size = np.asarray(lengths)
    batches: list[Indices] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = order[start : start + POOL * batch_size]
        pool = pool[np.argsort(size[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[number] for number in generator.permutation(len(batches))]


def ordered(lengths: Sequence[int], batch_size: int) -> list[Indices]:
    """Row numbers of each evaluation batch, shortest rows first."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]

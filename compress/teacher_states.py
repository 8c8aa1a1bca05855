"""What the teacher's layers say of a batch: from the cache where the recipe allows its bytes, else computed beside.

- States are large (a row of 64 pieces, four layers of 384: 400 kB), and every epoch of a teacher that runs beside its
  student is its whole time again. `distil.cache.states` allows bytes; what is needed is said before it is written, and
  where the disk has no room for it nothing is.
- Both ways give the same numbers but for the order of sums: a row is computed in another batch there than here. The
  cache is float32 whatever the precision of the phase.
- Heads are pooled to the student's number before anything is kept: fewer bytes.
- A cache that stands beside the runs is shared by students of one teacher. It holds what TinyBERT's three losses read,
  whichever of them a run has, so that ablations read one cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import DiskFullError
from ..tasks import batching
from ..tasks.encoding import collate
from ..teachers import checkpoint, layout
from . import states
from .cache import Cache, Kept, key
from .losses import pool_heads
from .pair import Pair
from .states import Seen, Wanted

BATCH = 64  # sequences that the teacher reads at once


class TeacherStates:
    """The teacher's states for batches of training rows. Where attention is recorded, the teacher is `recordable`."""

    def __init__(
        self, pair: Pair, wanted: Wanted, folder: Path, allowed: float | None, held: Wanted | None = None
    ) -> None:
        """Open the cache in `folder` where `allowed` bytes suffice; it may hold more than is `wanted`: `held`."""
        self.pair, self.wanted, self.held = pair, wanted, held or wanted
        self.heads = pair.shares
        self.cache: Cache | None = None
        if allowed is None or wanted == Wanted():
            return
        wanted, each = self.held, bytes_each(pair, self.held)
        if sum(each) > allowed:
            need = f"{sum(each) / 1e6:,.1f} MB on disk of {allowed / 1e6:,.1f} MB allowed: it runs beside the student"
            pair.progress("teacher's states", 1.0, need)
            return
        what = ["states", *(sorted(one) for one in (wanted.hidden, wanted.scores, wanted.vectors)), self.heads]
        if layout.kind(pair.teacher.config) in checkpoint.DECODERS:
            what.append("above the norm")  # where older caches have the highest states from below it
        name = key(pair.digest, pair.lessons.features, what)
        place = folder / name[:16] if held else folder / "states"
        try:
            with pair.asking():
                self.cache = Cache(place, name, each, self._make, pair.progress, "teacher's states", pair.processes)
        except DiskFullError as error:
            pair.progress("teacher's states", 1.0, f"{error.what}, {error.where}: it runs beside the student")

    def of(self, rows: npt.NDArray[np.int64]) -> Seen:
        """The states for this process's sequences of a batch of these rows; 0 or anything where padded."""
        if self.cache is None:
            return self._run(self.pair.own(self.pair.lessons.batch(rows, self.pair.teacher_pad).inputs)[0], self.wanted)
        names = [
            f"{kind}/{layer}"
            for kind in ("hidden", "scores", "vectors")
            for layer in sorted(getattr(self.wanted, kind))
        ]
        numbers = self.pair.lessons.sequences(rows)
        own, _ = self.pair.processes.rows(len(numbers))
        kept = [self.cache.take(number, names) for number in numbers[own].tolist()]
        seen = Seen()
        for name in kept[0]:
            kind, layer = name.split("/")
            getattr(seen, kind)[int(layer)] = stack([one[name] for one in kept], self.pair.device)
        return seen

    def _run(self, arrays: dict[str, Any], wanted: Wanted) -> Seen:
        """Let the teacher read a batch, as far up as it is needed."""
        teacher = self.pair.teacher
        with torch.inference_mode():
            inputs = checkpoint.tensors(arrays, checkpoint.takes(teacher), self.pair.device)
            seen = states.run(teacher, inputs, wanted)
            seen.scores = {layer: pool_heads(scores, self.heads) for layer, scores in seen.scores.items()}
        return seen

    def _make(self, first: int, end: int) -> list[Kept]:
        """What is kept of some sequences, without padding."""
        features = self.pair.lessons.features[first:end]
        lengths = [len(row.input_ids) for row in features]
        found: list[Kept] = [{} for _ in features]
        for rows in batching.ordered(lengths, BATCH):
            seen = self._run(collate([features[row] for row in rows], self.pair.teacher_pad), self.held)
            for kind, axes in (("hidden", (0,)), ("scores", (1, 2)), ("vectors", (2,))):
                for layer, tensor in getattr(seen, kind).items():
                    values = tensor.float().cpu().numpy()
                    for row, value in zip(rows.tolist(), values, strict=True):
                        real = tuple(slice(lengths[row] if axis in axes else None) for axis in range(value.ndim))
                        found[row][f"{kind}/{layer}"] = value[real]
        return found


def bytes_each(pair: Pair, held: Wanted) -> list[int]:
    """How many bytes each of the teacher's sequences takes on disk, in float32."""
    width, heads = layout.shape(pair.teacher).hidden, pair.shares
    along = width * (len(held.hidden) + 3 * len(held.vectors))
    square = heads * len(held.scores)
    lengths = [len(row.input_ids) for row in pair.lessons.features]
    return [4 * (length * along + length**2 * square) for length in lengths]


def stack(arrays: list[npt.NDArray[np.float32]], device: torch.device) -> Tensor:
    """Arrays that differ in length as one tensor, (batch, *the largest of each dimension), 0 where one is shorter."""
    shape = np.array([array.shape for array in arrays]).max(0)
    found = np.zeros((len(arrays), *shape), np.float32)
    for number, array in enumerate(arrays):
        found[(number, *map(slice, array.shape))] = array
    return torch.from_numpy(found).to(device)

"""Mixed precision: which matrices bear 4 bits, and which stay in 8.

- The damage of a matrix is measured alone: all else float32, the matrix rounded to 4 bits, on calibration rows. It is
  the noise that reaches the logits, as a share of their own variance: 1 / SQNR at the network's output, by which Pandey
  et al. 2023 rank layers ("A Practical Mixed Precision Algorithm for Post-Training Quantization", arXiv:2302.05397).
  Unlike a divergence of answers it is there for every head, and independent noises add up.
- The most damage for each weight comes first, until a share of the weights is wide, or what is left of the noise is
  small enough.
- One session for all matrices: an initializer that is also an input can be given another value in each call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..export.runtimes import ort, unpadded
from ..tasks.encoding import Features, collate
from . import blocks, graphs
from .static_int8 import check_rows

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sensitivity:
    """What 4 bits do to one matrix."""

    name: str  # of the initializer
    title: str  # of the module
    elements: int
    noise: float  # mean squared error of the logits over their variance, this matrix alone in 4 bits
    wide: bool = False


def measure(fp32: Path, rows: Sequence[Features], block: int, pad_id: int = 0) -> list[Sensitivity]:
    """The noise of every matrix of a float32 ONNX file, in the order of their use."""
    from onnx import helper, numpy_helper

    model = graphs.parted(graphs.load(fp32))
    check_rows(model, rows, str(fp32))
    found = graphs.matrices(model)
    weights = {one.name: one for one in model.graph.initializer}
    inputs = [value.name for value in model.graph.input]
    for one in found:
        shape = list(weights[one.name].dims)
        model.graph.input.append(helper.make_tensor_value_info(one.name, graphs.FLOAT32, shape))
    feeds = [{k: v for k, v in collate([row], pad_id).items() if k in inputs} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model.SerializeToString())
        session = ort.session(file, 1)
    exact = _logits(session, feeds, {})
    spread = float(np.var(exact)) or 1.0
    measured = []
    for one in found:
        rounded = blocks.rounded(numpy_helper.to_array(weights[one.name]), block, table=one.table)
        error = _logits(session, feeds, {one.name: rounded}) - exact
        measured.append(Sensitivity(one.name, one.title, one.elements, float(np.mean(error**2)) / spread))
    return measured


def _logits(session: Any, feeds: Sequence[dict[str, Any]], weights: dict[str, Any]) -> Values:
    """All logits of the real pieces, one after the other."""
    try:
        found = [session.run(["logits"], {**feed, **weights})[0] for feed in feeds]
    except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
        raise AttarError(f"ONNX Runtime failed: {error}") from None
    real = [unpadded(values, feed["input_ids"].shape[1]) for values, feed in zip(found, feeds, strict=True)]
    return np.concatenate([np.ravel(values) for values in real]).astype(np.float64)


def choose(found: Sequence[Sensitivity], share: float, noise: float | None = None) -> list[Sensitivity]:
    """The same, with those marked `wide` that stay in 8 bits.

    At most `share` of all weights is wide; where `noise` is given, no more than brings the sum of the others' noise
    down to it.
    """
    room, left = share * sum(one.elements for one in found), sum(one.noise for one in found)
    wide: set[str] = set()
    for one in sorted(found, key=lambda one: -one.noise / one.elements):
        if noise is not None and left <= noise:
            break
        if one.elements <= room:
            wide.add(one.name)
            room, left = room - one.elements, left - one.noise
    return [replace(one, wide=one.name in wide) for one in found]

"""Whether an artefact answers like the PyTorch student, asked in its own runtime and in a process of its own.

- Rows run one at a time, as a device runs them. In a batch, ONNX Runtime's dynamic int8 takes one activation scale for
  all rows and their padding, so a row's logits would depend on its neighbours.
- Float32 differs by rounding alone, so its tolerance is absolute and small.
- int8 is judged against the spread of the logits. One example near a decision may be far off; a file that is silently
  wrong is far off on average. So the largest error may be one spread, and the mean error a quarter of it. What that
  costs in accuracy, the dev set says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..tasks.encoding import Features, collate
from .runtimes.isolated import run_isolated

FP32_TOLERANCE = 1e-3  # far above rounding, far below a usual distance between logits
INT8_SPREADS = 1.0  # largest error, in standard deviations of the golden logits
MEAN_SHARE = 0.25  # mean error, as a share of the largest error that is allowed
SMALLEST_SPREAD = 0.01  # logits that hardly differ do not make the tolerance zero

Logits = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Golden = Sequence[tuple[Features, Sequence[float] | Logits]]


@dataclass(frozen=True)
class Parity:
    """What the comparison found."""

    max_error: float | None  # largest |logit - PyTorch logit|; None where the runtime gave no logits
    agreement: float | None  # share of examples with the same answer (regression: within the tolerance)
    passed: bool
    reason: str = ""  # why it did not pass


def tolerance(precision: str, logits: Logits) -> float:
    """The largest logit error an artefact may have, given the precision and the student's logits (rows, outputs)."""
    if precision not in ("fp32", "int8"):
        raise AttarError(f"no tolerance is known for the precision {precision!r}", fix="known: fp32, int8")
    if precision == "fp32":
        return FP32_TOLERANCE
    return INT8_SPREADS * max(float(np.std(logits)), SMALLEST_SPREAD)


def compare(path: Path, runtime: str, golden: Golden, tolerance: float, pad_id: int = 0) -> Parity:
    """Compare an artefact with the golden logits; a file that fails or kills its runtime is a finding, not an error."""
    if not golden:
        raise AttarError("there are no golden examples to compare with", where=str(path))
    expected = np.array([logits for _, logits in golden], np.float64)
    try:
        found = score_outputs(path, runtime, [features for features, _ in golden], pad_id)
    except AttarError as error:
        return Parity(None, None, False, error.line())
    if found.shape != expected.shape:
        return Parity(None, None, False, f"{found.shape[-1]} outputs where the student has {expected.shape[-1]}")
    if not np.isfinite(found).all():
        return Parity(None, None, False, "some logits are not finite")
    errors = np.abs(found - expected)
    classes = expected.shape[1] > 1
    same = found.argmax(axis=1) == expected.argmax(axis=1) if classes else errors[:, 0] <= tolerance
    largest, mean = float(errors.max()), float(errors.mean())
    reason = ""
    if largest > tolerance:
        reason = f"largest logit error {largest:.3g}, more than {tolerance:.3g}"
    elif mean > MEAN_SHARE * tolerance:
        reason = f"mean logit error {mean:.3g}, more than {MEAN_SHARE * tolerance:.3g}"
    return Parity(largest, float(same.mean()), not reason, reason)


def score_outputs(
    path: Path,
    runtime: str,
    features: Sequence[Features],
    pad_id: int = 0,
    length: int | None = None,
    threads: int = 1,
    timeout: float = 3600.0,
) -> npt.NDArray[np.float32]:
    """Logits of every row, shape (rows, outputs), from an isolated process.

    `length` is the fixed length of a `.tflite` file: rows must be encoded for it (`Encoder(…, max_length=length)`), a
    longer one is an error. `timeout` is in seconds for all rows together.
    """
    if not features:
        raise AttarError("there are no rows to score", where=str(path))
    rows = [collate([row], pad_id, length) for row in features]
    return np.concatenate(run_isolated(path, runtime, rows, threads=threads, timeout=timeout))

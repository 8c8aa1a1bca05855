"""Whether an artefact answers like the PyTorch student, asked in its own runtime and in a process of its own.

- Sequences run one at a time, as a device runs them. In a batch, ONNX Runtime's dynamic int8 takes one activation scale
  for all rows and their padding, so a row's logits would depend on its neighbours.
- Logits of pieces are compared on real pieces alone: what a padded place answers means nothing.
- Float32 differs by rounding alone, so its tolerance is absolute and small.
- Narrower weights are judged against the spread of the logits. One example near a decision may be far off; a file that
  is silently wrong is far off on average. So the largest error of int8 may be one spread, of 4 bits two, and the mean
  error a quarter of that. What that costs in accuracy, the dev set says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..tasks.encoding import Features, collate
from ..tasks.task import Answers
from .runtimes import unpadded
from .runtimes.isolated import run_isolated

FP32_TOLERANCE = 1e-3  # far above rounding, far below a usual distance between logits
SPREADS = {
    "fp16": 0.1,
    "int8": 1.0,
    "int8-static": 1.0,
    "int4": 2.0,
    "mixed": 2.0,
}  # largest error, in standard deviations
MEAN_SHARE = 0.25  # mean error, as a share of the largest error that is allowed
SMALLEST_SPREAD = 0.01  # logits that hardly differ do not make the tolerance zero

Logits = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Golden = Sequence[tuple[Features, Sequence[float] | Logits]]
Say = Callable[[Answers], Sequence[Any]]  # from the logits of all golden sequences to what is said, one an example


@dataclass(frozen=True)
class Parity:
    """What the comparison found."""

    max_error: float | None  # largest |logit - PyTorch logit|; None where the runtime gave no logits
    agreement: float | None  # share of examples with the same answer (regression: within the tolerance)
    passed: bool
    reason: str = ""  # why it did not pass


def tolerance(precision: str, logits: Sequence[Logits] | Logits) -> float:
    """The largest logit error an artefact may have, given the precision and the student's logits of many sequences."""
    if precision != "fp32" and precision not in SPREADS:
        fix = f"known: fp32, {', '.join(SPREADS)}"
        raise AttarError(f"no tolerance is known for the precision {precision!r}", fix=fix)
    if precision == "fp32":
        return FP32_TOLERANCE
    spread = float(np.std(np.concatenate([np.ravel(values) for values in logits])))
    return SPREADS[precision] * max(spread, SMALLEST_SPREAD)


def compare(
    path: Path, runtime: str, golden: Golden, tolerance: float, pad_id: int = 0, say: Say | None = None
) -> Parity:
    """Compare an artefact with the golden logits; a file that fails or kills its runtime is a finding, not an error.

    `say` gives the answers that should agree; without it the largest logit of each sequence is its answer.
    """
    if not golden:
        raise AttarError("there are no golden examples to compare with", where=str(path))
    expected = [np.asarray(logits, np.float32) for _, logits in golden]
    try:
        found = score_outputs(path, runtime, [features for features, _ in golden], pad_id)
    except AttarError as error:
        return Parity(None, None, False, error.line())
    wrong = next(((a, b) for a, b in zip(found, expected, strict=True) if a.shape != b.shape), None)
    if wrong is not None:
        outputs, theirs = (values.shape[-1] for values in wrong)
        what = f"{outputs} outputs where the student has {theirs}"
        return Parity(None, None, False, what if outputs != theirs else "answers of another shape than the student's")
    if not all(np.isfinite(values).all() for values in found):
        return Parity(None, None, False, "some logits are not finite")
    errors = np.concatenate([np.abs(a - b).ravel() for a, b in zip(found, expected, strict=True)])
    same = agreement((say or _largest)(found), (say or _largest)(expected), tolerance)
    largest, mean = float(errors.max()), float(errors.mean())
    reason = ""
    if largest > tolerance:
        reason = f"largest logit error {largest:.3g}, more than {tolerance:.3g}"
    elif mean > MEAN_SHARE * tolerance:
        reason = f"mean logit error {mean:.3g}, more than {MEAN_SHARE * tolerance:.3g}"
    return Parity(largest, same, not reason, reason)


def agreement(said: Sequence[Any], wanted: Sequence[Any], tolerance: float) -> float:
    """The share of answers that are the same; values may differ by the tolerance."""
    pairs = list(zip(said, wanted, strict=True))
    same = [abs(a - b) <= tolerance if isinstance(a, float) else a == b for a, b in pairs]
    return float(np.mean(same))


def score_outputs(
    path: Path,
    runtime: str,
    features: Sequence[Features],
    pad_id: int = 0,
    length: int | None = None,
    threads: int = 1,
    timeout: float = 3600.0,
) -> list[npt.NDArray[np.float32]]:
    """Logits of every sequence, (outputs,) or (pieces, outputs), from an isolated process.

    `length` is the fixed length of a `.tflite` file: rows must be encoded for it (`Encoder(…, max_length=length)`), a
    longer one is an error. `timeout` is in seconds for all rows together.
    """
    if not features:
        raise AttarError("there are no rows to score", where=str(path))
    rows = [collate([row], pad_id, length) for row in features]
    found = run_isolated(path, runtime, rows, threads=threads, timeout=timeout)
    return [unpadded(logits, len(row.input_ids)) for logits, row in zip(found, features, strict=True)]


def _largest(logits: Answers) -> list[Any]:
    """The place of each sequence's largest logit, or the value where it is the only one."""
    return [int(values.argmax()) if values.shape[-1] > 1 else float(values.ravel()[0]) for values in logits]

"""int8 by static quantization: the ranges of activations are found once, on rows of the task, and stored in the file.

- Only what multiplies by weights is int8: its input has one scale, its weights one for each output, and its result is
  float32. Softmax, layer norm, GELU and the products of two activations stay float: their ranges are wide and
  long-tailed (the mask alone spans 1e4), and quantizing them, too, is what ruins accuracy. So no smaller constant of
  the mask is needed, nor an equalization of activations, which a post-norm layer could not fold away: what it would be
  folded into also feeds the residual sum.
- ONNX, in QDQ form; ONNX Runtime fuses each triple into one integer product. Embeddings are int8 with one scale.
- Calibration rows are read in small batches, padded to the longest of each, as the task's rows are in training: what
  stands at padded places belongs to the range too.
- `minmax` keeps outliers; a transformer's outliers carry meaning, and methods that clip them (`entropy`, low
  percentiles) lose more than they gain. They are for models where measuring says otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..export.wrapper import explained, quiet
from ..files import write_bytes
from ..recipe import Preset
from ..tasks.encoding import Features, collate
from . import graphs, quantization
from .quantization import REDUCE_RANGE

Method = Literal["minmax", "entropy", "percentile"]
BATCH = 8  # rows that are padded together
BINS = {"entropy": 512, "percentile": 2048}  # of a histogram; entropy tries each, in Python


def onnx_static_int8(
    fp32: Path,
    out: Path,
    rows: Sequence[Features],
    pad_id: int = 0,
    method: Method = "minmax",
    percentile: float = 99.99,
    preset: Preset = "any-cpu",
) -> None:
    """Write the static int8 form of a float32 ONNX file, calibrated on the rows.

    `percentile` is of the method of that name: the share of values within the range, in percent.

    Errors: no rows, rows of another tokenizer, a file that is quantized already.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = graphs.parted(graphs.load(fp32))
    check_rows(model, rows, str(fp32))
    dense = [node for one in graphs.matrices(model) if not one.table for node in one.nodes]
    flowing = {node.input[0] for node in model.graph.node if node.name in dense}
    with explained("the static int8 quantization", str(fp32)), quiet(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = quantization.dynamic(model, preset, operators=["Gather"])
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        _calibrate(folder, list(_batches(model, rows, pad_id)), flowing, method, percentile)
        quantize_static(
            folder / "model.onnx",
            folder / "int8.onnx",
            None,
            calibration_cache_path=folder / "ranges.json",
            calibrate_method=_methods()[method],
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=dense,
            per_channel=True,
            reduce_range=REDUCE_RANGE[preset],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
        data = graphs.save(_load(folder / "int8.onnx"))
    write_bytes(out, data)


def check_rows(model: Any, rows: Sequence[Features], where: str) -> None:
    """Refuse calibration rows that the model cannot have learnt from."""
    fix = "calibrate with training rows of the task, read with the student's tokenizer"
    if not rows:
        raise AttarError("there are no calibration rows", where=where, fix=fix)
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    known = [sizes[n.input[0]] for n in model.graph.node if n.op_type == "Gather" and n.input[1] == "input_ids"]
    for number, row in enumerate(rows, 1):
        if known and row.input_ids and max(row.input_ids) >= known[0]:
            what = f"calibration row {number} has the piece {max(row.input_ids)}, and the model knows {known[0]}"
            raise AttarError(what, where=where, fix=fix)


def _methods() -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod

    names = CalibrationMethod
    return {"minmax": names.MinMax, "entropy": names.Entropy, "percentile": names.Percentile}


def _calibrate(
    folder: Path, batches: Sequence[dict[str, Any]], flowing: set[str], method: Method, percentile: float
) -> None:
    """Write the ranges of what flows into products to `ranges.json`; one batch is held at a time."""
    from onnxruntime.quantization import save_tensors_data
    from onnxruntime.quantization.calibrate import create_calibrator

    options: dict[str, Any] = {"symmetric": False}
    if method in BINS:
        options["num_bins"] = BINS[method]
    if method == "percentile":
        options["percentile"] = percentile
    seen = str(folder / "seen.onnx")
    calibrator = create_calibrator(folder / "model.onnx", ["MatMul"], seen, _methods()[method], extra_options=options)
    if method in BINS:  # histograms of what is quantized alone: entropy takes a second for each
        calibrator.tensors_to_calibrate = flowing
    for batch in batches:
        calibrator.collect_data(_Reader(batch))
    save_tensors_data(calibrator.compute_data(), folder / "ranges.json")


class _Reader:
    """One batch, in the form in which the calibrator asks for it."""

    def __init__(self, batch: dict[str, npt.NDArray[np.int64]]) -> None:
        self._left = iter([batch])

    def get_next(self) -> dict[str, npt.NDArray[np.int64]] | None:
        """The batch, and then None."""
        return next(self._left, None)


def _batches(model: Any, rows: Sequence[Features], pad_id: int) -> Iterator[dict[str, npt.NDArray[np.int64]]]:
    """What the model takes of the rows, some at a time, padded to the longest of them."""
    names = {value.name for value in model.graph.input}
    for start in range(0, len(rows), BATCH):
        arrays = collate(list(rows[start : start + BATCH]), pad_id)
        yield {name: values for name, values in arrays.items() if name in names}


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(path)

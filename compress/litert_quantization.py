"""The quantizations of `.tflite` files.

- Dynamic int8: a scale per channel. tflite-runtime 2.14 answers wrongly with such a file, so its int8 is weight-only:
  small, right, and as slow as float32.
- Static int8: the products with weights alone; quantizing softmax, norms and sums, too, leaves a model at chance.
- 4 bits: a scale per channel, or for each block of a row where a block length is given that divides it.
- float16: stored in half and widened in each call.
- tflite-runtime 2.14 knows float32, float16 and weight-only int8: a static file kills it, and it has no 4 bits.
- The embedding table is int8 with one scale, or has 4 bits with one for each row: tflite-runtime 2.14 reads an int8
  table with a scale per row wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import AttarError
from ..export.wrapper import explained, quiet
from ..files import write_bytes
from ..tasks.encoding import Features, collate

EVERYWHERE = ".*"
SIGNATURE = "serving_default"  # as `export.litert` names it


def dynamic_int8(fp32: Path, out: Path, runtime: Literal["litert", "tflite-runtime"]) -> None:
    """Write the int8 form of a float32 `.tflite` file that is right in the given runtime.

    tflite-runtime 2.14 computes per-channel dynamic layers silently wrong. There the weights alone are int8 and the
    arithmetic stays float, which keeps more of the scores than per-tensor dynamic layers do.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    recipe = recipe_manager.RecipeManager()
    dense = recipe.add_dynamic_config if runtime == "litert" else recipe.add_weight_only_config
    dense(
        EVERYWHERE,
        qtyping.TFLOperationName.FULLY_CONNECTED,
        num_bits=8,
        granularity=qtyping.QuantGranularity.CHANNELWISE,
    )
    _embeddings(recipe, 8)
    _write(fp32, out, recipe, "int8")


def static_int8(fp32: Path, out: Path, rows: Sequence[Features], length: int, pad_id: int = 0) -> None:
    """Write the static int8 form of a `.tflite` file of that length, calibrated (least and largest) on the rows.

    Rows are padded to the length; longer ones are left out. Errors: no row is left, the file is quantized already.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    fed = [collate([row], pad_id, length) for row in rows if len(row.input_ids) <= length]
    if not fed:
        fix = "calibrate with training rows of the task, or export a longer length"
        raise AttarError(f"there are no calibration rows of at most {length} pieces", where=str(fp32), fix=fix)
    recipe = recipe_manager.RecipeManager()
    dense = qtyping.TFLOperationName.FULLY_CONNECTED
    recipe.add_static_config(EVERYWHERE, dense, activation_num_bits=8, weight_num_bits=8)
    _embeddings(recipe, 8)
    _write(fp32, out, recipe, "static int8", fed)


def int4(fp32: Path, out: Path, embeddings: Literal[4, 8] = 8, block: int | None = None) -> None:
    """Write the 4-bit form: weights with a scale for each channel, or for each block, which must divide its rows."""
    from ai_edge_quantizer import qtyping, recipe_manager

    sizes = qtyping.QuantGranularity
    granularity = sizes.CHANNELWISE if block is None else sizes[f"BLOCKWISE_{block}"]
    recipe = recipe_manager.RecipeManager()
    dense = qtyping.TFLOperationName.FULLY_CONNECTED
    recipe.add_dynamic_config(EVERYWHERE, dense, num_bits=4, granularity=granularity)
    _embeddings(recipe, embeddings)
    try:
        _write(fp32, out, recipe, "4-bit")
    except AttarError as error:
        if "not divisible" not in error.what:
            raise
        what = f"the rows of a matrix are not a multiple of {block} long: {error.what.rpartition('Error: ')[2]}"
        fix = "set export.int4.tflite_block to a divisor, or leave it out for a scale per channel"
        raise AttarError(what, where=str(fp32), fix=fix) from error


def fp16(fp32: Path, out: Path) -> None:
    """Write the form with float16 weights."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    recipe, operators = recipe_manager.RecipeManager(), qtyping.TFLOperationName
    casting = algorithm_manager.AlgorithmName.FLOAT_CASTING
    for operator in (operators.FULLY_CONNECTED, operators.EMBEDDING_LOOKUP):
        recipe.add_weight_only_config(EVERYWHERE, operator, num_bits=16, algorithm_key=casting)
    _write(fp32, out, recipe, "float16")


def _embeddings(recipe: Any, bits: Literal[4, 8]) -> None:
    from ai_edge_quantizer import qtyping

    granularity = qtyping.QuantGranularity.TENSORWISE if bits == 8 else qtyping.QuantGranularity.CHANNELWISE
    operator = qtyping.TFLOperationName.EMBEDDING_LOOKUP
    recipe.add_dynamic_config(EVERYWHERE, operator, num_bits=bits, granularity=granularity)


def _write(fp32: Path, out: Path, recipe: Any, name: str, rows: Sequence[dict[str, Any]] = ()) -> None:
    """Quantize a file by a recipe of ai-edge-quantizer, which is calibrated where there are rows."""
    from ai_edge_quantizer import calibrator, quantizer
    from ai_edge_quantizer.utils import qsv_utils

    names = _inputs(fp32)
    fed = [{name: values.astype(np.int32) for name, values in one.items() if name in names} for one in rows]
    with explained(f"the {name} quantization", str(fp32)), quiet():
        tool = quantizer.Quantizer(str(fp32), recipe.get_quantization_recipe())
        ranges = None
        if fed:  # the quantizer's own calibration keeps moving averages of the ranges, which cut what is rare
            seen = calibrator.Calibrator(str(fp32), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
            seen.calibrate({SIGNATURE: fed}, recipe)
            ranges = seen.get_model_qsvs()
        data = tool.quantize(ranges, enable_progress_report=False).quantized_model
    if data is None:
        raise AttarError(f"the {name} quantization gave no model", where=str(fp32))
    write_bytes(out, bytes(data))


def _inputs(path: Path) -> set[str]:
    """The names of a float32 file's inputs; refuses one that is quantized already."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffers

    if not path.is_file():
        raise AttarError("no such model file", where=str(path))
    try:
        model = flatbuffers.read_model(str(path))
    except Exception as error:
        raise AttarError("not a .tflite file", where=str(path)) from error
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    narrow = {flatbuffers.TENSOR_CODE_TO_TYPE.get(tensor.type, "?") for tensor in tensors}
    if found := sorted(narrow & {"INT4", "INT8", "FLOAT16"}):
        fix = "quantize the float32 file that it was made from"
        raise AttarError(f"the model is quantized already: {found[0]}", where=str(path), fix=fix)
    return {entry.name.decode() for signature in model.signatureDefs for entry in signature.inputs}

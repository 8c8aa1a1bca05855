"""Each quantization of a tiny model against numpy's own arithmetic, its bytes, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from attar import recipe
from attar.compress import (
    blocks,
    factorizing,
    graphs,
    half,
    litert_quantization,
    quantization,
    sensitivity,
    static_int8,
)
from attar.errors import AttarError
from attar.export import calibration, ort_format, parity, plans, proof, sizes
from attar.export.onnx import export_fp32
from attar.tasks.encoding import Features
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from small_models import saved, small
from test_export import LENGTH, VOCABULARY, artefacts, texts

Values = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefacts("bert", tmp_path_factory).folder


@pytest.fixture(scope="module")
def fp32(folder: Path) -> Path:
    return folder / "fp32.onnx"


@pytest.fixture(scope="module")
def rows() -> list[Features]:
    return texts(seed=7, count=20)


def answers(path: Path, rows: list[Features], runtime: str = "onnxruntime", length: int | None = None) -> Values:
    return np.array(parity.score_outputs(path, runtime, rows, 0, length))


def weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def replaced(fp32: Path, out: Path, by: dict[str, Values]) -> Path:
    """The float32 model with other weights."""
    model = graphs.parted(onnx.load(fp32))
    for tensor in model.graph.initializer:
        if tensor.name in by:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(by[tensor.name], np.float32), tensor.name))
    onnx.save(model, out)
    return out


def in_blocks(columns: Values, block: int) -> Values:
    """Blocks of a column rounded to 16 steps from the least to the largest value or 0, by the formula."""
    found = np.empty_like(columns)
    for start in range(0, len(columns), block):
        part = columns[start : start + block].astype(np.float64)
        low, high = np.minimum(part.min(0), 0), np.maximum(part.max(0), 0)
        scale = np.where(high > low, (high - low) / 15, 1)
        zero = np.clip(np.round(-low / scale), 0, 15)
        found[start : start + block] = (np.clip(np.round(part / scale + zero), 0, 15) - zero) * scale
    return found


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 5), st.sampled_from([16, 32, 64]), st.integers(0, 2**31))
def test_blocks_are_rounded_to_16_steps(inputs: int, outputs: int, block: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    found, wanted = blocks.rounded(matrix, block, table=False), in_blocks(matrix, block)
    assert found.shape == matrix.shape
    # A weight that lies between two steps may go either way; the formula's float64 breaks such ties otherwise.
    step = max(np.ptp(np.append(matrix, 0)) / 15, 1e-6)
    assert np.abs(found - matrix).max() <= 0.51 * step + 0.5 * step  # half a step, and the zero point's own rounding
    assert (np.abs(found - wanted) < 1e-5).mean() > 0.9
    np.testing.assert_array_equal(blocks.rounded(matrix.T.copy(), block, table=True), found.T)


@pytest.mark.parametrize("embeddings", [4, 8])
def test_int4_computes_with_the_rounded_weights(
    embeddings: int, fp32: Path, rows: list[Features], tmp_path: Path
) -> None:
    found = graphs.matrices(graphs.parted(graphs.load(fp32)))
    tables = [one.name for one in found if one.table] if embeddings == 8 else []
    bits = blocks.onnx_int4(fp32, tmp_path / "int4.onnx", 32, tables)
    values = weights(fp32) | {one.name: weights_of(fp32, one.name) for one in found}
    changed = {
        one.name: blocks.rounded(values[one.name], 32, table=one.table) for one in found if one.name not in tables
    }
    exact = answers(replaced(fp32, tmp_path / "rounded.onnx", changed), rows)
    spread = float(np.std(exact))
    # What is left between the two: activations (and tables) in 8 bits.
    assert np.abs(answers(tmp_path / "int4.onnx", rows) - exact).mean() < 0.05 * spread
    assert np.abs(answers(fp32, rows) - exact).mean() > 0.0
    elements = {one.name: one.elements for one in found}
    wide = sum(elements[name] for name in tables) / sum(elements.values())
    assert bits == pytest.approx(8 * wide + (4 + 36 / 32) * (1 - wide))
    assert sizes.check(tmp_path / "int4.onnx", sum(elements.values()), bits)[0]


@pytest.mark.parametrize("block", [16, 128])
def test_bits_are_those_that_the_file_stores(block: int, tmp_path: Path) -> None:
    """Of odd widths and partial blocks too: a factorized table is 7 wide here, and its layers 40."""
    model = factorizing.factorize(small(hidden_size=40, intermediate_size=24), recipe.Factorize(rank=7))
    rows = [Features([5, 9, 30, 2], [0] * 4), Features([7, 50], [0] * 2)]
    export_fp32(saved(model, tmp_path), tmp_path / "fp32.onnx")
    matrices = graphs.matrices(graphs.parted(graphs.load(tmp_path / "fp32.onnx")))
    bits = blocks.onnx_int4(tmp_path / "fp32.onnx", tmp_path / "int4.onnx", block, [])
    parts = ("_Q4", "_scales", "_zero_points", "_bytes", "_zeros")
    stored = sum(values.nbytes for name, values in weights(tmp_path / "int4.onnx").items() if name.endswith(parts))
    assert bits == pytest.approx(8 * stored / sum(one.elements for one in matrices))
    changed = {
        one.name: blocks.rounded(weights_of(tmp_path / "fp32.onnx", one.name), block, table=one.table)
        for one in matrices
    }
    exact = answers(replaced(tmp_path / "fp32.onnx", tmp_path / "rounded.onnx", changed), rows)
    ort_format.convert(tmp_path / "int4.onnx", tmp_path / "int4.ort")
    for file in ("int4.onnx", "int4.ort"):
        assert np.abs(answers(tmp_path / file, rows) - exact).mean() < 0.1 * np.std(exact)


def weights_of(fp32: Path, name: str) -> npt.NDArray[Any]:
    model = graphs.parted(graphs.load(fp32))
    return next(numpy_helper.to_array(one) for one in model.graph.initializer if one.name == name)


def test_int4_goes_into_ort_files_and_gives_the_same_bytes_again(
    fp32: Path, rows: list[Features], tmp_path: Path
) -> None:
    for number in (1, 2):
        blocks.onnx_int4(fp32, tmp_path / f"{number}.onnx", 32, [])
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    ort_format.convert(tmp_path / "1.onnx", tmp_path / "1.ort")
    np.testing.assert_allclose(answers(tmp_path / "1.ort", rows), answers(tmp_path / "1.onnx", rows), atol=1e-3)


@pytest.mark.parametrize("precision", get_args(plans.Precision))
def test_a_file_that_could_not_be_made_has_a_row(precision: str) -> None:
    names = ("file", "of", "runtime", "again", "length", "bytes", "bits")
    card = dict.fromkeys(names) | {"file": "model.x", "of": "student", "runtime": "litert", "again": False}
    found = proof.row(card | {"precision": precision, "failure": "no"}, 1000)
    assert found.parameter_bytes is not None and 500 <= found.parameter_bytes <= 4000


def test_a_block_of_no_known_length_is_refused(fp32: Path, tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="block of 24") as caught:
        blocks.onnx_int4(fp32, tmp_path / "int4.onnx", 24, [])
    assert "16, 32" in caught.value.fix


def test_static_int8_computes_with_stored_ranges(fp32: Path, rows: list[Features], tmp_path: Path) -> None:
    static_int8.onnx_static_int8(fp32, tmp_path / "static.onnx", rows)
    model = onnx.load(tmp_path / "static.onnx")
    operators = [node.op_type for node in model.graph.node]
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    for node in model.graph.node:  # all between the products with weights stays float
        if node.op_type in ("Softmax", "LayerNormalization", "Erf", "Tanh"):
            assert not quantized & set(node.input)
    assert "DynamicQuantizeLinear" not in operators
    exact, found = answers(fp32, rows), answers(tmp_path / "static.onnx", rows)
    assert 0 < np.abs(found - exact).mean() < 0.1 * np.std(exact)
    assert (tmp_path / "static.onnx").stat().st_size < 0.35 * fp32.stat().st_size
    # A row's answer does not depend on its neighbours, as it does where ranges are found in the batch.
    values = weights(tmp_path / "static.onnx")
    scales = [value for name, value in values.items() if name.endswith("_scale") and value.ndim == 0]
    assert len(scales) >= 4 * 2


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_methods_that_clip_find_no_wider_ranges(
    method: static_int8.Method, fp32: Path, rows: list[Features], tmp_path: Path
) -> None:
    static_int8.onnx_static_int8(fp32, tmp_path / "whole.onnx", rows)
    static_int8.onnx_static_int8(fp32, tmp_path / "clipped.onnx", rows, method=method, percentile=95)
    whole, clipped = (
        {name: float(value) for name, value in weights(tmp_path / f"{file}.onnx").items()
         if name.endswith("_scale") and value.ndim == 0}
        for file in ("whole", "clipped")
    )  # fmt: skip
    assert whole.keys() == clipped.keys()
    assert all(clipped[name] <= whole[name] * 1.02 for name in whole)
    assert any(clipped[name] < whole[name] * 0.98 for name in whole)


def test_presets_differ_in_what_saturates(fp32: Path, rows: list[Features], tmp_path: Path) -> None:
    largest = {}
    for preset in ("any-cpu", "dot-product"):
        static_int8.onnx_static_int8(fp32, tmp_path / f"{preset}.onnx", rows, preset=preset)
        tables = [value for value in weights(tmp_path / f"{preset}.onnx").values() if value.dtype == np.int8]
        largest[preset] = max(int(np.abs(value.astype(int)).max()) for value in tables if value.shape[0] < VOCABULARY)
    assert largest["any-cpu"] <= 64 < largest["dot-product"]


def test_calibration_rows_that_do_not_fit_are_refused(fp32: Path, rows: list[Features], tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="no calibration rows") as caught:
        static_int8.onnx_static_int8(fp32, tmp_path / "static.onnx", [])
    assert caught.value.fix
    foreign = [*rows, Features([2, VOCABULARY + 3], [0, 0])]
    with pytest.raises(AttarError, match=f"row 21 has the piece {VOCABULARY + 3}"):
        static_int8.onnx_static_int8(fp32, tmp_path / "static.onnx", foreign)
    with pytest.raises(AttarError, match="row 21"):
        sensitivity.measure(fp32, foreign, 32)


def test_calibration_rows_are_drawn_by_a_seed() -> None:
    drawn = calibration.draw(range(100), 10, 3)
    assert drawn == calibration.draw(range(100), 10, 3) == sorted(drawn)
    assert len(set(drawn)) == 10
    assert drawn != calibration.draw(range(100), 10, 4)
    assert calibration.draw(range(3), 10, 0) == [0, 1, 2]
    with pytest.raises(AttarError, match="no rows to calibrate on"):
        calibration.draw([], 10, 0)


def test_fp16_is_half_the_bytes_and_as_exact_as_halves(fp32: Path, rows: list[Features], tmp_path: Path) -> None:
    half.onnx_fp16(fp32, tmp_path / "half.onnx")
    matrices = {name: value for name, value in weights(fp32).items() if value.ndim == 2 and value.dtype == np.float32}
    changed = {name: value.astype(np.float16).astype(np.float32) for name, value in matrices.items()}
    model = onnx.load(fp32)
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))
    onnx.save(model, tmp_path / "rounded.onnx")
    found = answers(tmp_path / "half.onnx", rows)
    np.testing.assert_allclose(found, answers(tmp_path / "rounded.onnx", rows), atol=1e-5)
    assert np.abs(found - answers(fp32, rows)).max() > 0
    assert (tmp_path / "half.onnx").stat().st_size < 0.53 * fp32.stat().st_size


def test_a_weight_beyond_float16_is_refused(fp32: Path, tmp_path: Path) -> None:
    name = next(name for name, value in weights(fp32).items() if value.ndim == 2 and value.dtype == np.float32)
    replaced(fp32, tmp_path / "large.onnx", {name: np.full_like(weights(fp32)[name], 1e6)})
    with pytest.raises(AttarError, match="beyond float16"):
        half.onnx_fp16(tmp_path / "large.onnx", tmp_path / "half.onnx")


def test_what_is_quantized_is_not_quantized_again(
    folder: Path, fp32: Path, rows: list[Features], tmp_path: Path
) -> None:
    blocks.onnx_int4(fp32, tmp_path / "int4.onnx", 32, [])
    half.onnx_fp16(fp32, tmp_path / "half.onnx")
    litert_quantization.fp16(folder / "fp32.tflite", tmp_path / "half.tflite")
    for file in (folder / "int8.onnx", tmp_path / "int4.onnx", tmp_path / "half.onnx"):
        for make in (
            lambda source: quantization.onnx_dynamic_int8(source, tmp_path / "x"),
            lambda source: static_int8.onnx_static_int8(source, tmp_path / "x", rows),
            lambda source: blocks.onnx_int4(source, tmp_path / "x", 32, []),
            lambda source: half.onnx_fp16(source, tmp_path / "x"),
        ):
            with pytest.raises(AttarError, match="quantized already") as caught:
                make(file)
            assert "float32 file" in caught.value.fix
    for file in (folder / "int8-litert.tflite", tmp_path / "half.tflite"):
        with pytest.raises(AttarError, match="quantized already"):
            litert_quantization.int4(file, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_sensitivity_is_the_noise_of_one_matrix_alone(fp32: Path, rows: list[Features], tmp_path: Path) -> None:
    found = sensitivity.measure(fp32, rows[:6], 32)
    titles = [one.title for one in found]
    assert "bert.embeddings.word_embeddings" in titles
    assert "bert.encoder.layer.1.intermediate.dense" in titles
    assert len(set(titles)) == len(titles) == 3 + 2 * 6 + 2
    exact = answers(fp32, rows[:6])
    for one in (found[0], found[5], found[-1]):
        changed = {one.name: blocks.rounded(weights_of(fp32, one.name), 32, table="embeddings" in one.title)}
        error = answers(replaced(fp32, tmp_path / "one.onnx", changed), rows[:6]) - exact
        assert one.noise == pytest.approx(np.mean(error.astype(np.float64) ** 2) / np.var(exact), rel=1e-2)


def of(noise: float, elements: int, name: str) -> sensitivity.Sensitivity:
    return sensitivity.Sensitivity(name, name, elements, noise)


def test_the_most_sensitive_weights_stay_wide() -> None:
    found = [of(1.0, 100, "a"), of(0.9, 10, "b"), of(0.1, 10, "c"), of(3.0, 880, "d")]
    wide = [one.name for one in sensitivity.choose(found, 0.12) if one.wide]
    assert wide == ["a", "b", "c"]  # 120 of 1000 weights; d does most harm, and least for each weight
    assert [one.name for one in sensitivity.choose(found, 0.05) if one.wide] == ["b", "c"]
    assert [one.name for one in sensitivity.choose(found, 0.5, noise=4.2) if one.wide] == ["b"]
    assert not any(one.wide for one in sensitivity.choose(found, 0.5, noise=5.0))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_the_share_is_kept(values: list[tuple[float, int]], share: float) -> None:
    found = [of(noise, elements, str(number)) for number, (noise, elements) in enumerate(values)]
    chosen = sensitivity.choose(found, share)
    assert [one.name for one in chosen] == [one.name for one in found]
    wide = sum(one.elements for one in chosen if one.wide)
    assert wide <= share * sum(one.elements for one in found)


@pytest.mark.parametrize(
    ("form", "share", "error"),
    [("fp16", 0.53, 0.01), ("static", 0.35, 0.15), ("int4", 0.30, 0.5), ("int4-4", 0.2, 0.5)],
)
def test_tflite_forms_answer_in_litert(
    form: str, share: float, error: float, folder: Path, rows: list[Features], tmp_path: Path
) -> None:
    source, out, tool = folder / "fp32.tflite", tmp_path / "model.tflite", litert_quantization
    if form == "static":
        tool.static_int8(source, out, rows, LENGTH)
    elif form == "fp16":
        tool.fp16(source, out)
    else:
        tool.int4(source, out, 4 if form == "int4-4" else 8)
    exact, found = (answers(file, rows, "litert", LENGTH) for file in (source, out))
    assert 0 < np.abs(found - exact).mean() < error * np.std(exact)
    assert out.stat().st_size < share * source.stat().st_size
    if form == "fp16":
        np.testing.assert_allclose(answers(out, rows, "tflite-runtime", LENGTH), found, atol=1e-3)


def test_a_block_that_does_not_divide_is_refused(folder: Path, tmp_path: Path) -> None:
    litert_quantization.int4(folder / "fp32.tflite", tmp_path / "x.tflite", 8, 32)  # rows of 64 and 128
    with pytest.raises(AttarError, match="not a multiple of 128") as caught:
        litert_quantization.int4(folder / "fp32.tflite", tmp_path / "y.tflite", 8, 128)
    assert "tflite_block" in caught.value.fix


def test_rows_longer_than_the_file_calibrate_nothing(folder: Path, tmp_path: Path) -> None:
    long = [Features([5] * (LENGTH + 1), [0] * (LENGTH + 1))]
    with pytest.raises(AttarError, match=f"at most {LENGTH} pieces"):
        litert_quantization.static_int8(folder / "fp32.tflite", tmp_path / "x.tflite", long, LENGTH)


def test_new_words_leave_old_keys_alone() -> None:
    from attar.stages.stage import stated

    old = {"onnx": ["fp32", "int8"], "ort": ["int8"], "tflite": ["fp32", "int8"], "lengths": [64]}
    assert stated(recipe.Export(), "tolerance") == old
    changed = recipe.Export(onnx=["int4"], int4=recipe.Int4(block=64))
    assert stated(changed, "tolerance") == old | {"onnx": ["int4"], "int4": changed.int4.model_dump()}


def test_settings_of_what_is_not_made_are_refused() -> None:
    with pytest.raises(ValueError, match=r"export.calibration is for int8-static and mixed"):
        recipe.Export(calibration=recipe.Calibration(rows=5))
    recipe.Export(onnx=["mixed"], calibration=recipe.Calibration(rows=5))


def test_copies_are_independent(fp32: Path, tmp_path: Path) -> None:
    """Quantizers leave nothing beside their input."""
    shutil.copy(fp32, tmp_path / "model.onnx")
    half.onnx_fp16(tmp_path / "model.onnx", tmp_path / "half.onnx")
    blocks.onnx_int4(tmp_path / "model.onnx", tmp_path / "int4.onnx", 32, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.onnx", "int4.onnx", "model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == fp32.read_bytes()

"""int8: right on every processor, and what is wrong in a runtime is found out there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from attar.compress import litert_quantization, quantization
from attar.errors import AttarError
from attar.export import parity
from attar.tasks.encoding import Features, collate
from test_export import LENGTH, artefacts, static_int8, texts, torch_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefacts("bert", tmp_path_factory).folder


@pytest.fixture(scope="module")
def golden(folder: Path) -> list[tuple[Features, Any]]:
    return [(row, torch_logits(folder, collate([row], 0))[0]) for row in texts(seed=5, count=24)]


def weights(file: Path) -> dict[str, list[npt.NDArray[Any]]]:
    """Quantized tables of an ONNX file by the operator that reads them."""
    import onnx as library
    from onnx import numpy_helper

    model = library.load(file)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for node in model.graph.node:
        place = {"MatMulInteger": 1, "Gather": 0}.get(node.op_type)
        if place is not None and node.input[place] in tensors:
            found.setdefault(node.op_type, []).append(tensors[node.input[place]])
    return found


@pytest.mark.parametrize(("preset", "saturates"), [("any-cpu", False), ("dot-product", True)])
def test_the_default_cannot_saturate_16_bits(
    preset: quantization.Preset, saturates: bool, folder: Path, tmp_path: Path
) -> None:
    quantization.onnx_dynamic_int8(folder / "fp32.onnx", tmp_path / "int8.onnx", preset)
    tables = weights(tmp_path / "int8.onnx")["MatMulInteger"]
    assert len(tables) == 2 * 6 + 2  # four attention and two feed-forward products a layer, pooler and classifier
    # x86 without VNNI adds two neighbouring products of a column, uint8 x int8, into 16 bits.
    worst = max(int(np.abs(255 * table.astype(np.int64)).max()) * 2 for table in tables)
    assert (worst > np.iinfo(np.int16).max) is saturates


def test_the_embedding_table_is_int8(folder: Path, tmp_path: Path) -> None:
    quantization.onnx_dynamic_int8(folder / "fp32.onnx", tmp_path / "int8.onnx")
    tables = [table for table in weights(tmp_path / "int8.onnx")["Gather"] if table.ndim == 2 and len(table) > 100]
    assert tables
    assert all(table.dtype.itemsize == 1 for table in tables)


@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_tflite_tables_are_int8(runtime: Any, folder: Path, tmp_path: Path) -> None:
    litert_quantization.dynamic_int8(folder / "fp32.tflite", tmp_path / "int8.tflite", runtime)
    whole = (folder / "fp32.tflite").stat().st_size
    assert (tmp_path / "int8.tflite").stat().st_size < 0.35 * whole


def test_quantization_gives_the_same_bytes_again(folder: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        quantization.onnx_dynamic_int8(folder / "fp32.onnx", tmp_path / f"{number}.onnx")
        litert_quantization.dynamic_int8(folder / "fp32.tflite", tmp_path / f"{number}.tflite", "litert")
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()
    assert (tmp_path / "1.tflite").read_bytes() == (tmp_path / "2.tflite").read_bytes()


def test_a_file_that_is_silently_wrong_in_a_runtime_is_found(
    folder: Path, golden: list[tuple[Features, Any]], tmp_path: Path
) -> None:
    """tflite-runtime 2.14 runs per-channel dynamic layers without a word, and wrongly."""
    litert_quantization.dynamic_int8(folder / "fp32.tflite", tmp_path / "int8.tflite", "litert")
    allowed = parity.tolerance("int8", np.array([logits for _, logits in golden]))
    assert parity.compare(tmp_path / "int8.tflite", "litert", golden, allowed).passed
    found = parity.compare(tmp_path / "int8.tflite", "tflite-runtime", golden, allowed)
    assert not found.passed
    assert "logit error" in found.reason


def test_a_file_that_kills_its_runtime_is_a_finding(
    folder: Path, golden: list[tuple[Features, Any]], tmp_path: Path
) -> None:
    file = static_int8(folder / "fp32.tflite", tmp_path / "static.tflite")
    found = parity.compare(file, "tflite-runtime", golden, 1e-3)
    assert (found.passed, found.max_error, found.agreement) == (False, None, None)
    assert "SIGABRT" in found.reason


def test_another_models_file_is_a_finding(folder: Path, golden: list[tuple[Features, Any]]) -> None:
    shuffled = [(row, -logits) for row, logits in golden]
    found = parity.compare(folder / "fp32.onnx", "onnxruntime", shuffled, parity.FP32_TOLERANCE)
    assert not found.passed
    assert found.max_error is not None
    assert found.max_error > 0.1
    assert found.agreement is not None
    assert found.agreement < 0.5
    assert parity.compare(folder / "fp32.onnx", "onnxruntime", golden, parity.FP32_TOLERANCE).agreement == 1
    fewer = [(row, logits[:2]) for row, logits in golden]
    assert (
        "3 outputs where the student has 2"
        in parity.compare(folder / "fp32.onnx", "onnxruntime", fewer, parity.FP32_TOLERANCE).reason
    )


@pytest.mark.parametrize(("file", "runtime", "length"), [("onnx", "onnxruntime", None), ("tflite", "litert", LENGTH)])
def test_scores_keep_the_order_of_the_rows(
    file: str, runtime: str, length: int | None, folder: Path, golden: list[tuple[Features, Any]]
) -> None:
    found = parity.score_outputs(folder / f"fp32.{file}", runtime, [row for row, _ in golden], 0, length)
    np.testing.assert_allclose(found, np.array([logits for _, logits in golden]), atol=1e-4)


def test_a_row_longer_than_the_file_is_refused(folder: Path) -> None:
    row = texts(longest=LENGTH + 1, count=1)
    with pytest.raises(AttarError, match="fit"):
        parity.score_outputs(folder / "fp32.tflite", "litert", row, 0, LENGTH)


def test_tolerances() -> None:
    logits = np.array([[2.0, -2.0], [-2.0, 2.0]])
    assert parity.tolerance("fp32", logits) == 1e-3
    assert parity.tolerance("int8", logits) == 2.0
    assert parity.tolerance("int8", logits[:, :1] * 0) > 0
    with pytest.raises(AttarError, match="int2"):
        parity.tolerance("int2", logits)

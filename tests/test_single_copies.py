"""Files of shared, pruned and factorized students: every weight once, in every format and precision, and right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from attar import recipe
from attar.compress import blocks, factorizing, half, litert_quantization, pruning, quantization, sharing, static_int8
from attar.compress.evidence import Evidence
from attar.export import litert, onnx, ort_format, parity, sizes
from attar.export.single_copies import fold_transposes
from attar.tasks.encoding import Features
from attar.teachers import checkpoint, compact, heads
from helpers import made_once
from small_models import PIECES, saved, small
from transformers import PreTrainedModel

HIDDEN, LENGTH = 256, 12
FILES = (
    *("fp32.onnx", "int8.onnx", "fp32.ort", "int8.ort", "fp32.tflite", "int8.tflite"),
    *("fp16.onnx", "fp16.tflite", "int4.onnx", "int4.ort", "int4.tflite", "int8-static.onnx", "int8-static.tflite"),
)
BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int8-static": 8}
GRAPH = 25_000  # bytes for each layer that runs: operators, names, scales of channels


def albert() -> PreTrainedModel:
    """All layers are one, as many as ALBERT's base shape has."""
    return sharing.share(wide(12), recipe.Share(start="first"), Evidence())


def mixed() -> PreTrainedModel:
    """Layers with different heads that share their feed-forward part, and a factorized embedding."""
    spec = recipe.Prune(heads=0.34, importance="magnitude", scope="global")
    model = wide()
    cut = pruning.cut(model, pruning.Goal(4, HIDDEN, 11, (512,) * 4), spec, Evidence()).student
    assert len({count for count, _ in compact.shape(cut).layers}) > 1
    factorized = factorizing.factorize(cut, recipe.Factorize(rank=40))
    return sharing.share(factorized, recipe.Share(part="ffn", start="first"), Evidence())


def wide(layers: int = 4) -> PreTrainedModel:
    return small(noise=0.05, hidden_size=HIDDEN, intermediate_size=512, num_hidden_layers=layers, vocab_size=1000)


class Made(NamedTuple):
    folder: Path
    model: PreTrainedModel
    golden: list[Any]


def texts() -> list[Features]:
    draw = np.random.default_rng(0)
    return [Features(draw.integers(5, PIECES, size).tolist(), [0] * size) for size in (LENGTH, 3, 8, 5)]


def bits_of(name: str, folder: Path) -> float:
    """Of a weight, as the makers of files say them."""
    kind, form = name.split(".")
    if kind == "int4":
        return 4 if form == "tflite" else float((folder / "bits").read_text("utf-8"))
    return BITS[kind]


@pytest.fixture(scope="module", params=["albert", "mixed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def make(folder: Path) -> None:
        model = saved({"albert": albert, "mixed": mixed}[request.param](), folder / "model")
        onnx.export_fp32(model, folder / "fp32.onnx")
        litert.export_fp32(model, folder / "fp32.tflite", LENGTH)
        quantization.onnx_dynamic_int8(folder / "fp32.onnx", folder / "int8.onnx")
        litert_quantization.dynamic_int8(folder / "fp32.tflite", folder / "int8.tflite", "litert")
        half.onnx_fp16(folder / "fp32.onnx", folder / "fp16.onnx")
        litert_quantization.fp16(folder / "fp32.tflite", folder / "fp16.tflite")
        bits = blocks.onnx_int4(folder / "fp32.onnx", folder / "int4.onnx", 32, [])
        (folder / "bits").write_text(str(bits), "utf-8")
        litert_quantization.int4(folder / "fp32.tflite", folder / "int4.tflite", 4)
        static_int8.onnx_static_int8(folder / "fp32.onnx", folder / "int8-static.onnx", texts(), 0)
        litert_quantization.static_int8(folder / "fp32.tflite", folder / "int8-static.tflite", texts(), LENGTH, 0)
        for name in ("fp32", "int8", "int4"):
            ort_format.convert(folder / f"{name}.onnx", folder / f"{name}.ort")

    folder = made_once(tmp_path_factory, f"single-{request.param}", make)
    model = heads.load("sequence", folder / "model")
    rows = texts()
    return Made(folder, model, list(zip(rows, heads.answers(model, "sequence", rows, 0), strict=True)))


@pytest.mark.parametrize("name", FILES[:6])
def test_a_file_is_as_large_as_its_weights(name: str, made: Made) -> None:
    """5 % over unique parameters × bits (vectors stay float32 in int8 files), and the graph."""
    matrices = sum(weight.numel() for weight in made.model.parameters() if weight.ndim > 1)
    vectors = checkpoint.unique_parameters(made.model) - matrices
    needed = matrices * BITS[name.partition(".")[0]] // 8 + 4 * vectors
    found = (made.folder / name).stat().st_size
    layers = made.model.config.num_hidden_layers
    assert needed * 0.99 < found < needed * 1.05 + layers * GRAPH


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_each_weight_once(name: str, made: Made) -> None:
    bits, parameters = bits_of(name, made.folder), checkpoint.unique_parameters(made.model)
    ok, detail = sizes.check(made.folder / name, parameters, bits)
    assert ok, detail
    assert not sizes.check(made.folder / name, parameters - HIDDEN**2, bits)[0]  # nor is one that is there twice hidden


@pytest.mark.parametrize("name", FILES)
def test_its_answers_are_the_students(name: str, made: Made) -> None:
    runtime = "litert" if name.endswith("tflite") else "onnxruntime"
    allowed = parity.tolerance(name.partition(".")[0], [logits for _, logits in made.golden])
    found = parity.compare(made.folder / name, runtime, made.golden, allowed)
    assert found.passed, found.reason


def test_small_shared_matrices_stand_there_once_too(tmp_path: Path) -> None:
    """The exporter writes a constant of a few thousand elements for each of its readers."""
    narrow = small(noise=0.05, hidden_size=64, intermediate_size=128, num_hidden_layers=12, vocab_size=200)
    shared = sharing.share(narrow, recipe.Share(start="first"), Evidence())
    onnx.export_fp32(saved(shared, tmp_path / "model"), tmp_path / "fp32.onnx")
    ort_format.convert(tmp_path / "fp32.onnx", tmp_path / "fp32.ort")
    count = checkpoint.unique_parameters(shared)
    for name in ("fp32.onnx", "fp32.ort"):
        ok, detail = sizes.check(tmp_path / name, count, 32)
        assert ok, detail
        assert not sizes.check(tmp_path / name, count - 64**2, 32)[0]  # the check sees a matrix of 64 x 64


def test_int8_leaves_no_shared_matrix_wide(made: Made) -> None:
    import onnx as library

    model = library.load(made.folder / "int8.onnx")
    wide = [one.name for one in model.graph.initializer if one.data_type == 1 and np.prod(one.dims) > 5000]
    assert wide == []


def test_only_what_is_read_one_way_is_folded() -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    names = ("alone", "both", "two")
    nodes = [helper.make_node("Transpose", [name], [f"{name}_t"], perm=[1, 0]) for name in names]
    nodes += [helper.make_node("Transpose", ["two"], ["two_same"], perm=[0, 1])]
    nodes += [helper.make_node("MatMul", ["x", f"{name}_t"], [f"{name}_y"]) for name in names]
    nodes += [helper.make_node("MatMul", ["x", "alone_t"], ["again"]), helper.make_node("Shape", ["both"], ["shape"])]
    outputs = [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [1, 2]) for name in names]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        outputs,
        [numpy_helper.from_array(weight, name) for name in names],
    )
    model = helper.make_model(graph)
    fold_transposes(model)
    kept = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert set(kept) == {"alone_t", "both", "two"}
    np.testing.assert_array_equal(kept["alone_t"], weight.T)
    assert [node.op_type for node in model.graph.node].count("Transpose") == 3
    assert [list(node.input) for node in model.graph.node if node.output[0] in ("alone_y", "again")] == [
        ["x", "alone_t"]
    ] * 2

"""Runtimes: any batch, fixed lengths, broken files, and files that kill the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar.errors import AttarError
from attar.export.runtimes import open_model
from attar.export.runtimes.isolated import run_isolated
from attar.tasks.encoding import collate
from test_export import LENGTH, artefacts, static_int8, texts, torch_logits

FILES = [
    ("fp32.onnx", "onnxruntime"),
    ("fp32.ort", "onnxruntime"),
    ("fp32.tflite", "litert"),
    ("fp32.tflite", "tflite-runtime"),
]
STATIC = [(file, runtime) for file, runtime in FILES if file.endswith("tflite")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefacts("bert", tmp_path_factory).folder


@pytest.mark.parametrize(("file", "runtime"), FILES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_answers_as_its_rows_do(folder: Path, file: str, runtime: str, threads: int) -> None:
    runner = open_model(folder / file, runtime, threads)
    assert runner.length == (LENGTH if file.endswith("tflite") else None)
    rows = texts(seed=3, count=5)
    batch = runner.run(collate(rows, 0))
    assert batch.dtype == np.float32
    assert batch.shape == (5, 3)
    np.testing.assert_allclose(batch, np.concatenate([runner.run(collate([row], 0)) for row in rows]), atol=1e-5)
    np.testing.assert_allclose(batch, torch_logits(folder, collate(rows, 0)), atol=1e-4)


@pytest.mark.parametrize(("file", "runtime"), STATIC)
def test_padding_beyond_the_length_is_cut_and_text_is_not(folder: Path, file: str, runtime: str) -> None:
    runner = open_model(folder / file, runtime)
    rows = texts(seed=4, count=3)
    np.testing.assert_array_equal(runner.run(collate(rows, 0, LENGTH + 9)), runner.run(collate(rows, 0)))
    with pytest.raises(AttarError, match=rf"{LENGTH + 3} pieces does not fit into the model's length {LENGTH}"):
        runner.run(collate(texts(longest=LENGTH + 3, count=1), 0, LENGTH + 9))


@pytest.mark.parametrize(("file", "runtime"), FILES)
def test_a_missing_input_is_named(folder: Path, file: str, runtime: str) -> None:
    arrays = collate(texts(count=1), 0)
    del arrays["token_type_ids"]
    with pytest.raises(AttarError, match="needs the input token_type_ids"):
        open_model(folder / file, runtime).run(arrays)


@pytest.mark.parametrize(("file", "runtime"), FILES)
@pytest.mark.parametrize("data", [b"", b"nonsense" * 500], ids=["empty", "nonsense"])
def test_a_broken_file_is_one_clear_error(file: str, runtime: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(data)
    with pytest.raises(AttarError, match="cannot load this file") as caught:
        open_model(tmp_path / file, runtime)
    assert str(tmp_path / file) in caught.value.where
    assert "\n" not in caught.value.line()


def test_a_model_with_other_inputs_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, checker, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(AttarError, match="does not take integers"):
        open_model(tmp_path / "other.onnx", "onnxruntime")


def test_unknown_names_and_missing_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="did you mean 'litert'"):
        open_model(folder / "fp32.tflite", "lite-rt")
    with pytest.raises(AttarError, match="no such model file"):
        open_model(tmp_path / "none.onnx", "onnxruntime")


@pytest.mark.parametrize(
    ("package", "file", "runtime", "cure"),
    [
        ("tflite_runtime", "fp32.tflite", "tflite-runtime", 'pip install "attar[tflite]"'),
        ("ai_edge_litert", "fp32.tflite", "litert", "pip install attar"),
        ("onnxruntime", "fp32.onnx", "onnxruntime", "pip install attar"),
    ],
)
def test_a_missing_package_is_named_with_its_cure(
    package: str, file: str, runtime: str, cure: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself keeps for a package that cannot be imported
    with pytest.raises(AttarError, match="does not load") as caught:
        open_model(folder / file, runtime)
    assert caught.value.fix.startswith(cure)


@pytest.mark.parametrize(("file", "runtime"), FILES)
def test_isolated_answers_are_the_same(folder: Path, file: str, runtime: str) -> None:
    rows = texts(seed=6, count=7)
    batches = [collate(rows[:3], 0), collate(rows[3:4], 0), collate(rows[4:], 0)]
    runner = open_model(folder / file, runtime)
    found = run_isolated(folder / file, runtime, batches)
    assert [logits.shape for logits in found] == [(3, 3), (1, 3), (3, 3)]
    for one, batch in zip(found, batches, strict=True):
        np.testing.assert_array_equal(one, runner.run(batch))
    assert run_isolated(folder / file, runtime, []) == []


def test_a_file_that_kills_its_runtime_does_not_kill_us(folder: Path, tmp_path: Path) -> None:
    file = static_int8(folder / "fp32.tflite", tmp_path / "static.tflite")
    batch = collate(texts(count=1), 0)
    assert run_isolated(file, "litert", [batch])[0].shape == (1, 3)
    with pytest.raises(AttarError, match="tflite-runtime died with SIGABRT") as caught:
        run_isolated(file, "tflite-runtime", [batch])
    assert caught.value.where == str(file)


def test_a_truncated_file_never_gives_logits(folder: Path, tmp_path: Path) -> None:
    """The old runtime reads on behind the file's end: an error, a death or a hang, by what happens to lie there."""
    data = (folder / "fp32.tflite").read_bytes()
    (tmp_path / "half.tflite").write_bytes(data[: len(data) // 2])
    for runtime in ("litert", "tflite-runtime"):
        with pytest.raises(AttarError):
            run_isolated(tmp_path / "half.tflite", runtime, [collate(texts(count=1), 0)], timeout=10)


def test_errors_of_the_child_are_ours(folder: Path, tmp_path: Path) -> None:
    batch = collate(texts(count=1, longest=LENGTH + 1), 0)
    with pytest.raises(AttarError, match="does not fit") as caught:
        run_isolated(folder / "fp32.tflite", "litert", [batch])
    assert "cut texts" in caught.value.fix
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(AttarError, match="cannot load this file"):
        run_isolated(tmp_path / "bad.onnx", "onnxruntime", [batch])
    with pytest.raises(AttarError, match="no answer in"):
        run_isolated(folder / "fp32.onnx", "onnxruntime", [batch], timeout=0.001)


def test_the_child_is_light(folder: Path) -> None:
    program = (
        "import sys, attar.export.runtimes.isolated, attar.export.runtimes.ort, attar.export.runtimes.litert,"
        " attar.export.runtimes.tflite, attar.export.parity, attar.export.sizes\n"
        "print(*{n.split('.')[0] for n in sys.modules} & {'torch', 'transformers', 'onnx', 'safetensors', 'scipy'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_relative_paths_reach_the_child(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(folder)
    (found,) = run_isolated(Path("fp32.onnx"), "onnxruntime", [collate(texts(count=2), 0)])
    assert found.shape == (2, 3)

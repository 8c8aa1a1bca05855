"""Parameters by part, against PyTorch's own count, and file sizes against them."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from attar.errors import AttarError
from attar.export import sizes
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from test_export import tiny_model

FAMILIES = ("bert", "distilbert", "electra", "roberta", "albert")


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_to_the_model(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    counts = sizes.count_parameters(tiny_model(family, tmp_path))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())
    assert counts.other == 0
    assert sum(counts.parts().values()) == counts.total


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_those_of_the_architecture(family: str, tmp_path: Path) -> None:
    """Counted from the shapes of the papers: 64 wide, 128 inside, 2 layers (ALBERT: one, shared)."""
    counts = sizes.count_parameters(tiny_model(family, tmp_path))
    layers = 1 if family == "albert" else 2
    norm = 2 * 64
    assert counts.attention == layers * (4 * (64 * 64 + 64) + norm)
    assert counts.feed_forward == layers * (2 * 64 * 128 + 128 + 64 + norm)
    width = 32 if family in ("electra", "albert") else 64
    types = {"distilbert": 0, "roberta": 1}.get(family, 2)
    project = 32 * 64 + 64 if family in ("electra", "albert") else 0
    assert counts.embeddings == (4000 + 40 + types) * width + 2 * width + project
    outputs = 1 if family == "distilbert" else 3
    assert counts.head == 64 * 64 + 64 + outputs * (64 + 1)


@given(st.integers(10**6, 10**9), st.sampled_from([8, 32]))
def test_a_file_as_large_as_its_weights_passes_and_twice_as_large_does_not(parameters: int, bits: int) -> None:
    needed = parameters * bits // 8
    assert sizes.total(needed, parameters, bits)[0]
    assert sizes.total(int(needed * 1.04), parameters, bits)[0]
    ok, detail = sizes.total(2 * needed, parameters, bits)
    assert not ok
    assert "twice" in detail
    assert f"{parameters:,}" in detail


MATRICES = {"table": (2000, 128), "product": (640, 512), "shared": (128, 640)}


def written(out: Path, bits: int, **weights: tuple[int, ...]) -> Path:
    """An ONNX file of a few operators with constants of these shapes."""
    types = {8: np.int8, 16: np.float16, 32: np.float32}
    tensors = [numpy_helper.from_array(np.ones(shape, types[bits]), name) for name, shape in weights.items()]
    tensors.append(numpy_helper.from_array(np.ones(1, np.float32), "bias"))
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("Add", ["x", "bias"], ["y"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", [value], [value], tensors)), out)
    return out


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_a_file_that_holds_each_weight_once_passes_and_twice_does_not(bits: int, tmp_path: Path) -> None:
    """The shared matrix is a tenth of the file, and in 8 bits smaller than what graphs take."""
    parameters, file = sum(math.prod(shape) for shape in MATRICES.values()), tmp_path / "model.onnx"
    assert sizes.check(written(file, bits, **MATRICES), parameters, bits)[0]
    assert sizes.check(written(file, bits, **MATRICES, scales=(9000,), places=(1, 512, 128)), parameters, bits)[0]
    ok, detail = sizes.check(written(file, bits, **MATRICES, again=MATRICES["shared"]), parameters, bits)
    assert not ok and "twice" in detail and f"{parameters:,}" in detail
    if bits > 8:
        assert not sizes.check(file, parameters, bits / 2)[0]


def test_what_no_tensor_names_is_found(tmp_path: Path) -> None:
    file = written(tmp_path / "model.onnx", 32, **MATRICES)
    model = onnx.load(file)
    model.doc_string = "x" * 100_000
    onnx.save(model, file)
    ok, detail = sizes.check(file, sum(math.prod(shape) for shape in MATRICES.values()), 32)
    assert not ok and "beside its constants" in detail


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AttarError, match="not a whole"):
        sizes.check(tmp_path / "model.onnx", 1, 32)


def test_integer_buffers_are_not_parameters(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {"bert.embeddings.position_ids": torch.arange(512), "bert.embeddings.word.weight": torch.zeros(3, 2)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert sizes.count_parameters(tmp_path) == sizes.Counts(embeddings=6)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 5) + b"{bad}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"\xff\xfe",
        *(
            struct.pack("<Q", len(text)) + text
            for value in ({"a": 1}, {"a": {"dtype": "F32"}}, {"a": {"dtype": "F32", "shape": ["x"]}})
            for text in [json.dumps(value).encode()]
        ),
    ],
)
def test_damaged_weights_are_one_clear_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(AttarError, match="not a safetensors file"):
        sizes.count_parameters(tmp_path)


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="no such file"):
        sizes.count_parameters(tmp_path)

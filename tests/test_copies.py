"""What `copies` says of a model whose layers share their weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from attar import results
from attar.benchmarks import copies, copies_record
from attar.errors import UsageError

FEW = {"onnx": ["int8"], "ort": ["int8"], "tflite": []}


def test_shared_files_are_judged_by_their_unique_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "EVERY", FEW)
    out = tmp_path / "docs" / "copies" / "albert-mini.json"
    assert copies.main(["albert-mini", "--length", "16", "--out", str(out)]) == 0
    found = copies_record.load(out)
    assert [(one.name, one.bits) for one in found.files] == [
        ("model.safetensors", 32),
        ("model-int8.onnx", 8),
        ("model-int8.ort", 8),
    ]
    assert all(one.once and one.bytes < 1.1 * one.needed for one in found.files)
    layer = 4 * (256 * 256 + 256) + 2 * 256 * 1024 + 256 + 1024 + 4 * 256
    assert found.unshared - found.parameters == 3 * layer
    page = results.pages(results.recorded(tmp_path / "docs"))["results.md"]
    assert "## Shared weights stand once: albert-mini" in page and "| model-int8.ort | int8 | 8.00 |" in page


def test_a_file_that_could_not_be_made_is_told() -> None:
    from attar.benchmarks.record import Model

    row = Model.model_validate(
        {"name": "a.onnx", "role": "artefact", "of": "student", "runtime": "onnxruntime", "precision": "int8"}
    )
    found = copies._file(row, None)
    assert not found.once and found.problem == "it could not be made"


@pytest.mark.parametrize("shape", ["bert-mini", "albert"])
def test_a_shape_whose_layers_do_not_share_is_refused(shape: str) -> None:
    with pytest.raises(UsageError, match=r"share their weights|no shape is called"):
        copies.measure(shape, 16, lambda what, done, total: None)

"""Which file of a bundle is for which processor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from attar.benchmarks import judging
from attar.benchmarks.record import Model
from attar.export import bundle, manifest, predict, processors
from attar.files import read_json, write_json
from attar.recipe import Budget


@pytest.mark.parametrize(
    ("architecture", "features", "kind"),
    [
        ("x86_64", ["avx2"], "x86"),
        ("AMD64", ["avx2", "avx512", "vnni"], "x86-vnni"),
        ("aarch64", ["neon"], "arm"),
        ("aarch64", ["neon", "dotprod", "i8mm"], "arm-dotprod"),
        ("armv7l", ["neon"], "arm"),
        ("riscv64", [], None),
    ],
)
def test_the_kind_of_a_processor(architecture: str, features: list[str], kind: str | None) -> None:
    assert processors.kind_of(architecture, features) == kind


def card(default: str, **files: list[str]) -> manifest.Manifest:
    """A manifest of int8 files by their processors, and of a float32 one."""
    common: dict[str, Any] = {"runtime": "onnxruntime", "inputs": [], "golden_error": 0, "golden_tolerance": 1}
    artefacts = [
        manifest.Artefact(file=f"{name}.onnx", precision="int8", processors=kinds, **common)  # type: ignore[arg-type]
        for name, kinds in files.items()
    ]
    artefacts.append(manifest.Artefact(file="fp32.onnx", precision="fp32", **common))
    return manifest.Manifest(
        name="x",
        attar="1",
        task=manifest.TaskCard(kind="classification", labels=["a", "b"]),
        tokenizer=manifest.TokenizerCard(max_length=8, pad_id=0),
        artefacts=artefacts,
        default=default,
        files={},
    )


@pytest.mark.parametrize("default", ["seven.onnx", "eight.onnx"])
def test_the_default_comes_in_the_form_for_the_processor(default: str) -> None:
    both = card(default, seven=[], eight=processors.suited("dot-product"))  # type: ignore[arg-type]
    found = {kind: predict.for_processor(both, kind) for kind in ("x86", "x86-vnni", "arm", "arm-dotprod", None)}
    assert {kind for kind, file in found.items() if file == "seven.onnx"} == {"x86", None}
    assert {kind for kind, file in found.items() if file == "eight.onnx"} == {"x86-vnni", "arm", "arm-dotprod"}
    assert predict.select(both, "seven.onnx").file == "seven.onnx"  # what is asked for is what answers


def test_another_precision_is_no_form_of_the_default() -> None:
    both = card("fp32.onnx", eight=processors.suited("dot-product"))  # type: ignore[arg-type]
    assert predict.for_processor(both, "x86-vnni") == "fp32.onnx"
    alone = card("eight.onnx", eight=processors.suited("dot-product"))  # type: ignore[arg-type]
    assert predict.for_processor(alone, "x86") == "eight.onnx"


def test_a_file_for_other_processors_is_no_failure(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    values = read_json(tmp_path / "bundle" / manifest.NAME)
    values["artefacts"][0]["processors"] = ["x86-vnni", "arm", "arm-dotprod"]
    write_json(tmp_path / "bundle" / manifest.NAME, values)
    for kind, skipped in (("x86", True), ("x86-vnni", False)):
        monkeypatch.setattr(bundle, "kind_here", lambda kind=kind: kind)
        check = next(one for one in bundle.verify(tmp_path / "bundle") if one.name.startswith("model.onnx answers"))
        assert check.passed
        assert check.skipped is skipped
        assert ("this processor is x86" in check.detail) is skipped


def test_the_choice_is_the_file_that_is_right_everywhere() -> None:
    def row(file: str, processor: str, size: int) -> Model:
        return Model(
            name=file, role="artefact", of="student", runtime="onnxruntime", precision="int8", file=file,
            bytes=size, processor=processor, scores={"dev": {"accuracy": 0.9}},
        )  # fmt: skip

    teacher = Model(
        name="teacher", role="teacher", of="teacher", runtime="torch", precision="fp32",
        scores={"dev": {"accuracy": 0.9}},
    )  # fmt: skip
    seven, eight = row("a.onnx", "any-cpu", 100), row("b.onnx", "dot-product", 99)
    assert judging.choose(Budget(), [teacher, seven, eight], "accuracy", 8) == seven
    assert judging.choose(Budget(), [teacher, eight], "accuracy", 8) == eight

"""Models of several sizes beside each other, from a named shape to a run's student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from attar.benchmarks import effort, lineup, places
from attar.benchmarks.record import Bench
from attar.benchmarks.targets import arm, arm_setup
from attar.files import read_document
from conftest import LABELS, SENTENCES

READY = arm_setup.whole(arm.home())  # before a test names another folder


@pytest.fixture
def run(bundle_folder: Path, teacher: Path, tmp_path: Path) -> Path:
    """A finished run, of a bundle and the model that it was made of."""
    run = tmp_path / "tiny"
    shutil.copytree(bundle_folder, run / "bundle")
    rows, lines = tmp_path / "rows.tsv", [f"{LABELS[n % 3]}\t{text}" for n, text in enumerate(SENTENCES)]
    rows.write_text("\n".join(["label\ttext", *lines]) + "\n", "utf-8")
    path = {"path": str(rows)}
    (run / "recipe.yaml").write_text(
        yaml.safe_dump(
            {"name": "tiny", "task": {"train": path, "dev": path, "max_length": 32}, "export": {"lengths": [32]}}
        ),
        "utf-8",
    )
    for name in ("student", "teacher"):
        shutil.copytree(teacher, run / name)
    (run / "artefacts").mkdir()
    shutil.copy(run / "bundle" / "model.onnx", run / "artefacts" / "teacher.onnx")
    return run


def test_a_shape_a_teacher_and_a_student_take_turns(run: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "lineup.json"
    words = ["--shape", "bert-mini", "--length", "8", "--threads", "1", "--quick", "--out", str(out)]
    assert lineup.main([str(run), *words]) == 0
    (site,) = read_document(Bench, out, "lineup").targets
    names = ["bert-mini untrained", "teacher of tiny", "tiny"]
    assert [one.name for one in site.models] == [f"{name} {kind}" for name in names for kind in ("fp32", "int8")]
    assert site.reference == site.models[0].name and site.floor
    latencies = [one.cost.latencies[0] for one in site.models if one.cost]
    assert all(one.macs and one.floor_ms for one in latencies)
    assert latencies[0].macs == latencies[1].macs > 10 * (latencies[4].macs or 0)
    assert site.models[1].bytes < site.models[0].bytes / 2
    assert len(places.times([site]).rows) == len(effort.work([site]).rows) == 6
    capsys.readouterr()
    assert lineup.main([str(tmp_path / "nowhere")]) == 2
    assert "not a finished run" in capsys.readouterr().err
    assert lineup.main([str(run), "--shape", "bert-huge"]) == 2
    assert "no shape is called 'bert-huge'" in capsys.readouterr().err
    assert lineup.main([str(run), "--target", "ssh://board"]) == 2
    assert "not sent elsewhere" in capsys.readouterr().err


def test_a_compressed_student_is_exported_as_its_last_step_left_it(run: Path, tmp_path: Path) -> None:
    path = run / "recipe.yaml"
    path.write_text(path.read_text("utf-8") + yaml.safe_dump({"compress": [{"quantize": {"bits": 8}}]}), "utf-8")
    (run / "student").rename(run / "student-1-quantize")
    (run / "bundle" / "model.onnx").unlink()
    manifest = run / "bundle" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | {"default": "model.ort"}), "utf-8")
    out = tmp_path / "lineup.json"
    words = ["--shape", "bert-mini", "--length", "8", "--threads", "1", "--quick", "--out", str(out)]
    assert lineup.main([str(run), *words]) == 0
    (site,) = read_document(Bench, out, "lineup").targets
    assert [one.name for one in site.models][-3:] == ["tiny fp32", "tiny int8", "tiny model.ort"]
    rows = [[cell.text for cell in row.cells[-2:]] for row in places.times([site]).rows]
    whole, small = site.models[0].bytes, site.models[-1].bytes
    assert rows[0][1] == "1.00×" and float(rows[-1][1][:-1]) == pytest.approx(whole / small, rel=0.01)


@pytest.mark.skipif(not READY, reason="the emulated ARM is not set up (attar arm-setup)")
def test_on_an_emulated_processor_instructions_are_counted_and_rows_scored(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "arm.json"
    words = ["--shape", "bert-mini", "--length", "8", "--target", "arm:cortex-a76", "--rows", "2", "--out", str(out)]
    assert lineup.main([str(run), *words]) == 0
    (site,) = read_document(Bench, out, "lineup").targets
    assert site.measures == "instructions" and [len(one.instructions) for one in site.models] == [1] * 6
    assert [bool(one.outputs and one.outputs.scores) for one in site.models] == [False, False, True, True, True, True]
    assert [one.outputs.right for one in site.models if one.outputs] == [None] * 4 + [True] * 2

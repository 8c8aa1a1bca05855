"""Models of several sizes beside each other, from a named shape to a run's student."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from attar.benchmarks import effort, lineup, places
from attar.benchmarks.record import Bench
from attar.files import read_document


def test_a_shape_a_teacher_and_a_student_take_turns(
    bundle_folder: Path, teacher: Path, tmp_path: Path, capsys: Any
) -> None:
    run, out = tmp_path / "tiny", tmp_path / "lineup.json"
    shutil.copytree(bundle_folder, run / "bundle")
    for name in ("student", "teacher"):
        shutil.copytree(teacher, run / name)
    (run / "artefacts").mkdir()
    shutil.copy(run / "bundle" / "model.onnx", run / "artefacts" / "teacher.onnx")
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

"""What was measured elsewhere, in the report and on the results page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attar import results
from attar.benchmarks import places, record, report
from attar.benchmarks.record import Bench, Cost, Instructions, Latency, Outputs, Placed, Site
from attar.cli import main
from sample_run import sample
from test_demo import PHONE

Capture = pytest.CaptureFixture[str]


def counted(length: int, executed: int) -> Instructions:
    parts = {"memory": 12_345_678, "dot": 0, "integer": 3, "floating": 4, "vector": 5, "branch": 6}
    return Instructions(length=length, repeats=5, executed=executed, **parts)


def timed(length: int, p50: float, **words: Any) -> Latency:
    return Latency(length=length, threads=1, queries=9, p50_ms=p50, p90_ms=9, mean_ms=3, min_ms=1, **words)


ANSWERS = Outputs(golden_error=0.5, golden_tolerance=0.25, golden_agreement=0.75, scores={"accuracy": 0.8125}, rows=48)
SITES = [
    Site(
        target="arm:cortex-a53",
        measures="instructions",
        models=[
            Placed(
                name="m.onnx",
                runtime="onnxruntime",
                bytes=9,
                instructions=[counted(64, 98_765_432)],
                outputs=ANSWERS,
            )
        ],
    ),
    Site(
        target="ssh://board",
        measures="time",
        machine={"processor": "Small <Core>"},
        reference="a.onnx",
        models=[
            Placed(name="a.onnx", runtime="onnxruntime", bytes=9, cost=Cost(latencies=[timed(16, 2.5, ratio=1.0)])),
            Placed(
                name="b.onnx",
                runtime="onnxruntime",
                bytes=9,
                cost=Cost(latencies=[timed(0, 1.25, pieces=11.5, ratio=2.0, ratio_interval=(1.9, 2.1))]),
            ),
        ],
        problems=["ssh://board: c.onnx: the host went away"],
    ),
]  # fmt: skip


def texts(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def test_instructions_and_times_stand_apart() -> None:
    found = {table.key: table for table in places.tables(SITES)}
    assert texts(found["instructions"])[0][:5] == ["arm:cortex-a53", "m.onnx", "64", "98.8", "12.3"]
    assert "no time and no cycles" in found["instructions"].caption
    rows = texts(found["places"])
    assert [row[1:5] for row in rows] == [["a.onnx", "16", "1", "2.50"], ["b.onnx", "own, 11.5", "1", "1.25"]]
    assert rows[1][6] == "2.00×" and found["places"].rows[1].cells[6].note == "± 5.1%"
    assert "went away" in found["places"].rows[-1].remark
    assert texts(found["answers"]) == [["arm:cortex-a53", "m.onnx", "0.5", "0.25", "75", "81.25"]]
    assert found["answers"].rows[0].cells[2].mark == "bad"
    lost = Site(target="ssh://far", measures="time", problems=["ssh://far: no answer"])
    counted_none = Site(target="arm:cortex-a76", measures="instructions", problems=["m.onnx: no such element"])
    by_key = {table.key: table for table in places.tables([SITES[0], lost, counted_none])}
    assert [row.remark for row in by_key["places"].rows] == ["ssh://far: no answer"]
    assert [row.remark for row in by_key["instructions"].rows] == ["", "m.onnx: no such element"]
    quiet = SITES[1].model_copy(
        update={
            "protocol": {"queries": 128, "seconds": 10.0, "sessions": 8},
            "conditions": {"others": 0.02, "drift": 1.013},
        }
    )
    said = places.times([quiet]).rows[-1].remark
    assert "128 queries (the full protocol asks for 1,024)" in said
    assert "kept 0.02 cores busy, the processor's pace changed by 1.3%" in said
    assert [table.key for table in places.tables(SITES[:1])] == ["instructions", "answers"]
    assert places.tables([]) == []


def test_figures_lead_back_to_the_record() -> None:
    """Every path names the very value in the document."""
    document = sample().model_copy(update={"targets": SITES}).model_dump(mode="json")
    checked = 0
    for table in places.tables(SITES):
        for row in table.rows:
            for path, _, value in (cell.path.partition(" = ") for cell in row.cells if cell.path.startswith("targets")):
                found = document
                for word in path.replace("]", "").replace("[", ".").split("."):
                    found = found[int(word)] if isinstance(found, list) else found[word]
                assert json.loads(value) == found, path
                checked += 1
    assert checked == 9 + 6 + 4


def test_a_report_shows_targets(tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "run"
    record.save(sample(), run / "run.json")
    (tmp_path / "bench.json").write_text(Bench(targets=SITES, command="attar bench x").model_dump_json(), "utf-8")
    (tmp_path / "phone.json").write_text(json.dumps(PHONE), "utf-8")
    files = ["--target", str(tmp_path / "bench.json"), "--target", str(tmp_path / "phone.json")]
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    assert main(["report", str(run), *files, "--out", str(page), "--markdown", str(text)]) == 0
    assert "On other machines" in page.read_text("utf-8") and "Small &lt;Core&gt;" in page.read_text("utf-8")
    assert "arm:cortex-a53" in text.read_text("utf-8") and "this phone" in text.read_text("utf-8")
    assert "On other machines" not in report.html([sample()])
    capsys.readouterr()
    assert main(["report", str(run), str(run), *files, "--out", str(page)]) == 2
    assert "goes with one run" in capsys.readouterr().err
    (tmp_path / "bench.json").write_text('{"models": []}', "utf-8")
    assert main(["report", str(run), *files, "--out", str(page)]) == 1
    assert "no measurement of a target" in capsys.readouterr().err


def test_targets_stand_on_the_results_page(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "a.json").write_text(Bench(targets=SITES, command="attar bench x").model_dump_json())
    assert results.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "results.md").read_text("utf-8")
    assert "    attar bench x" in page and "98.8" in page and "| ssh://board" in page

"""The figures of runs as CSV: every measurement in a row with its conditions, and no name that is a formula."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from attar.benchmarks import record, spreadsheet
from attar.benchmarks.record import Run
from attar.cli import main
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_run import sample
from test_places import SITES
from test_report import resolve


def read(runs: list[Run]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(spreadsheet.text(runs))))


def test_a_row_for_each_model_length_and_number_of_threads() -> None:
    run = sample()
    rows = read([run])
    timed = [(m.name, str(x.length), str(x.threads)) for m in run.models for x in m.cost.latencies]
    assert [(row["model"], row["length"], row["threads"]) for row in rows] == timed
    assert {row["processor"] for row in rows} == {"Artificial CPU 1111"}
    assert {row["measured"] for row in rows} == {run.created} and {row["target"] for row in rows} == {"local"}
    versions = {row["runtime"]: row["runtime_version"] for row in rows}
    assert versions["onnxruntime"] == "1.11.1" and versions["litert"] == ""
    assert {row["model"] for row in rows if row["chosen"] == "yes"} == {run.choice}


def test_every_figure_is_that_of_the_record() -> None:
    run = sample()
    run.models[4].gzipped = 7_777_777
    run.models[4].cost.latencies[0].p50_interval = (2.0, 3.0)
    stored = json.loads(run.model_dump_json())
    for row in read([run]):
        one = resolve(stored, row["path"])
        model = resolve(stored, row["path"].split(".")[0])
        assert row["file"] == "run.json"
        for name in ("p50_ms", "p90_ms", "p99_ms", "ratio", "queries"):
            assert row[name] == ("" if one[name] is None else str(one[name])), name
        for name in ("bytes", "gzipped", "parameters", "precision", "status"):
            assert row[name] == ("" if model[name] is None else str(model[name])), name
        assert float(row["score"]) == model["scores"][row["split"]][row["metric"]]
        assert row["peak_memory"] == str(model["cost"]["peak_memory"])
        assert row["p50_low_ms"] == (str(one["p50_interval"][0]) if one["p50_interval"] else "")


def test_targets_stand_in_rows_of_their_own_and_name_their_file() -> None:
    run = sample()
    placed = SITES[1].model_copy(update={"place": "board.json: targets[1]."})
    run.targets = [SITES[0], placed]
    rows = [row for row in read([run]) if row["target"] != "local"]
    assert [(row["target"], row["file"], row["path"]) for row in rows] == [
        ("arm:cortex-a53", "run.json", "targets[0].models[0].instructions[0]"),
        ("ssh://board", "board.json", "targets[1].models[0].cost.latencies[0]"),
        ("ssh://board", "board.json", "targets[1].models[1].cost.latencies[0]"),
    ]
    assert rows[0]["instructions"] == "98765432" and rows[0]["p50_ms"] == "" and rows[0]["score"] == "0.8125"
    assert rows[2]["length"] == "own" and rows[2]["pieces"] == "11.5" and rows[2]["instructions"] == ""


def test_a_model_that_was_not_timed_keeps_its_row() -> None:
    run = sample()
    run.models = run.models[:1]
    run.models[0].cost.latencies = []
    (row,) = read([run])
    assert row["model"] == "teacher" and row["p50_ms"] == row["length"] == "" and row["path"] == "models[0]"


@settings(max_examples=40)
@given(st.sampled_from("=+-@＝＋－＠"), st.text(max_size=20), st.sampled_from(["", " ", "\t", "\r", "\n", "\u3000"]))
def test_no_name_is_a_formula_and_a_row_is_a_line(sign: str, rest: str, blank: str) -> None:
    run = sample()
    run.models = run.models[:1]
    run.name = run.models[0].name = blank + sign + rest
    run.machine["processor"] = f"{sign}1+2"
    text = spreadsheet.text([run])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) + 1 == len(text.splitlines())
    for row in rows:
        assert row["run"].startswith("'") and row["model"].startswith("'") and row["processor"] == f"'{sign}1+2"
        assert row["run"].lstrip("' \u3000").startswith(sign)


def test_negative_numbers_stay_numbers() -> None:
    run = sample()
    run.models[4].scores["test"]["accuracy"] = 0.99  # better than its teacher
    run.limits = []
    drops = [float(row["drop_points"]) for row in read([run]) if row["model"] == run.models[4].name]
    assert drops and all(drop < 0 for drop in drops)


def test_the_command_writes_it_for_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders: list[Any] = []
    for name in ("하나", "two"):
        folders.append(tmp_path / name)
        record.save(sample(name), folders[-1] / "run.json")
    out = tmp_path / "figures.csv"
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "report.html"), "--csv", str(out)]) == 0
    text = out.read_text("utf-8")
    assert text == spreadsheet.text([record.load(folder) for folder in folders]) and "\r" not in text
    assert {row["run"] for row in csv.DictReader(io.StringIO(text))} == {"하나", "two"}
    capsys.readouterr()

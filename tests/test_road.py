"""The student's road: from the teacher through what each stage left to the file that was chosen."""

from __future__ import annotations

import json

from attar.benchmarks import road
from attar.benchmarks.record import Milestone, Run
from sample_run import sample


def shown(run: Run) -> list[tuple[str, int | None, float | None, float | None]]:
    stops = road.stops(run)
    return [(one.name, one.bytes, one.latency.p50_ms if one.latency else None, one.score) for one in stops]


def whole() -> Run:
    run = sample()
    bytes_ = {"teacher": 99_000_000, "student": 44_000_000}
    models = [one.model_copy(update={"parameter_bytes": bytes_.get(one.name)}) for one in run.models]
    return run.model_copy(update={"models": models})


def test_without_steps_the_student_stands_between_teacher_and_file() -> None:
    """Times are those of the float32 ONNX files, and the chosen file's own."""
    assert shown(whole()) == [
        ("teacher", 99_000_000, 111.1, 0.9222),
        ("student", 44_000_000, 22.2, 0.9089),
        ("model.int8.onnx", 8_888_888, 11.1, 0.9067),
    ]
    figure = road.waterfall_figure(whole(), "key")
    assert figure and "student: 22.2" in figure.svg and "model.int8.onnx: 8.89" in figure.svg


def test_every_step_is_a_stop_in_the_place_of_the_student() -> None:
    stones = [
        Milestone(stage="distil", parameters=11, bytes=44, latencies=[], scores={"dev": {"accuracy": 0.9}}),
        Milestone(stage="1-trim", parameters=5, bytes=20, latencies=[], scores={"dev": {"accuracy": 0.8}}),
    ]
    found = shown(whole().model_copy(update={"road": stones}))
    assert found[1:3] == [("distil", 44, None, 0.9), ("1-trim", 20, None, 0.8)] and len(found) == 4
    changes = [row.cells[-1].text for row in road.table(whole().model_copy(update={"road": stones})).rows]
    assert changes[2] == "−10.00"


def test_a_run_that_chose_nothing_has_no_road() -> None:
    run = whole().model_copy(update={"choice": None})
    assert shown(run) == [] and road.waterfall_figure(run, "key") is None


def test_figures_lead_back_to_the_record() -> None:
    run = whole()
    document, checked = run.model_dump(mode="json"), 0
    for row in road.table(run).rows:
        for path, _, value in (cell.path.partition(" = ") for cell in row.cells):
            if path.startswith("models["):
                found = document
                for word in path.replace("]", "").replace("[", ".").split("."):
                    found = found[int(word)] if isinstance(found, list) else found[word]
                assert json.loads(value) == found, path
                checked += 1
    assert checked >= 12

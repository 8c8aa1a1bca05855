"""The guide: its answers follow from the studies' records, and a question that none answers says so."""

from __future__ import annotations

from attar.benchmarks import choosing, readings, searches, ways
from attar.benchmarks.record import Bench, Cost, Latency, Model, Placed, Run, Search, Site, Trial
from attar.benchmarks.study_record import Result, StudyRecord
from hypothesis import given
from hypothesis import strategies as st
from sample_run import sample


def model(name: str, score: float, parameters: int = 0, bytes_: int = 0, ratio: float | None = None) -> Model:
    role = name if name in ("teacher", "student") else "artefact"
    timed = [Latency(length=64, threads=1, queries=1, p50_ms=1, p90_ms=1, p99_ms=1, mean_ms=1, min_ms=1, ratio=ratio)]
    return Model.model_validate(
        {
            "name": name,
            "role": role,
            "of": "teacher" if name == "teacher" else "student",
            "runtime": "torch",
            "precision": "fp32",
            "file": name,
            "bytes": bytes_,
            "parameters": parameters,
            "scores": {"dev": {"accuracy": score}},
            "rows": {"dev": 100},
            "status": "ok",
            "cost": Cost(latencies=timed if ratio else []).model_dump(),
        }
    )


def study(name: str, cells: dict[tuple[str, str], list[Model]], against: dict[str, str] | None = None) -> StudyRecord:
    return StudyRecord(
        attar="0",
        name=name,
        title=name,
        created="2001",
        machine={},
        study={},
        rows=list(dict.fromkeys(row for row, _ in cells)),
        columns=list(dict.fromkeys(column for _, column in cells)),
        against=against or {},
        results=[
            Result(row=row, column=column, folder="x", metric="accuracy", split="dev", models=models)
            for (row, column), models in cells.items()
        ],
    )


def taught(score: float, parameters: int) -> list[Model]:
    return [model("teacher", 0.8), model("student", score, parameters)]


def test_the_smallest_shape_that_keeps_enough_is_named() -> None:
    cells = {
        ("wide", "a"): taught(0.80, 9_000_000),
        ("wide", "b"): taught(0.80, 9_000_000),
        ("middle", "a"): taught(0.79, 4_000_000),
        ("middle", "b"): taught(0.79, 4_000_000),
        ("small", "a"): taught(0.76, 1_000_000),
        ("small", "b"): taught(0.77, 1_000_000),
    }
    said = choosing.shapes(study("students", cells)).sentences
    assert "**middle** (4.00 million parameters, 98.8 %)" in said[0] and "98 %" in said[0]
    assert "**small** (1.00 million parameters, 95.6 %)" in said[1] and "95 %" in said[1]


def test_where_none_keeps_enough_the_nearest_is_named() -> None:
    said = choosing.shapes(study("students", {("only", "a"): taught(0.4, 1_000_000)})).sentences
    assert said == [f"None keeps {goal} % on average; only is nearest with 50.0 %." for goal in (98, 95)]


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_column_that_a_row_lacks_is_not_averaged(easy: float, hard: float) -> None:
    found = study(
        "students", {("one", "a"): taught(easy, 1), ("one", "b"): taught(hard, 1), ("two", "a"): taught(easy, 1)}
    )
    assert readings.whole(found) == ["a"]
    assert readings.retention(found, "one") == readings.retention(found, "two")


def test_what_is_compared_stands_by_the_size_of_its_difference() -> None:
    cells = {("all", "a"): taught(0.8, 1), ("less", "a"): taught(0.79, 1), ("least", "a"): taught(0.7, 1)}
    answer = choosing.compared(study("tinybert", cells, {"less": "all", "least": "all"}))
    assert "**least** (−10.0 points against all)" in answer.sentences[0] and "less (−1.0)" in answer.sentences[0]
    assert [row.cells[0].text for row in answer.table.rows] == ["least", "less"]


def test_steps_stand_by_their_bytes_with_speed_and_points_against_the_first() -> None:
    cells = {
        ("as it is", "a"): [model("teacher", 0.8), model("m.onnx", 0.8, 1, 8_000_000, 2.0)],
        ("bits", "a"): [model("teacher", 0.8), model("m8.onnx", 0.797, 1, 2_000_000, 5.0)],
        ("trimmed", "a"): [model("teacher", 0.8), model("m4.onnx", 0.7, 1, 1_000_000, 3.0)],
        ("learnt", "a"): [model("teacher", 0.8), model("m8.onnx", 0.787, 1, 2_000_100, 5.0)],
    }
    answer = ways.steps(study("steps", cells, {"trimmed": "bits", "learnt": "bits"}))
    assert "**bits**, 2.00 MB (4.0× smaller, −0.3 points)" in answer.sentences[0]
    assert answer.sentences[1] == "With as many bytes, learnt gives −1.0 points against bits."
    shown = [[cell.text for cell in row.cells] for row in answer.table.rows]
    assert shown[0] == ["trimmed", "1.00", "8.0×", "1.50×", "−10.0", "−9.7 against bits"]
    assert [row[0] for row in shown] == ["trimmed", "bits", "learnt", "as it is"]


def test_the_page_says_what_is_not_measured_and_lists_files_by_size() -> None:
    made = choosing.page([sample()], [study("students", {("one", "a"): taught(0.8, 1_000_000)})])
    assert "**one**" in made and "`attar study recipes/studies/steps.yaml` would tell" in made
    assert f"| {sample().name} |" in made
    small = {("2 MB", "a"): [model("teacher", 0.8, 1, 90_000_000), model("s.onnx", 0.76, 1, 1_500_000, 6.0)]}
    table = choosing.sizes([sample()], study("small", small))
    assert [cell.text for cell in table.rows[0].cells] == ["1.50", "a, 2 MB", "95.0", "60.0×", "6.0×", "–", "1"]


def test_ways_that_were_timed_in_one_run_have_the_speeds_of_it() -> None:
    cells = {(row, "a"): [model("teacher", 0.8), model("m.onnx", 0.8, 1, 8, 2.0)] for row in ("as it is", "bits")}
    found = study("steps", cells)
    found.results[1].folder = "y"
    timed = {"as it is": 4.0, "bits": 10.0}
    models = [
        Placed(name=f"{folder}/m.onnx", runtime="onnxruntime", bytes=8, cost=model("m", 1, 1, 1, ratio).cost)
        for folder, ratio in zip("xy", timed.values(), strict=True)
    ]
    bench = Bench(targets=[Site(target="local", measures="time", models=models)])
    for run, speed, said in ((bench, "2.50×", "in one run"), (None, "1.00×", "each of the cell's own run")):
        answer = ways.steps(found, run)
        assert [row.cells[3].text for row in answer.table.rows if row.cells[0].text == "bits"] == [speed]
        assert said in answer.table.caption
    del models[1]
    lacking = Bench(targets=[Site(target="local", measures="time", models=models)])
    assert "each of the cell's own run" in ways.steps(found, lacking).table.caption


def test_whether_pruning_pays_is_told_by_students_of_one_shape() -> None:
    cells = {
        ("as it is", "a"): [model("teacher", 0.8), model("m.onnx", 0.8, 1, 8_000_000)],
        ("pruned", "a"): [model("teacher", 0.8), model("m.onnx", 0.75, 1, 4_000_000)],
        ("narrow", "a"): [model("teacher", 0.8), model("m.onnx", 0.77, 1, 4_000_100)],
        ("bits", "a"): [model("teacher", 0.8), model("m.onnx", 0.79, 1, 4_000_000)],
    }
    found = study("steps", cells)
    steps = {"pruned": [{"prune": {"ffn": 0.5}}], "bits": [{"quantize": {"bits": 4}}]}
    found.study = {"rows": {row: {"set": {"compress": steps[row]} if row in steps else {}} for row in found.rows}}
    (said,) = ways.pruning(found, "a", {"as it is": 8e6, "pruned": 4e6, "narrow": 4.0001e6, "bits": 4e6})
    assert said.startswith("Pruning is not worth its training here") and "**narrow** (pruned 75.0, narrow 77.0)" in said
    found.results[1].models[1].scores["dev"]["accuracy"] = 0.78
    (said,) = ways.pruning(found, "a", {"as it is": 8e6, "pruned": 4e6, "narrow": 4.0001e6, "bits": 4e6})
    assert said.startswith("Pruning is worth") and "**pruned** (pruned 78.0" in said
    assert ways.pruning(found, "a", {"as it is": 8e6, "pruned": 4e6}) == []


def trial(number: int, bytes_: int, score: float | None) -> Trial:
    """A trial whose file has that score, or that was too costly to be distilled."""
    file = model("m.onnx", score or 0.0, 1, bytes_, 1.0)
    status = "over" if score is None else "trained"
    best = None if score is None else file.name
    return Trial.model_validate(
        {"number": number, "changes": {}, "status": status, "models": [file], "best": best, "seconds": 30.0}
    )


def searched(name: str, trials: list[Trial], **other: object) -> Run:
    found = Search(trials=trials, winner=1, candidates=9, ended="")
    return sample(name).model_copy(update={"search": found, **other})


def test_searches_of_one_task_under_one_budget_stand_side_by_side() -> None:
    ours = searched("by-search", [trial(1, 1_000_000, 0.7), trial(2, 2_000_000, 0.8), trial(3, 9_000_000, None)])
    grid = searched("by-hand", [trial(1, 1_500_000, 0.6), trial(2, 1_900_000, 0.75)])
    elsewhere = searched("other-rows", [trial(1, 1, 0.9)], provenance={"data": {}})
    (pair,) = searches.rivals([sample(), ours, elsewhere, grid])
    assert [run.name for run in pair] == ["by-search", "by-hand"]
    made = searches.table(pair)
    assert ("", "on the shared front", "of 3") in made.columns  # 1.5 MB at 0.6 is beaten by the other's 1 MB at 0.7
    shown = [[cell.text for cell in row.cells] for row in made.rows]
    assert shown[0][:5] == ["by-search", "3", "2", "1.50", "2"] and shown[1][:5] == ["by-hand", "2", "2", "1.00", "1"]
    assert shown[0][7] == "8.89" and shown[0][9] == "90.5"  # the chosen file of the sample, as it was trained in full
    assert ("its first 1.00 minutes", "on the shared front", "of 3") in made.columns
    assert shown[0][5:7] == ["2", "80.0"] and shown[1][5:7] == ["1", "75.0"]
    assert "**by-search** is ahead: 2 of the 3 files on the shared front are its own (by-hand 1)" in searches.told(pair)
    assert "By a search or by hand" in choosing.page(pair, []) and "by hand" not in choosing.page([ours], [])


def test_searches_are_compared_at_the_cost_of_the_shortest() -> None:
    """What is found after the shortest run's time counts in all, and not at the same cost; a sum equal to it counts."""
    long = searched("long", [trial(1, 2_000_000, 0.6), trial(2, 1_000_000, 0.7), trial(3, 900_000, 0.9)])
    short = searched("short", [trial(1, 1_500_000, 0.65), trial(2, 1_400_000, 0.75)])
    made = searches.table([long, short])
    assert ("", "on the shared front", "of 1") in made.columns
    assert ("its first 1.00 minutes", "on the shared front", "of 2") in made.columns
    shown = [[cell.text for cell in row.cells] for row in made.rows]
    assert [row[4:7] for row in shown] == [["1", "1", "70.0"], ["0", "1", "75.0"]]

"""From results to a verdict: what may be chosen, what is measured, and what a terminal says of it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from attar import cli
from attar.benchmarks import assembly, inspection, judging, machine, measurement, outcome, profile, verdict
from attar.benchmarks.record import Cost, Latency, Limit, Model
from attar.errors import AttarError
from attar.export import manifest, package
from attar.export.manifest import TaskCard
from attar.recipe import Budget, Measure, Recipe
from attar.recipe_file import parse
from attar.tasks.encoding import Encoder
from conftest import LABELS, MAX_LENGTH, SENTENCES, tiny_bundle
from hypothesis import given
from hypothesis import strategies as st
from sample_run import sample

LONG = 64


def latencies(**p50: float) -> list[Latency]:
    """`at16=1.0` and so on, on one thread."""
    rest = {"threads": 1, "queries": 5, "p90_ms": 1, "p99_ms": 1, "mean_ms": 1, "min_ms": 1}
    return [Latency(length=int(name[2:]), p50_ms=value, **rest) for name, value in p50.items()]  # type: ignore[arg-type]


def artefact(name: str, size: int, *, length: int | None = None, score: float = 0.9, **other: Any) -> Model:
    values: dict[str, Any] = {"of": "student", "runtime": "litert" if length else "onnxruntime"} | other
    return Model(
        name=name,
        role="artefact",
        precision="fp32",
        length=length,
        file=f"artefacts/{name}",
        bytes=size,
        scores={"dev": {"accuracy": score}},
        **values,
    )


TEACHER = Model(
    name="teacher",
    role="teacher",
    of="teacher",
    runtime="torch",
    precision="fp32",
    scores={"dev": {"accuracy": 0.95}},
)


def test_an_artefact_that_cuts_texts_is_never_chosen() -> None:
    short = artefact("model-16.tflite", 100, length=16, score=1.0)
    whole = artefact("model-64.tflite", 300, length=LONG)
    free = artefact("model.onnx", 200)
    budget = Budget(max_size=150)
    assert judging.choose(budget, [TEACHER, short, whole, free], "accuracy", LONG) == free
    assert judging.choose(budget, [TEACHER, short, whole], "accuracy", LONG) == whole
    assert judging.choose(budget, [TEACHER, short], "accuracy", LONG) is None
    assert judging.choose(budget, [TEACHER, short], "accuracy", 16) == short


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([None, 16, LONG]), st.booleans()), max_size=6))
def test_the_choice_is_the_smallest_of_those_that_meet_most(found: list[tuple[int, int | None, bool]]) -> None:
    """With one limit on the score, the order is: meets it, then bytes."""
    models = [
        artefact(str(number), size, length=length, score=0.95 if good else 0.5)
        for number, (size, length, good) in enumerate(found)
    ]
    choice = judging.choose(Budget(max_drop=1), [TEACHER, *models], "accuracy", LONG)
    able = [(not good, size) for size, length, good in found if length != 16]
    assert (choice is None) == (not able)
    if choice:
        assert (choice.scores["dev"]["accuracy"] < 0.9, choice.bytes) == min(able)


def test_where_nothing_fits_the_choice_misses_least() -> None:
    """Costs by their factor, a drop by the errors that it allows: one missed far is worse than three nearly met."""
    cost = {name: Cost(latencies=latencies(at64=ms)) for name, ms in (("wide", 12.8), ("narrow", 4.0))}
    wide = artefact("wide.tflite", 689, length=LONG, score=0.945, cost=cost["wide"])
    narrow = artefact("narrow.onnx", 175, score=0.935, cost=cost["narrow"])
    table = [TEACHER, wide, narrow]
    budget = Budget(max_size=150, max_latency=2.8, max_drop=0.6)  # wide misses two of these, narrow all three
    assert judging.choose(budget, table, "accuracy", LONG) == narrow
    assert judging.excess(budget, wide, table, "accuracy") == pytest.approx(689 / 150)
    assert judging.choose(Budget(max_drop=0.1), table, "accuracy", LONG) == wide  # the nearer, not the smaller
    assert judging.excess(Budget(max_drop=0.1), narrow, table, "accuracy") == pytest.approx(6.5 / 5.1)
    assert judging.excess(Budget(max_drop=2), narrow, table, "accuracy") == 0.0
    unscored = artefact("unscored.onnx", 1).model_copy(update={"scores": {}})
    assert judging.choose(Budget(max_drop=0.1), [*table, unscored], "accuracy", LONG) == wide


@given(st.sampled_from(["max_size", "max_latency", "max_memory", "max_drop"]), st.floats(1e-3, 1e4))
def test_what_is_said_to_be_enough_is_enough(name: str, shown: float) -> None:
    """The words read back as a limit allow the value, and hardly more."""
    unit = 1e6 if name in ("max_size", "max_memory") else 1.0
    words = verdict.enough(Limit(name=name, limit=0, value=None, met=False, margin=None), shown * unit)
    allowed = float(words.split()[0].replace(",", ""))
    assert shown <= allowed * (1 + 1e-9) and allowed <= shown + max(0.1, 0.12 * shown)


def test_a_model_that_failed_at_the_judged_length_misses_the_limit() -> None:
    quick = artefact("a.onnx", 100, cost=Cost(latencies=latencies(at16=1.0)))
    slow = artefact("b.onnx", 200, cost=Cost(latencies=latencies(at16=2.0, at64=9.0)))
    static = artefact("c-32.tflite", 300, length=32, cost=Cost(latencies=latencies(at32=4.0)))
    table = [TEACHER, quick, slow, static]
    assert [judging.latency(model, table) for model in table[1:]] == [None, 9.0, 4.0]
    assert judging.choose(Budget(max_latency=10), table, "accuracy", 32) == slow
    (limit,) = judging.limits(Budget(max_latency=10), quick, table, "accuracy")
    assert not limit.met and limit.value is None


def spec(**task: Any) -> Recipe:
    words = {"train": {"path": "train.tsv"}, "max_length": MAX_LENGTH} | task
    return parse({"name": "tiny", "task": words, "export": {"tflite": []}})


def test_cut_texts_are_told_of_the_training_rows_too() -> None:
    teach = {"truncated": {"dev": 0, "test": 2, "train": 30}, "rows": {"dev": 40, "test": 50}}
    results = {"teach": teach, "measure": {"failures": ["a.onnx: no"]}, "export": {"inferences": 2.5}}
    notes = assembly._notes(spec(), {"rows": {"train": 300, "dev": 40, "test": 50}}, results)
    assert notes == [
        "not measured: a.onnx: no",
        f"2 of 50 test texts were cut to {MAX_LENGTH} pieces",
        f"30 of 300 training texts were cut to {MAX_LENGTH} pieces",
        "latencies are of one inference; an answer takes 2.5 of them, the mean over dev",
        "the 40 dev rows were held out of the training rows",
    ]


def test_the_work_of_a_head_that_reads_every_piece_is_that_of_each(
    onnx_file: Path, teacher: Path, tmp_path: Path
) -> None:
    found: dict[str, Any] = {"parameters": 9, "scores": {"dev": {"f1": 0.9}}, "rows": {"dev": 5}, "truncated": {}}
    results = {"teach": found, "verify": {"models": [artefact("model.onnx", 5, score=0.9).model_dump()]}}
    results["verify"]["models"][0]["scores"] = found["scores"]
    for file in ("teacher/model.safetensors", "artefacts/model.onnx"):
        (tmp_path / file).parent.mkdir()
    shutil.copy(teacher / "model.safetensors", tmp_path / "teacher")
    shutil.copy(onnx_file, tmp_path / "artefacts")
    work = {}
    for kind in ("classification", "token_classification"):
        task = {"kind": kind, "metric": "f1", "rows": {"dev": 5}}
        run = assembly.assemble(spec(), task, results, [], {}, tmp_path)
        work[kind] = {share.part: share.macs or 0 for share in run.shares["model.onnx"]}
    one, whole = work.values()
    assert whole.pop("head") == inspection.LENGTH * one.pop("head") and whole == one


@pytest.fixture()
def run(onnx_file: Path, tmp_path: Path) -> Path:
    """A run's folder with the same file as teacher and student."""
    (tmp_path / "artefacts").mkdir()
    for name in ("teacher.onnx", "model.onnx"):
        shutil.copy(onnx_file, tmp_path / "artefacts" / name)
    return tmp_path


def measured(run: Path, teacher: Path, models: list[Model], lengths: list[int]) -> dict[str, Any]:
    encoder = Encoder(teacher / "tokenizer.json", MAX_LENGTH)
    rows = encoder.encode([(text, None) for text in SENTENCES])
    words = Measure(lengths=lengths, threads=[1], warmup=1, queries=2)
    return measurement.measure(words, models, rows, encoder.pad_id, run, lambda *_: None)


def test_measuring_goes_on_beside_what_cannot_be_measured(run: Path, teacher: Path) -> None:
    """The tiny model holds 64 pieces."""
    models = [artefact("model.onnx", 1), artefact("teacher.onnx", 1, of="teacher")]
    found = measured(run, teacher, models, [8, 128])
    assert set(found["costs"]) == {"model.onnx", "teacher.onnx"}
    for values in found["costs"].values():
        cost = Cost.model_validate(values)
        assert [one.length for one in cost.latencies] == [8] and cost.load_s and cost.peak_memory
        assert all(one.ratio for one in cost.latencies)
    assert len(found["failures"]) == 2 and not any("\n" in line for line in found["failures"])
    assert all("at length 128" in line for line in found["failures"])
    assert set(found["layer_times"]) == {"model.onnx", "teacher.onnx"}
    for parts in found["layer_times"].values():
        assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert set(found["layers"]) == {"model.onnx"} and found["layers"]["model.onnx"]["length"] == 8
    layers, size = found["layers"]["model.onnx"]["parts"], (run / "artefacts" / "model.onnx").stat().st_size
    assert sum(part["bytes"] for part in layers) == size > found["gzipped"]["model.onnx"] > size / 2
    assert sum(part["ms"] for part in layers) > 0 and {part["layer"] for part in layers} == {None, 1, 2}
    work = {one["macs"] for values in found["costs"].values() for one in values["latencies"]}
    assert len(work) == 1 and work.pop() > 0
    assert found["measured"].startswith("20")


@pytest.mark.parametrize("gone", ["rejected", "damaged", "missing"])
def test_without_the_teachers_file_there_are_no_ratios(run: Path, teacher: Path, gone: str) -> None:
    models = [artefact("teacher.onnx", 1, of="teacher"), artefact("model.onnx", 1)]
    if gone == "rejected":
        models[0].status = "rejected"
    elif gone == "damaged":
        (run / "artefacts" / "teacher.onnx").write_bytes(b"no model")
    else:
        del models[0]
    found = measured(run, teacher, models, [8])
    assert set(found["costs"]) == {"model.onnx"} == set(found["layer_times"])
    assert [one["ratio"] for one in found["costs"]["model.onnx"]["latencies"]] == [None]
    assert len(found["failures"]) == (gone == "damaged")


def test_where_nothing_passed_nothing_is_measured(run: Path, teacher: Path) -> None:
    rejected = artefact("model.onnx", 1, status="rejected")
    for models in ([], [rejected]):
        found = measured(run, teacher, models, [8])
        assert found["costs"] == {} and found["failures"] == [] and found["layer_times"] == {}
        assert found["machine"]["processor"] == machine.processor()


def test_what_the_profiler_cannot_run_is_one_line(onnx_file: Path, tmp_path: Path) -> None:
    import numpy as np

    arrays = {name: np.ones((1, 128), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    with pytest.raises(AttarError, match=r"model\.onnx: the profiler failed"):
        profile.profile(onnx_file, arrays)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(AttarError, match="profiler"):
        profile.profile(tmp_path / "bad.onnx", arrays)


def test_the_bundle_tells_the_cost_of_its_artefacts(run: Path, teacher: Path) -> None:
    """The choice is the default; what was rejected has no figures."""
    words = TaskCard(kind="classification", labels=LABELS)
    tiny = tiny_bundle(run / "tiny", teacher, {"model.onnx": run / "artefacts" / "model.onnx"})
    shutil.copy(run / "tiny" / "golden.jsonl", run / "artefacts" / "golden.jsonl")
    shutil.copytree(teacher, run / "student")
    cost = Cost(load_s=0.25, first_ms=2.5, peak_memory=1234, latencies=latencies(at16=1.5))
    chosen = artefact("model.onnx", 777, cost=cost)
    table = [TEACHER, chosen, artefact("model.ort", 5, status="rejected", reason="no")]
    card = {
        "file": "model.onnx",
        "runtime": "onnxruntime",
        "inputs": [one.model_dump() for one in tiny.artefacts[0].inputs],
    }
    more = (words, table), ([card], MAX_LENGTH, tiny.tokenizer.pad_id, {}, run, run / "student")
    package.pack("tiny", *more[0], chosen, *more[1], run / "bundle", "# a card\n")
    assert (run / "bundle" / "README.md").read_text("utf-8") == "# a card\n"
    assert "README.md" in manifest.load(run / "bundle").files
    figures = manifest.load(run / "bundle").figures
    assert set(figures) == {"teacher", "model.onnx"}
    assert figures["teacher"]["scores"] == TEACHER.scores
    assert figures["model.onnx"]["bytes"] == 777
    assert Cost.model_validate(figures["model.onnx"]) == cost
    other = chosen.model_copy(update={"name": "model.onnx in litert", "runtime": "litert"})
    more[1][0].append(card | {"runtime": "litert"})
    package.pack("tiny", words, [TEACHER, chosen, other], other, *more[1], run / "two")
    assert [one.runtime for one in manifest.load(run / "two").artefacts] == ["litert", "onnxruntime"]
    with pytest.raises(AttarError, match="reads 32 pieces"):
        package.pack("tiny", *more[0], None, *more[1], run / "other")
    with pytest.raises(AttarError, match="no artefact passed its checks"):
        package.pack("tiny", words, table[:1], None, *more[1], run / "other")


def tried(folder: Path) -> tuple[str, list[str]]:
    """The line to paste, as it is shown, and its words as a shell reads them."""
    from rich.text import Text

    (line,) = [Text.from_markup(part).plain for part in outcome.run(sample(), folder) if str(part).startswith("try")]
    return line, shlex.split(line)[1:]


def test_the_line_to_try_works_for_single_texts(bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a run; with $HOME and 'quotes' [b]"
    shutil.copytree(bundle_folder, folder / "bundle")
    line, words = tried(folder)
    assert words == ["attar", "predict", str(folder / "bundle"), SENTENCES[0]] and "\n" not in line
    assert cli.main(words[1:]) == 0


@pytest.mark.parametrize("texts", [('it\'s "on" [b] $HOME', "and `this` too"), ("-5 degrees", "--json")])
def test_the_line_to_try_works_for_pairs(
    onnx_file: Path, teacher: Path, tmp_path: Path, texts: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    task = TaskCard(kind="classification", pair=True, labels=LABELS)
    tiny_bundle(tmp_path / "bundle", teacher, {"model.onnx": onnx_file}, task)
    golden = tmp_path / "bundle" / "golden.jsonl"
    line = json.loads(golden.read_text("utf-8").split("\n")[0]) | {"text": texts[0], "text_pair": texts[1]}
    golden.write_text(json.dumps(line) + "\n", "utf-8")
    _, words = tried(tmp_path)
    assert cli.main([*words[1:2], "--json", *words[2:]]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["text"], answer["text_pair"]) == texts


def test_a_plain_example_is_preferred(bundle_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    golden = tmp_path / "bundle" / "golden.jsonl"
    lines = golden.read_text("utf-8").split("\n")
    lines[0] = json.dumps(json.loads(lines[0]) | {"text": "two\nlines of :smile:"})
    golden.write_text("\n".join(lines), "utf-8")
    assert tried(tmp_path)[1][-1] == SENTENCES[1]


def test_notes_are_shown(bundle_folder: Path) -> None:
    found = sample()
    found.notes = ["3 of 4 dev texts were cut to 16 pieces", "an [b]odd[/b] note"]
    shown = [str(part) for part in outcome.run(found, bundle_folder.parent)]
    assert "[dim]3 of 4 dev texts were cut to 16 pieces[/]" in shown
    assert r"[dim]an \[b]odd\[/b] note[/]" in shown

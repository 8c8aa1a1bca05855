"""Measuring: who takes part, in which order, and what the figures mean. No time is asserted."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.stats
from attar import files
from attar.benchmarks import compare, cost, effort, floor, latency, machine, macs, throughput
from attar.benchmarks.conditions import Conditions, Watch
from attar.benchmarks.intervals import half_width, interval
from attar.benchmarks.latency import OWN, Contender
from attar.benchmarks.protocol import Protocol, quick
from attar.benchmarks.targets.host import Here
from attar.benchmarks.worker import Worker
from attar.demo import measured
from attar.errors import AttarError, UsageError
from attar.export import runtimes
from attar.tasks.encoding import Encoder, Features
from conftest import SENTENCES


def rows(teacher: Path, pairs: bool = False) -> list[Features]:
    encoder = Encoder(teacher / "tokenizer.json", 32)
    return encoder.encode([(text, text if pairs else None) for text in SENTENCES])


@pytest.fixture()
def queries(teacher: Path) -> dict[int, list[latency.Arrays]]:
    return {n: latency.fill(rows(teacher), 0, n, count=3) for n in (8, 16)}


@pytest.mark.parametrize("length", [1, 2, 8, 32, 60])
def test_inputs_are_real_sequences_that_fill_the_length(teacher: Path, length: int) -> None:
    for pairs in (False, True):
        given = rows(teacher, pairs)
        found = latency.fill(given, 0, length)
        assert len(found) == len(SENTENCES)
        for arrays, row in zip(found, given, strict=True):
            assert arrays["input_ids"].shape == (1, length) and arrays["attention_mask"].all()
            start = min(length - 1, len(row.input_ids))
            assert arrays["input_ids"][0, :start].tolist() == row.input_ids[:start]
            assert arrays["token_type_ids"][0, :start].tolist() == row.token_type_ids[:start]
            if length > 1:
                assert arrays["input_ids"][0, -1] == row.input_ids[-1]  # [SEP] ends them all
    assert latency.fill([], 0, length) == []


def test_every_model_is_measured_at_every_length_it_can_run(
    onnx_file: Path, ort_file: Path, queries: dict[int, list[latency.Arrays]]
) -> None:
    models = [
        Contender("a", onnx_file, "onnxruntime"),
        Contender("b", ort_file, "onnxruntime"),
        Contender("only 8", onnx_file, "onnxruntime", length=8),
    ]
    moves: list[tuple[str, int, int]] = []
    found = latency.measure(models, queries, [1, 2], quick(5, 2), lambda *move: moves.append(move))
    for name in ("a", "b"):
        assert [(one.length, one.threads) for one in found[name]] == [(8, 1), (8, 2), (16, 1), (16, 2)]
    assert [(one.length, one.threads) for one in found["only 8"]] == [(8, 1), (8, 2)]
    for one in (one for several in found.values() for one in several):
        assert one.queries == 5
        assert 0 < one.min_ms <= one.p50_ms <= one.p90_ms <= one.p99_ms
        assert one.min_ms <= one.mean_ms and one.ratio is not None and one.ratio > 0
    assert all(one.ratio == 1.0 for one in found["a"])
    assert [done for _, done, _ in moves] == list(range(1, 4 * 7 + 1)) and moves[-1][2] == 4 * 7


def test_a_model_that_fails_is_reported_and_the_others_go_on(
    onnx_file: Path, tmp_path: Path, queries: dict[int, list[latency.Arrays]]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    bad = Contender("bad", tmp_path / "bad.onnx", "onnxruntime")
    good = Contender("good", onnx_file, "onnxruntime")
    problems: list[str] = []
    found = latency.measure([bad, good], queries, [1], quick(3, 1), on_failure=problems.append)
    assert found["bad"] == [] and [one.length for one in found["good"]] == [8, 16]
    assert all(one.ratio is None for one in found["good"])  # the reference is gone
    assert len(problems) == 1 and problems[0].startswith("bad: ") and "\n" not in problems[0]
    with pytest.raises(AttarError):
        latency.measure([good, bad], queries, [1], quick(3, 1))


def test_two_models_need_two_names(onnx_file: Path, queries: dict[int, list[latency.Arrays]]) -> None:
    with pytest.raises(AttarError, match="same name"):
        latency.measure([Contender("a", onnx_file, "onnxruntime")] * 2, queries, [1], quick(1, 1))


def test_the_order_of_a_round_turns() -> None:
    names = ["a", "b", "c"]
    orders = [latency._rotated(names, turn) for turn in range(6)]
    assert orders[:3] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] and orders[3:] == orders[:3]
    assert latency._rotated([], 4) == []


def test_the_ratio_is_taken_round_by_round() -> None:
    """The machine slows down tenfold half-way; the medians would say nonsense, the rounds say 2."""
    own = [1_000_000] * 5 + [10_000_000] * 6
    reference = [2 * time for time in own]
    one = latency._latency(16, 1, [own], [reference], [0.0])
    assert one.ratio == 2.0 and one.min_ms == 1.0 and one.p50_ms == 10.0
    assert one.mean_ms == pytest.approx(np.mean(own) / 1e6)


def test_sessions_are_processes_of_their_own_and_give_intervals(
    onnx_file: Path, queries: dict[int, list[latency.Arrays]]
) -> None:
    models = [Contender("a", onnx_file, "onnxruntime"), Contender("b", onnx_file, "onnxruntime")]
    ends: list[None] = []
    plan = Protocol(queries=10, seconds=0, sessions=4, warmup=1)
    found = latency.measure(models, {8: queries[8]}, [1], plan, between=lambda: ends.append(None))
    one, other = found["b"][0], found["a"][0]
    assert len(ends) == one.sessions == 4
    assert one.queries == other.queries == 12  # three a session
    assert one.ratio is not None and one.ratio_interval and one.ratio_interval[0] <= one.ratio <= one.ratio_interval[1]
    assert other.ratio_interval == (1.0, 1.0) and one.p50_interval is not None


@pytest.mark.parametrize("count", [3, 4, 9, 16])
def test_an_interval_is_students(count: int) -> None:
    values = np.exp(np.random.default_rng(count).normal(size=count))
    logs = np.log(values)
    low, high = scipy.stats.t.interval(0.95, count - 1, logs.mean(), scipy.stats.sem(logs))
    found = interval(list(values))
    assert found == pytest.approx((np.exp(low), np.exp(high)), rel=1e-3)
    assert half_width(found) == pytest.approx(np.exp((high - low) / 2) - 1, rel=1e-3)
    assert interval([1.0, 2.0]) is None and half_width(None) == 0


def test_texts_are_run_at_their_own_lengths(bundle_folder: Path) -> None:
    (model,) = compare.contenders([bundle_folder], [OWN])
    texts = compare.sequences(bundle_folder)
    assert model.queries is not None
    assert [one["input_ids"].shape for one in model.queries[OWN]] == [(1, len(row.input_ids)) for row in texts[:32]]
    assert [one["input_ids"].shape for one in latency.unfilled(texts[:2], 0, 48)] == [(1, 48)] * 2
    (one,) = latency.measure([model], {OWN: []}, [1], quick(2, 1))[model.name]
    assert one.pieces == pytest.approx(np.mean([len(row.input_ids) for row in texts[:32]]))


def test_throughput_counts_every_text_once(bundle_folder: Path) -> None:
    models = compare.contenders([bundle_folder], [8], every=True)
    queues = compare.waiting([bundle_folder], models)
    assert [queue.name for queue in queues] == [model.name for model in models]
    batches = queues[0].batches(3)
    assert sum(int(one["attention_mask"].sum()) for one in batches) == sum(
        len(row.input_ids) for row in queues[0].sequences
    )
    assert {len(one["input_ids"]) for one in batches[:-1]} == {3}
    problems: list[str] = []
    found = throughput.measure(queues, [1], 0, lambda *move: None, problems.append, sizes=[2])
    assert not problems and [(x.batch, x.threads) for x in found[models[0].name]] == [(2, 1)]
    broken = dataclasses.replace(queues[0], name="broken", path=bundle_folder / "manifest.json")
    found = throughput.measure([broken, queues[1]], [1], 0, lambda *move: None, problems.append, sizes=[2, 4])
    assert found["broken"] == [] and len(found[queues[1].name]) == 2 and problems[0].startswith("broken: in batches")


def test_what_others_do_is_seen_and_told() -> None:
    assert Conditions(others=0.1, drift=1.05).problems() == Conditions().problems() == []
    assert len(Conditions(others=1.2, drift=1.5).problems()) == 2
    watch = Watch()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.5)
        seen = watch.conditions()  # the child has not ended, so it counts as somebody else's
    finally:
        busy.kill()
        busy.wait()
    assert seen.drift is not None and seen.drift >= 1
    assert seen.others is None or seen.others > 0.05


def test_a_length_that_fails_takes_no_other_along(onnx_file: Path, queries: dict[int, list[latency.Arrays]]) -> None:
    broken = {8: queries[8], 16: [{name: rows[:, :0] for name, rows in one.items()} for one in queries[16]]}
    models = [Contender("a", onnx_file, "onnxruntime", queries=broken), Contender("b", onnx_file, "onnxruntime")]
    lines: list[str] = []
    found = latency.measure(models, queries, [1], Protocol(4, 0, 2, 1), on_failure=lines.append)
    assert [one.length for one in found["a"]] == [8] and [one.length for one in found["b"]] == [8, 16]
    assert found["b"][0].ratio is not None and found["b"][1].ratio is None
    assert len(lines) == 1 and lines[0].startswith("a: at length 16: ")


def test_texts_that_a_static_file_cannot_read_are_left_out(bundle_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "short"))
    longest = max(len(row.input_ids) for row in compare.sequences(copy))
    words = json.loads((copy / "manifest.json").read_text("utf-8"))
    words["artefacts"][0]["length"] = longest - 1
    (copy / "manifest.json").write_text(json.dumps(words), "utf-8")
    static, free = compare.contenders([copy], every=True)
    assert static.queries is not None and free.queries is not None
    texts = [row.input_ids for row in compare.sequences(copy) if len(row.input_ids) < longest]
    own = [[one["input_ids"][0].tolist() for one in model.queries[OWN]] for model in (static, free)]  # type: ignore[index]
    assert own[1] == texts[:32]  # a round runs one text on every model
    assert [row[: len(text)] for row, text in zip(own[0], texts, strict=False)] == texts[:32]
    short, whole = compare.waiting([copy], [static, free])
    assert len(short.sequences) < len(whole.sequences) and short.batches(1)


def test_what_was_timed_is_kept_where_the_floor_cannot_be(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(threads: object) -> None:
        raise AttarError("onnxruntime is not installed")

    monkeypatch.setattr(floor, "measure", fails)
    models = compare.contenders([bundle_folder], [8])
    found = compare.compare(models, [1], quick(2, 1), on_failure=lambda line: None, with_floor=True)
    assert found.costs[models[0].name].latencies and found.problems == ["onnxruntime is not installed"]


def test_half_a_line_is_a_worker_that_is_gone(onnx_file: Path) -> None:
    class Cut(Here):
        def command(self) -> list[str]:
            return [sys.executable, "-c", "print('{\"value\": 1', end='')"]

    with Worker(onnx_file, "onnxruntime", Cut()) as worker, pytest.raises(AttarError, match="ended with code 0"):
        worker.load(1)


def test_a_worker_runs_the_inputs_it_keeps(onnx_file: Path, queries: dict[int, list[latency.Arrays]]) -> None:
    with Worker(onnx_file, "onnxruntime") as worker:
        worker.load(threads=1)
        worker.keep(queries[8])
        assert worker.time(7) > 0
        worker.keep([{"input_ids": np.zeros((1, 8), np.int64)}])
        with pytest.raises(AttarError, match="attention_mask"):
            worker.time(0)


def test_a_worker_that_dies_leaves_its_last_words(onnx_file: Path) -> None:
    with Worker(onnx_file, "onnxruntime") as worker:
        worker.load(threads=1)
        os.kill(worker._child.pid, signal.SIGABRT)
        with pytest.raises(AttarError, match=r"model\.onnx: onnxruntime was killed by SIGABRT"):
            worker.time(0)
    assert worker._child.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cost_counts_the_models_memory_and_not_the_librarys(
    tmp_path: Path, onnx_file: Path, queries: dict[int, list[latency.Arrays]]
) -> None:
    from attar.export.onnx import export_fp32
    from conftest import tiny_teacher

    export_fp32(tiny_teacher(tmp_path / "large", hidden=512), tmp_path / "large.onnx")
    small = cost.measure(onnx_file, "onnxruntime", queries[8][0], repeats=1)
    large = cost.measure(tmp_path / "large.onnx", "onnxruntime", queries[8][0], repeats=1)
    weights = (tmp_path / "large.onnx").stat().st_size
    assert weights > 15e6
    for found in (small, large):
        assert found.load_s is not None and found.load_s > 0 and found.first_ms is not None and found.first_ms > 0
    assert small.peak_memory is not None and large.peak_memory is not None
    assert 0 < small.peak_memory < 60e6
    assert weights < large.peak_memory < 6 * weights


def test_bundles_get_short_names_that_differ(bundle_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle_folder, tmp_path / "other" / "bundle"))
    names = [one.name for one in compare.contenders([bundle_folder, other])]
    assert names == ["tiny/model.onnx", "other/model.onnx"]
    names = [one.name for one in compare.contenders([bundle_folder], every=True)]
    assert names == ["model.onnx", "model.ort"]
    with pytest.raises(UsageError, match="twice"):
        compare.contenders([bundle_folder, bundle_folder])
    with pytest.raises(UsageError, match="reads no 64 pieces"):
        compare.contenders([bundle_folder], [64])


def test_a_bundle_that_cannot_take_part_takes_no_other_along(bundle_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle_folder, tmp_path / "long"))
    words = json.loads((other / "manifest.json").read_text("utf-8"))
    words["tokenizer"]["max_length"] = 64
    (other / "manifest.json").write_text(json.dumps(words), "utf-8")
    problems: list[str] = []
    models = compare.contenders([bundle_folder, other, tmp_path], [16, 64], failed=problems.append)
    assert [model.name for model in models] == ["long/model.onnx"] and sorted(models[0].queries or {}) == [16, 64]
    assert len(problems) == 2 and "reads no 64 pieces" in problems[0] and "manifest.json" in problems[1]
    with pytest.raises(UsageError, match="reads no 64 pieces"):
        compare.contenders([bundle_folder, other], [64])


def test_a_static_file_of_another_length_is_told(bundle_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "static"))
    words = json.loads((copy / "manifest.json").read_text("utf-8"))
    words["artefacts"][0]["length"] = 32
    (copy / "manifest.json").write_text(json.dumps(words), "utf-8")
    models = compare.contenders([copy], [8], every=True)
    assert compare.unrun(models, [8]) == ["model.onnx reads 32 pieces and is not run at 8"]
    assert list(compare.compare(models, [1], quick(2, 1)).costs) == ["model.ort"]
    nothing = dataclasses.replace(models[1], queries={})
    assert not nothing.able(8, {8: []})  # its own inputs are none: those of others are not its


def test_a_file_of_two_runtimes_takes_part_once_or_under_two_names(bundle_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "two"))
    words = json.loads((copy / "manifest.json").read_text("utf-8"))
    first = words["artefacts"][0]
    words["artefacts"].append(first | {"runtime": "litert"})
    (copy / "manifest.json").write_text(json.dumps(words), "utf-8")
    assert [(one.name, one.runtime) for one in compare.contenders([copy])] == [("model.onnx", "onnxruntime")]
    every = compare.contenders([copy], [8], every=True)
    assert [one.name for one in every] == ["model.onnx in onnxruntime", "model.ort", "model.onnx in litert"]
    problems: list[str] = []
    found = compare.compare(every, [1], quick(2, 1), on_failure=problems.append).costs
    assert list(found) == ["model.onnx in onnxruntime", "model.ort"]
    assert len(problems) == 1 and problems[0].startswith("model.onnx in litert: at length 8: ")


def test_a_static_artefact_takes_part_at_its_own_length(bundle_folder: Path, tmp_path: Path) -> None:
    """The lengths of a bundle whose default is a static file; 48 is neither usual nor its `max_length`."""
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "static"))
    words = json.loads((copy / "manifest.json").read_text("utf-8"))
    words["artefacts"][0]["length"] = 48
    (copy / "manifest.json").write_text(json.dumps(words), "utf-8")
    static, free = compare.contenders([copy], every=True)
    found = compare.compare([static, free], [1], quick(2, 1)).costs
    assert [one.length for one in found[static.name].latencies] == [0, 48]
    assert [one.length for one in found[free.name].latencies] == [0, 16, 32]  # max_length
    assert found[static.name].peak_memory and not any(x.ratio for x in found[free.name].latencies if x.length)


def test_without_a_reference_there_are_no_ratios(onnx_file: Path, queries: dict[int, list[latency.Arrays]]) -> None:
    models = [Contender("a", onnx_file, "onnxruntime"), Contender("b", onnx_file, "onnxruntime")]
    found = latency.measure(models, queries, [1], quick(2, 1), reference=False)
    assert [one.ratio for several in found.values() for one in several] == [None] * 4
    assert latency.measure([], queries, [1], quick(2, 1)) == {}


def test_the_machine_is_described_without_its_owner() -> None:
    import getpass
    import platform

    found = machine.describe()
    assert found["cores"] >= 1 and found["memory"] > 1e8 and found["processor"]
    assert found["versions"]["onnxruntime"] and found["python"] == platform.python_version()
    assert set(found["features"]) <= set(machine.FEATURES)
    words = str(found)
    assert platform.node() not in words and str(Path.home()) not in words
    assert getpass.getuser() not in words.split()


def test_a_processor_is_told_from_another_of_its_name_by_its_features() -> None:
    assert machine.said({"processor": "AMD EPYC", "features": ["avx2", "bf16"]}) == "AMD EPYC (avx2 bf16)"
    assert machine.said({"processor": "AMD EPYC"}) == "AMD EPYC" and machine.said({}) == ""


def test_weights_that_no_cache_holds_are_read_from_memory(onnx_file: Path) -> None:
    peak = floor.Floor(fp32={1: 1e9, 2: 2e9}, int8={1: 4e9}, bandwidth=1e9, bandwidths={1: 1e9, 2: 1.5e9}, cache=10**6)
    assert peak.least_ms(10**6, "fp32", 1, weights=10**6) == pytest.approx(1.0)  # the cache holds them
    assert peak.least_ms(10**6, "fp32", 1, weights=4 * 10**6) == pytest.approx(3.0)
    assert peak.least_ms(10**6, "fp32", 2, weights=4 * 10**6) == pytest.approx(2.0)
    unknown = peak.model_copy(update={"cache": None})
    assert unknown.least_ms(10**6, "fp32", 1, weights=10**9) == pytest.approx(1.0)
    products = [w for w in onnx.load(onnx_file).graph.initializer if len(w.dims) == 2 and "embeddings" not in w.name]
    assert macs.weights(onnx_file) == sum(4 * math.prod(w.dims) for w in products)


def test_a_floor_is_the_work_at_the_peak(bundle_folder: Path, tmp_path: Path) -> None:
    models = compare.contenders([bundle_folder], [OWN, 8])
    queues = compare.waiting([bundle_folder], models)
    found = compare.compare(models, [1], quick(2, 1), queues=queues, with_floor=True)
    assert found.floor is not None and found.floor.bandwidth > 1e8
    assert 1e8 < found.floor.fp32[1] < 1e13 and found.floor.int8[1] > 1e8
    for one in found.costs[models[0].name].latencies:
        length = one.length or round(one.pieces or 0)
        assert one.macs == sum(macs.count(models[0].path, length).values())
        assert one.floor_ms == pytest.approx(1e3 * one.macs / found.floor.fp32[1])  # the cache holds the weights
        assert one.weights == macs.weights(models[0].path)
    assert compare.document(models, found)["floor"]["fp32"][1] == found.floor.fp32[1]
    files.write_json(tmp_path / "bench.json", compare.document(models, found))
    (site,) = measured.sites(tmp_path / "bench.json")
    assert (site.target, site.reference, site.models[0].cost) == ("local", models[0].name, found.costs[models[0].name])
    work, rates = effort.tables([site])  # as a report shows it
    for row, one in zip(work.rows, found.costs[models[0].name].latencies, strict=True):
        assert one.floor_ms and row.cells[-1].text == f"{100 * one.floor_ms / one.p50_ms:.0f}"
        assert row.cells[4].path.startswith("bench.json (read as a bench): targets[0].models[0].cost.latencies[")
    assert len(rates.rows) == 1 and len(rates.columns) == 2 + len(throughput.BATCHES)
    (tmp_path / "bench.json").write_text('{"format": "attar-comparison/1", "models": 7}', "utf-8")
    with pytest.raises(AttarError, match=r"bench\.json: not a comparison of models"):
        measured.sites(tmp_path / "bench.json")


def test_products_of_the_peak_are_right(tmp_path: Path) -> None:
    """Eight bits against float32 on the same product: what is timed is what it says."""
    # 7 bits: of two products of 8, processors without VNNI add no more than 16 bits hold
    rows = np.arange(floor.ROWS * floor.INNER).reshape(floor.ROWS, floor.INNER) % 127
    draw = np.random.default_rng(0)
    weight = draw.integers(-128, 128, (floor.INNER, floor.COLUMNS)).astype(np.int8)
    (tmp_path / "peak.onnx").write_bytes(floor._product(floor.UINT8))
    runner = runtimes.open_model(tmp_path / "peak.onnx", "onnxruntime", 1)
    assert float(runner.run({"x": rows})) == float((rows.astype(np.float64) @ weight.astype(np.float64)).max())

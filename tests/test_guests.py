"""Models beside a bundle's own: a PyTorch folder, eager and compiled, and one that another interpreter runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import small_bundles
import torch
from attar.benchmarks import compare, guests, outputs, places, target_tables, terminal
from attar.benchmarks.cells import DASH
from attar.benchmarks.latency import OWN, Contender
from attar.benchmarks.peers.environments import Inside
from attar.benchmarks.record import Outputs, Placed, Site
from attar.benchmarks.targets.arm import PACKAGE
from attar.benchmarks.worker import Worker
from attar.cli import main
from attar.errors import AttarError, UsageError
from attar.export import golden, parity
from attar.export.pytorch import head_of
from attar.export.runtimes import open_model, unpadded
from attar.files import read_json, write_json
from attar.tasks.encoding import Encoder, collate
from conftest import SENTENCES, tiny_teacher
from helpers import made_once


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A runner sets the number of threads of its whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture()
def bundle(bundle_folder: Path, teacher: Path, tmp_path: Path) -> Path:
    """The bundle of the tiny teacher with its configuration, by which its folder is known."""
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "tiny" / "bundle"))
    shutil.copy(teacher / "config.json", copy)
    return copy


@pytest.mark.parametrize("name", [name for name in small_bundles.CARDS if name != "both orders"])
def test_a_folder_gives_the_golden_logits_of_every_head(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = made_once(tmp_path_factory, "small_bundles", small_bundles.make_all) / name
    assert head_of(place / "model") == small_bundles.card(name).head
    runner = open_model(place / "model" / "model.safetensors", "torch")
    for row in golden.read(place / "bundle" / "golden.jsonl", golden.Golden):
        for one in row.sequences:
            found = unpadded(runner.run(collate([one.features], 0)), len(one.input_ids))
            np.testing.assert_allclose(found, one.answer, atol=1e-4)


def test_a_batch_is_answered_as_its_rows_are(teacher: Path) -> None:
    runner = open_model(teacher / "model.safetensors", "torch")
    rows = Encoder(teacher / "tokenizer.json", 32).encode([(text, None) for text in SENTENCES])
    batch = runner.run(collate(rows, 0))
    assert batch.dtype == np.float32 and runner.length is None
    np.testing.assert_allclose(batch, np.concatenate([runner.run(collate([row], 0)) for row in rows]), atol=1e-5)
    arrays = collate(rows, 0)
    del arrays["token_type_ids"]
    with pytest.raises(AttarError, match="needs the input token_type_ids"):
        runner.run(arrays)


def test_only_the_bundles_own_model_is_held_to_the_golden_answers(bundle: Path, teacher: Path, tmp_path: Path) -> None:
    other = tiny_teacher(tmp_path / "other", layers=1)
    found = guests.folders([teacher, other], bundle)
    assert [one.name for one in found] == [f"{teacher.name} in {name}" for name in guests.TORCH] + [
        f"other in {name}" for name in guests.TORCH
    ]
    assert [one.tolerance for one in found] == [parity.FP32_TOLERANCE] * 2 + [None] * 2
    shown = Outputs(scores={"accuracy": 0.5}, rows=2)
    placed = Placed(name="other", runtime="torch", bytes=1, outputs=shown)
    terminal.show(target_tables.answered([placed], "answers"))
    assert shown.right is None
    site = Site(target="local", measures="time", models=[placed])
    (row,) = places.answers([site]).rows
    assert [cell.text for cell in row.cells[2:6]] == [DASH, DASH, DASH, "50.00"]


def test_a_guest_reads_texts_in_its_own_pieces(bundle: Path, tmp_path: Path) -> None:
    own = json.loads((bundle / "tokenizer.json").read_text("utf-8"))
    pieces = own["model"]["vocab"]
    own["model"]["vocab"] = {piece: number for piece, number in pieces.items() if number < 40}
    (tmp_path / "tokenizer.json").write_text(json.dumps(own), "utf-8")
    models = compare.contenders([bundle], [OWN])
    guest = Contender("guest", bundle / "model.onnx", "onnxruntime", tokenizer=tmp_path / "tokenizer.json")
    found = guests.seated(guest, bundle, models)
    assert found.queries and models[0].queries
    assert max(one["input_ids"].max() for one in found.queries[OWN]) < 40
    assert max(one["input_ids"].max() for one in models[0].queries[OWN]) >= 40


def test_a_worker_holds_the_students_folder_to_the_golden_answers(bundle: Path, teacher: Path) -> None:
    eager, _ = guests.folders([teacher], bundle)
    found = outputs.measure(guests.seated(eager, bundle, compare.contenders([bundle], [8])))
    assert found.right and found.golden_agreement == 1.0


def test_the_command_keeps_the_rows_where_nothing_compiles(
    bundle: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guests, "TORCH", ("torch-compiled",))  # eager takes its time to load torch, six times
    monkeypatch.setenv("CXX", "no-such-compiler")
    words = ["bench", str(bundle), "--torch", str(teacher), "--quick", "--queries", "2", "--length", "8", "--json"]
    assert main(words) == 1
    said = capsys.readouterr()
    site = json.loads(said.out)["targets"][0]
    assert site["machine"]["versions"]["torch"] == metadata.version("torch")
    assert [one["name"] for one in site["models"]] == ["model.onnx"]
    assert f"{teacher.name} in torch-compiled" in said.err and "needs the C++ compiler no-such-compiler" in said.err


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_compiled_it_answers_the_same(tmp_path: Path) -> None:
    folder = tiny_teacher(tmp_path / "model", layers=1)
    (row,) = Encoder(folder / "tokenizer.json", 32).encode([(SENTENCES[0], None)])
    eager, compiled = (open_model(folder / "model.safetensors", name) for name in guests.TORCH)
    np.testing.assert_allclose(compiled.run(collate([row], 0)), eager.run(collate([row], 0)), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--torch", "FOLDER", "--target", "arm:cortex-a76"], "target local alone"),
        (["--torch", "FOLDER", "--floor"], "--floor is of bundles"),
        (["--torch", "BUNDLE"], "has no model.safetensors"),
        (["--torch", "FOLDER", "--torch", "FOLDER"], "a folder is named twice"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    words: list[str], said: str, bundle: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [{"FOLDER": str(teacher), "BUNDLE": str(bundle)}.get(word, word) for word in words]
    assert main(["bench", str(bundle), *named]) == 2
    assert said in capsys.readouterr().err


def test_an_architecture_without_a_head_is_named(teacher: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", read_json(teacher / "config.json") | {"architectures": ["BertForMaskedLM"]})
    with pytest.raises(AttarError, match="BertForMaskedLM is not timed"):
        head_of(tmp_path)


def test_another_interpreter_runs_the_worker_with_the_light_files(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "light").mkdir()
    (tmp_path / "light" / "attar").symlink_to(PACKAGE)
    host = Inside(Path(sys.executable), tmp_path / "light")
    guest = guests.of_bundle(Contender("guest", bundle / "model.onnx", "onnxruntime", host=host), bundle)
    found = guests.seated(guest, bundle, compare.contenders([bundle], [8]))
    assert found.tolerance == parity.FP32_TOLERANCE and outputs.measure(found).right
    with Worker(found.path, "openvino", host) as worker, pytest.raises(AttarError, match="openvino does not load"):
        worker.load(1)
    with Worker(found.path, "executorch", host) as worker, pytest.raises(AttarError, match="executorch does not load"):
        worker.load(1)


def test_openvinos_weights_count_with_its_graph(tmp_path: Path) -> None:
    for name in ("a.xml", "a.bin", "b.xml"):
        (tmp_path / name).write_bytes(b"1")
    assert [len(guests.files(Contender("a", tmp_path / f"{name}.xml", "openvino"))) for name in "ab"] == [2, 1]


def test_a_folder_that_no_directory_is_names_the_file(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"no model\.safetensors"):
        guests.folders([tmp_path / "nowhere"], bundle)

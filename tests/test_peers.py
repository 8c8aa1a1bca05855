"""Programs side by side: the same teacher and student for all, the same losses, a row that says why where one fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from attar import results
from attar.benchmarks.peers import distillation, environments
from attar.benchmarks.peers.distillation import __main__ as command
from attar.benchmarks.peers.distillation import plain, record, table, work
from attar.benchmarks.peers.distillation.record import Comparison, Contender, Phase, Point
from attar.cli import main
from attar.compress import losses
from attar.errors import AttarError
from attar.files import write_json
from conftest import LABELS, SENTENCES, tiny_teacher
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a teacher, and a recipe for a narrower student."""
    folder = tmp_path_factory.mktemp("peers")
    tiny_teacher(folder / "model")
    lines = [f"{LABELS[n % 3]}\t{SENTENCES[n % 8]} {LABELS[n % 3]}" for n in range(48)]
    (folder / "rows.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n", "utf-8")
    path = {"path": str(folder / "rows.tsv")}
    plan = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3}
    values = {
        "name": "tiny",
        "threads": 1,
        "task": {"train": path, "dev": path, "max_length": 32},
        "teacher": {"model": str(folder / "model"), "training": plan | {"epochs": 8}},
        "student": {"kind": "tinybert", "layers": 1, "hidden_size": 16, "heads": 4, "intermediate_size": 32},
        "distil": {"intermediate": plan, "prediction": plan | {"evaluations": 2}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values), "utf-8")
    assert main(["teach", str(folder / "tiny.yaml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """All contenders on the small run, but TextBrewer."""

    def lost(name: str) -> Path:
        raise AttarError(f"{name} does not install: there is no network")

    out = tmp_path_factory.mktemp("out") / "peers.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environments, "python", lost)
        assert command.main([str(run), "--rows", "40", "--threads", "1", "--out", str(out)]) == 0
    return record.load(out)


def test_each_takes_the_same_steps_and_learns(found: Comparison) -> None:
    ours, plain_loop, *brewers = found.contenders
    assert found.rows == {"train": 40, "dev": 48}
    for one in (ours, plain_loop):
        assert [(phase.phase, phase.examples) for phase in one.phases] == [("intermediate", 80), ("prediction", 80)]
        assert len(one.phases[1].points) == 4 and one.best > 0.5  # of three labels
    assert [one.name for one in brewers] == ["TextBrewer", "TextBrewer, short batches"]
    assert all(one.problem == "textbrewer does not install: there is no network" for one in brewers)


def test_the_table_has_a_row_for_each_and_says_why(found: Comparison) -> None:
    made = table.table(found)
    assert [row.cells[0].text for row in made.rows] == [one.name for one in found.contenders]
    assert made.rows[0].cells[6].text == "1.00×" and "textbrewer" in made.rows[2].remark


def test_the_comparison_stands_on_the_results_page(found: Comparison, tmp_path: Path) -> None:
    write_json(tmp_path / "peers" / "distillation.json", found.model_dump(mode="json"))
    assert results.main(["--docs", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "## Distilling programs side by side" in text and found.command in text
    assert "there is no network" in text and "[peers/](peers/)" in text


def test_time_to_an_accuracy_holds_all_that_came_before() -> None:
    points = [Point(seconds=4, accuracy=0.5), Point(seconds=8, accuracy=0.8)]
    phases = [
        Phase(phase="intermediate", examples=100, seconds=10),
        Phase(phase="prediction", examples=100, seconds=9, points=points),
    ]
    one = Contender(name="a", about="", overhead=1, phases=phases)
    assert (one.until(0.4), one.until(0.6), one.until(0.9)) == (15, 19, None)
    assert one.seconds == 20 and one.rate == 10 and one.best == 0.8


def test_the_loop_has_our_losses() -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(3, 7)
    mask[1, 4:] = 0
    student, teacher = (torch.randn(3, 7, 8, generator=generator) for _ in range(2))
    assert torch.allclose(plain.hidden_error(student, teacher, mask), losses.hidden_error(student, teacher, mask))
    student, teacher = (torch.randn(3, 4, 7, 7, generator=generator) for _ in range(2))
    assert torch.allclose(plain.attention_error(student, teacher, mask), losses.attention_error(student, teacher, mask))


def test_the_work_folder_needs_no_attar(run: Path, tmp_path: Path) -> None:
    plan = work.prepare(run, 40, 1, tmp_path)
    assert plan["layers"] == [2] and plan["prediction"]["evaluations"] == 4
    with np.load(tmp_path / "train.npz") as kept:
        assert kept["lengths"].sum() == len(kept["ids"]) == len(kept["types"]) and len(kept["labels"]) == 40
    for name in ("teacher", "student"):
        assert (tmp_path / name / "model.safetensors").is_file()
    assert json.loads((tmp_path / "plan.json").read_text())["rows"] == {"train": 40, "dev": 48}
    package = Path(distillation.__file__).parent
    assert all("import attar" not in (package / f"{name}.py").read_text() for name in ("shared", "plain", "brewer"))


@pytest.mark.parametrize("start", ["teacher", "activations"])
def test_all_begin_with_the_student_that_the_command_begins_with(run: Path, tmp_path: Path, start: str) -> None:
    values = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    values["student"]["start"] = start
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), "utf-8")
    (tmp_path / "teacher").symlink_to(run / "teacher")
    (work_folder := tmp_path / "work").mkdir()
    work.prepare(tmp_path, 40, 1, work_folder)
    nothing = ["--set", "distil.intermediate=null", "--set", "distil.prediction.epochs=0"]
    ours = tmp_path / "ours"
    assert main(["distil", str(work_folder / "recipe.yaml"), *nothing, "--out", str(ours), "--quiet"]) == 0
    found, wanted = (load_file(place / "student" / "model.safetensors") for place in (work_folder, ours))
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in found)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("distil.prediction.hard=1", "on soft answers alone"),
        ("distil.intermediate.hidden=2", "each of weight 1"),
        ("student.kind=distilbert", "train a tinybert"),
    ],
)
def test_what_a_peer_cannot_be_given_is_refused(
    run: Path, tmp_path: Path, setting: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key, _, value = setting.partition("=")
    values = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[last] = yaml.safe_load(value)
    if value == "distilbert":
        values["student"] |= {"hidden_size": None, "heads": None, "intermediate_size": None}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), "utf-8")
    (tmp_path / "teacher").symlink_to(run / "teacher")
    assert command.main([str(tmp_path), "--rows", "8"]) == 2
    assert words in capsys.readouterr().err


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(tmp_path)]) == 2
    assert "this is no run with a teacher" in capsys.readouterr().err


def test_an_environment_that_stands_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setattr(environments, "_run", lambda words, name: pytest.fail("it was built again"))
    (tmp_path / "peer.txt").write_text("numpy\n")
    place = tmp_path / "places" / "peer"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").touch()
    (place / ".ready").write_text(environments.stated("peer"))
    assert environments.python("peer", tmp_path / "places") == place / "bin" / "python"


def test_what_does_not_install_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "HERE", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "lost.txt").write_text("no-such-program==1\n")
    with pytest.raises(AttarError, match=r"lost does not install: .*no-such-program"):
        environments.python("lost", tmp_path / "places")

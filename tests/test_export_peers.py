"""Other programs' files beside attar's: what a script leaves takes part, and what fails is a line.

The peers themselves need environments of several gigabytes and a network; they are run by hand
(`python -m attar.benchmarks.peers.export`). Here a small program plays one, by the same script and the same road.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from attar.benchmarks.peers import environments, export
from attar.benchmarks.peers.export import __main__ as command
from attar.benchmarks.peers.export import peer
from attar.benchmarks.record import Bench
from attar.errors import AttarError
from attar.files import read_document
from conftest import LABELS, SENTENCES

SCRIPT = """
import shutil
from .shared import Work, main

def plain(work):
    assert work.lengths == [32] and len(work.calibration()) == 8 and work.golden()[0]["logits"]
    assert all(row["input_ids"][0] == work.golden()[0]["input_ids"][0] for row in work.calibration())
    source = work.bundle / "model.onnx"
    work.make("plain fp32", "own.onnx", lambda: shutil.copyfile(source, work.out / "own.onnx"), precision="fp32")
    work.make("plain short", "short.onnx", lambda: shutil.copyfile(source, work.out / "short.onnx"), length=32)
    work.make("plain int8", "int8.onnx", lambda: 1 / 0)
    work.make("plain int4", "int4.onnx", lambda: None)

if __name__ == "__main__":
    main(plain, "numpy")
"""


@pytest.fixture()
def run(bundle_folder: Path, teacher: Path, tmp_path: Path) -> Path:
    """A finished run of the tiny teacher."""
    folder = tmp_path / "run"
    shutil.copytree(bundle_folder, folder / "bundle")
    shutil.copytree(teacher, folder / "student")
    lines = [f"{LABELS[n % 3]}\t{text}" for n, text in enumerate(SENTENCES)]
    (folder / "rows.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n", "utf-8")
    rows = {"path": str(folder / "rows.tsv")}
    values = {
        "name": "tiny",
        "task": {"train": rows, "dev": rows, "max_length": 32},
        "teacher": {"model": str(teacher)},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), "utf-8")
    return folder


@pytest.fixture()
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer named plain, whose environment is ours."""
    place = tmp_path / "packages" / "export"
    place.mkdir(parents=True)
    for name in ("__init__.py", "shared.py"):
        shutil.copy(Path(export.__file__).with_name(name), place)
    (place / "plain_onnx.py").write_text(SCRIPT, "utf-8")
    monkeypatch.setattr(peer, "PACKAGES", place.parent)
    for name in ("plain", "lost"):
        monkeypatch.setitem(export.PEERS, name, f"{name}_onnx")

    def python(name: str) -> Path:
        if name == "lost":
            raise AttarError("lost does not install: there is no network")
        return Path(sys.executable)

    monkeypatch.setattr(environments, "python", python)


def test_what_a_peer_made_takes_turns_and_what_failed_is_told(
    run: Path, plain: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "peers.json"
    words = [str(run), "--peer", "plain", "--peer", "lost", "--quick", "--length", "32", "--out", str(out)]
    assert command.main(words) == 1
    (site,) = read_document(Bench, out, "measurement of targets").targets
    assert [one.name for one in site.models] == ["model.onnx", "model.ort", "plain fp32", "plain short"]
    for one in site.models:
        assert one.cost and [time.length for time in one.cost.latencies] == [32] and one.outputs
        assert one.outputs.right and one.outputs.rows == len(SENTENCES)
        assert one.outputs.scores == site.models[0].outputs.scores  # type: ignore[union-attr]
    lost, *failed = sorted(site.problems, key=lambda line: line.startswith("plain"))
    assert failed == [
        "plain int8: ZeroDivisionError: division by zero",
        "plain int4: FileNotFoundError: int4.onnx was not written",
    ]
    assert lost == "lost does not install: there is no network"
    assert site.machine["versions"]["numpy"] and site.reference == "model.onnx"
    said = capsys.readouterr().err
    assert all(line in said for line in site.problems)


def test_a_script_that_stops_is_one_line(
    run: Path, plain: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "packages" / "export" / "plain_onnx.py"
    script.write_text("raise SystemExit('no such backend')\n", "utf-8")
    assert command.main([str(run), "--peer", "plain", "--quick", "--length", "32"]) == 1
    assert "plain: it stopped: no such backend" in capsys.readouterr().err


def test_every_peer_has_its_script_and_its_environment() -> None:
    for name, script in export.PEERS.items():
        text = Path(export.__file__).with_name(f"{script}.py").read_text("utf-8")
        assert "import attar" not in text and "from ..." not in text and 'if __name__ == "__main__":' in text
        wanted = (environments.HERE / f"{name}.txt").read_text("utf-8").splitlines()
        assert "torch==2.13.0" in wanted  # unpinned, pip may take a CUDA build


def test_a_run_that_peers_cannot_export_is_refused_at_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([str(tmp_path)]) == 2 and "no bundle" in capsys.readouterr().err
    card = json.loads((run / "bundle" / "manifest.json").read_text("utf-8"))
    card["task"] |= {"kind": "embedding", "head": "embedding", "labels": [], "width": 32}
    (run / "bundle" / "manifest.json").write_text(json.dumps(card), "utf-8")
    assert command.main([str(run)]) == 2 and "classifiers of a text" in capsys.readouterr().err
    done = subprocess.run([sys.executable, "-m", command.__name__, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(name in done.stdout for name in export.PEERS)

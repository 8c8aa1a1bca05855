"""Every command from its words to its output and exit code."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from attar import __version__, cli
from attar.benchmarks import record
from conftest import LABELS, SENTENCES
from helpers import PATIENCE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def process(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "attar.cli", *map(str, words)]
    env = os.environ | {"PYTHONSAFEPATH": "1"}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)


def test_predict_one_text(bundle_folder: Path, capsys: Capture) -> None:
    assert run("predict", bundle_folder, SENTENCES[0]) == 0
    shown = capsys.readouterr().out
    assert all(label in shown for label in LABELS) and "%" in shown
    assert run("predict", bundle_folder, SENTENCES[0], "--json", "--artefact", "model.ort", "--threads", 2) == 0
    answer = json.loads(capsys.readouterr().out)
    assert shown.split()[0] == answer["label"] and not answer["truncated"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_predict_a_file_and_stdin(
    bundle_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("\n".join([*SENTENCES, " ".join(SENTENCES), "[bold]markup[/]"]), "utf-8")
    assert run("predict", bundle_folder, "--file", file, "--json") == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["text"] for answer in answers][: len(SENTENCES)] == SENTENCES
    assert [answer["truncated"] for answer in answers] == [False] * len(SENTENCES) + [True, False]
    stdin = io.TextIOWrapper(io.BytesIO(file.read_bytes()), "utf-8")
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("predict", bundle_folder, "--file", "-") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(answers)
    for line, answer in zip(lines, answers, strict=True):
        assert line.startswith(answer["label"]) and answer["text"] in line
    assert "(the text was cut)" in lines[-2]


def test_verify(bundle_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run("verify", bundle_folder) == 0
    assert "model.onnx answers" in capsys.readouterr().out
    bad = Path(shutil.copytree(bundle_folder, tmp_path / "bad"))
    (bad / "model.ort").write_bytes(b"")
    assert run("verify", bad) == 1
    shown = capsys.readouterr()
    assert "0 bytes, the manifest says" in shown.out
    assert shown.err.startswith(f"attar: {bad}: 1 of") and shown.err.count("\n") == 1
    assert run("verify", bad, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"] and [c["name"] for c in found["checks"] if not c["passed"]] == ["model.ort"]


def test_bench_two_bundles_and_all_artefacts(bundle_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    other = Path(shutil.copytree(bundle_folder, tmp_path / "other"))
    words = ["--length", "8,16", "--threads", "1,2", "--queries", 4, "--quick"]
    assert run("bench", bundle_folder, other, *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in found["models"]] == ["tiny/model.onnx", "other/model.onnx"]
    assert found["reference"] == "tiny/model.onnx" and found["problems"] == [] and found["machine"]["cores"]
    for model in found["models"]:
        assert [(x["length"], x["threads"]) for x in model["latencies"]] == [(8, 1), (8, 2), (16, 1), (16, 2)]
        assert {x["queries"] for x in model["latencies"]} == {4}
        assert model["load_s"] > 0 and model["peak_memory"] > 0 and model["bytes"] > 0
    words = ["--length", "own,8", "--queries", 2, "--quick", "--offline", "--floor", "--quiet"]
    assert run("bench", bundle_folder, "--all", *words) == 0
    shown = capsys.readouterr()
    wanted = ["model.onnx", "model.ort", "p50 ms", "texts a second", "in one session", "GMAC/s"]
    assert [word for word in wanted if word not in shown.out] == []
    assert all(line.startswith("attar: a noisy run: ") for line in shown.err.splitlines())


def test_bench_goes_on_without_a_model_that_fails(bundle_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    bad = Path(shutil.copytree(bundle_folder, tmp_path / "bad"))
    (bad / "model.onnx").write_bytes(b"no model")
    assert run("bench", bundle_folder, bad, "--length", 8, "--queries", 2, "--quick", "--json") == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [model["name"] for model in found["models"]] == ["tiny/model.onnx"]
    words = ["--target", "local", "--target", "arm:cortex-a53", "--threads", "1,2", "--length", 8, "--json"]
    assert run("bench", bundle_folder, *words) == 2  # before anything is timed
    assert "on one thread" in capsys.readouterr().err
    assert (
        len(found["problems"]) == 1 and found["protocol"]["quick"] and shown.err.startswith("attar: bad/model.onnx: ")
    )


def test_inspect(bundle_folder: Path, onnx_file: Path, capsys: Capture) -> None:
    assert run("inspect", onnx_file) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("embeddings", "attention", "feed-forward", f"{onnx_file.stat().st_size:,}"))
    assert run("inspect", bundle_folder, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["models"]) == {"model.onnx", "model.ort"}


def test_doctor(capsys: Capture) -> None:
    assert run("doctor") == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown and "The light core is whole." in shown
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["whole"] and found["features"]


def test_inspect_and_report_a_run(tmp_path: Path, capsys: Capture) -> None:
    import sample_run

    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    made = sample_run.sample()
    record.save(made, folder / "run.json")
    assert run("inspect", folder, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["models"]) == set(made.shares)
    out, markdown = tmp_path / "report.html", tmp_path / "report.md"
    assert run("report", folder, "--out", out, "--markdown", markdown) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert made.name in out.read_text("utf-8") and made.name in markdown.read_text("utf-8")


def test_recipes(capsys: Capture) -> None:
    names = sorted(path.name for path in (Path(cli.__file__).parents[1] / "recipes").glob("*.yaml"))
    assert run("recipes", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(found) == names and all(one["about"] and name in one["command"] for name, one in found.items())
    assert run("recipes") == 0
    shown = capsys.readouterr().out
    assert names and all(name in shown for name in names)


def test_version_and_help(capsys: Capture) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for command in ("predict", "verify", "bench", "inspect", "doctor", "report", "recipes"):
        assert command in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["bnech"], 2, "bench"),
        (["predict"], 2, "BUNDLE"),
        (["predict", "BUNDLE"], 2, "give a text, or --file"),
        (["predict", "BUNDLE", "x", "--file", "y"], 2, "give a text, or --file"),
        (["predict", "BUNDLE", "--file", "nowhere.txt"], 2, "nowhere.txt: No such file"),
        (["predict", "BUNDLE", "x", "--pair", "y"], 2, "single texts"),
        (["predict", "BUNDLE", "x", "--artefact", "model.otr"], 2, "did you mean 'model.or"),
        (["predict", "BUNDLE", "x", "--threads", "0"], 2, "--threads"),
        (["predict", "nowhere", "x"], 1, "no such bundle folder"),
        (["verify", "nowhere"], 1, "1 of 1 checks failed"),
        (["bench", "BUNDLE", "--length", "16,a"], 2, "not a list of whole numbers"),
        (["bench", "BUNDLE", "--length", "4000"], 2, "at most --length 32"),
        (["bench", "BUNDLE", "--queries", "0"], 2, "--queries"),
        (["bench", "BUNDLE", "--quit"], 2, "--quit"),
        (["inspect", "nowhere"], 2, "no such file"),
        (["report", "nowhere", "--out", "r.html"], 1, "no such file"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], code: int, said: str, bundle_folder: Path, capsys: Capture) -> None:
    assert run(*(bundle_folder if word == "BUNDLE" else word for word in words)) == code
    line = capsys.readouterr().err
    assert line.startswith("attar: ") and line.count("\n") == 1 and said in line


def test_our_own_mistake_says_so(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Provoked by a state that no user can make: the module has no place."""
    monkeypatch.setattr(cli.about, "__file__", None)
    monkeypatch.delenv("ATTAR_DEBUG", raising=False)
    assert run("recipes") == 1
    line = capsys.readouterr().err
    assert "this is a bug in attar: TypeError" in line and line.count("\n") == 1
    monkeypatch.setenv("ATTAR_DEBUG", "1")
    assert run("recipes") == 1
    assert "Traceback" in capsys.readouterr().err


def test_control_c_is_a_short_line(bundle_folder: Path) -> None:
    # What a shell started in the background ignores SIGINT, and so would its children, this test's too.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from attar.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "bench", str(bundle_folder), "--queries", "100000", "--length", "8"]
    child = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not psutil.Process(child.pid).children():  # the worker that loads the model and then times it
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130 and said == "attar: interrupted\n"


def test_a_reader_that_has_enough_ends_the_program_quietly(bundle_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("play some music\n" * 5000)
    child = process("predict", bundle_folder, "--file", file)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert child.wait(timeout=PATIENCE) == 0 and child.stderr.read() == ""
    child.stderr.close()

"""The model card is one that the Hub reads and whose code runs; the badge says the same figures."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attar.benchmarks import badge, card, record, report
from attar.benchmarks.record import Cost, Run
from attar.cli import main
from attar.export import bundle, manifest, package
from conftest import LABELS
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_run import sample
from test_report import contrast, hostile

Capture = pytest.CaptureFixture[str]


def told(run: Run, folder: Path) -> object:
    """What the Hub's own library reads from the card."""
    hub = pytest.importorskip("huggingface_hub")
    (folder / "README.md").write_text(card.text(run), "utf-8")
    return hub.ModelCard.load(folder / "README.md", ignore_metadata_errors=False)


def test_the_hub_reads_the_results(tmp_path: Path) -> None:
    run = sample()
    found = told(run, tmp_path)
    data = found.data  # type: ignore[attr-defined]
    chosen = next(model for model in run.models if model.name == run.choice)
    results = {(one.dataset_split, one.metric_type): one for one in data.eval_results}
    measured = {(split, metric): value for split, scores in chosen.scores.items() for metric, value in scores.items()}
    assert {key: one.metric_value for key, one in results.items()} == pytest.approx(measured, abs=1e-6)
    assert {one.task_type for one in results.values()} == {"text-classification"} == {data.pipeline_tag}
    assert data.model_name == run.name and data.license == "other" and data.library_name == "attar"
    assert data.get("base_model") is None and data.get("language") is None and data.get("datasets") is None
    assert {"onnx", "tflite", "int8", "fp32"} <= set(data.tags)


def test_what_the_record_knows_is_told(tmp_path: Path) -> None:
    run = sample()
    run.provenance |= {"teacher": "google/bert_uncased", "teacher_revision": "1" * 40}
    run.recipe["task"]["train"] = [{"path": "nyu-mll/glue", "format": "dataset"}, {"path": "/home/me/own/rows.tsv"}]
    run.recipe["task"]["test"] = [{"path": "/home/me/hidden/test.tsv"}]
    run.task["kind"] = "token_classification"
    data = told(run, tmp_path).data  # type: ignore[attr-defined]
    assert [(one.dataset_split, one.dataset_name) for one in data.eval_results[-2:]] == [
        ("dev", "nyu-mll/glue, own/rows.tsv"),
        ("test", "hidden/test.tsv"),
    ]
    assert data.base_model == "google/bert_uncased" and data.datasets == ["nyu-mll/glue"]
    assert data.pipeline_tag == "token-classification"
    del run.provenance["teacher_revision"]  # a folder that is called like an id
    assert "base_model" not in card.metadata(run)
    run.provenance["teacher"] = "minilm"
    assert card.metadata(run)["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    run.recipe["task"] |= {"builtin": "assistant", "train": None}
    assert card.metadata(run)["language"] == "en"


def test_the_card_has_the_reports_figures_and_no_path_of_the_owner() -> None:
    run = sample()
    run.recipe["task"]["train"] = [{"path": "/home/somebody/private/reviews/train.tsv"}]
    run.provenance["teacher"] = "/home/somebody/models/large"
    text = card.text(run)
    assert "reviews/train.tsv" in text and "models/large" in text and "somebody" not in text and run.command not in text
    whole = report.markdown([run])
    rows = [line for line in text.splitlines() if line.startswith("|") and "model.int8.onnx" in line]
    assert len(rows) == 2 and rows[1] in whole.splitlines()  # the latencies
    figures = [cell.strip() for cell in rows[0].split("|")[3:-1]]  # the comparison's
    (main,) = [line for line in whole.splitlines() if line.startswith("| **model.int8.onnx") and "chosen" in line]
    assert all(figure.partition(" (length")[0] in main for figure in figures), figures
    assert "8.89 MB int8 student answers in 11.1 ms" in text and "scores 51.1" in text
    headings = re.findall(r"\n## (.*)\n", text)
    assert headings[:6] == ["Intended use", "How it was made", "Data", "Evaluation", "Files", "Latency"]
    assert headings[6:] == ["Budget", "Limits", "How to use it"]
    assert all(note in text for note in run.notes) and "7,777 rows" in text


def test_a_card_of_hostile_words_is_still_one(tmp_path: Path) -> None:
    run = hostile()
    run.name = "a: b\n---\n# x"
    run.models[4].file = 'artefacts/m"\n```\nx.onnx'
    found = told(run, tmp_path)
    assert found.data.model_name == run.name  # type: ignore[attr-defined]
    prose = re.sub(r"```python\n.*?\n```\n", "", found.text, flags=re.S)  # type: ignore[attr-defined]
    assert "<script" not in prose and "<img" not in prose


@pytest.mark.parametrize("kind", sorted(card.USES))
def test_every_kind_of_task_has_a_card_whose_python_compiles(kind: str) -> None:
    run = sample()
    for pair in (False, True):
        run.task |= {"kind": kind, "pair": pair}
        blocks = card.snippets(run, "bundle")
        assert len(blocks) == (2 if kind in ("classification", "regression") else 1)
        assert all(code in card.text(run) for code in blocks.values())
        for code in blocks.values():
            compile(code, "card", "exec")


def test_a_run_with_next_to_nothing_has_a_card(tmp_path: Path) -> None:
    bare = Run(attar="0", name="empty", created="2001", task={}, recipe={}, machine={}, provenance={})
    assert told(bare, tmp_path).data.get("eval_results") is None  # type: ignore[attr-defined]
    assert badge.figures(bare) == "not trained" and "no bundle" in card.text(bare)
    run = sample()
    run.choice = None
    assert "model-index" not in card.metadata(run) and badge.figures(run) == "33.3 MB · 77.7 ms · 90.7 %"


def test_its_python_runs(bundle_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """With the real libraries, on a real bundle; both ways give the same label."""
    run = sample()
    chosen = next(model for model in run.models if model.name == run.choice)
    chosen.file = "artefacts/model.onnx"
    run.task["labels"] = LABELS
    said = []
    for code in card.snippets(run, str(bundle_folder)).values():
        exec(compile(code, "card", "exec"), {})
        said.append(capsys.readouterr().out.strip())
    assert f"'label': '{said[1]}'" in said[0] and said[1] in LABELS


def test_a_bundle_holds_its_card_and_is_whole(bundle_folder: Path, tmp_path: Path) -> None:
    old = manifest.load(bundle_folder)
    (tmp_path / package.README).write_text(card.text(sample(), "."), "utf-8")
    sources = {name: bundle_folder / name for name in old.files} | {package.README: tmp_path / package.README}
    made = bundle.build(tmp_path / "bundle", old, sources)
    assert package.README in made.files
    assert all(check.passed for check in bundle.verify(tmp_path / "bundle"))
    (tmp_path / "bundle" / package.README).write_text("another card", "utf-8")
    failed = [check.name for check in bundle.verify(tmp_path / "bundle") if not check.passed]
    assert failed == [package.README]


def test_the_badge_is_whole_readable_and_the_same_each_time() -> None:
    run = sample()
    text = badge.svg(run)
    assert text == badge.svg(sample())
    image = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert image.get("role") == "img" and image.find(f"{space}title") is not None
    assert image.get("aria-label") == image.findtext(f"{space}title") == badge.label(run)
    assert [one.text for one in image.iter(f"{space}text")] == ["attar", "8.89 MB · 11.1 ms · 90.5 %"]
    grounds = [one.get("fill") for one in image.iter(f"{space}rect")]
    inks = {one.get("fill") for one in image.iter(f"{space}text")}
    assert len(grounds) == 2 and len(inks) == 1
    assert all(contrast(str(ground), str(ink)) >= 4.5 for ground in grounds for ink in inks)
    words = badge.label(run)
    assert "p50, one thread, length 64 on Artificial CPU 1111" in words and "90.5 % test accuracy" in words
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "") and "<script" not in text


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), st.sampled_from(["cost", "scores"]))
def test_a_badge_of_any_words_is_well_formed(name: str, gone: str) -> None:
    run = sample(name)
    run.choice = run.models[4].name = name
    setattr(run.models[4], gone, {"cost": Cost(), "scores": {}}[gone])
    for text in badge.svg(run), report.html([run]):
        assert name.strip() in text or any(sign in name for sign in "<>&\"'")
    ElementTree.fromstring(badge.svg(run))
    line = badge.line(run)
    assert line.startswith("![attar: ") and line.endswith("](badge.svg)") and "\n" not in line


def test_a_correlation_is_no_percentage() -> None:
    run = sample()
    run.task["metric"], run.limits = "spearman", []
    for model in run.models:
        model.scores = {"dev": {"spearman": 0.8765}}
    assert badge.figures(run).endswith("0.876 spearman") or badge.figures(run).endswith("0.877 spearman")


def test_the_command_writes_badge_and_card(tmp_path: Path, capsys: Capture) -> None:
    record.save(sample(), tmp_path / "run" / "run.json")
    words = ["report", str(tmp_path / "run"), "--out", str(tmp_path / "report.html")]
    more = ["--badge", str(tmp_path / "attar.svg"), "--card", str(tmp_path / "README.md")]
    assert main([*words, *more]) == 0
    page, line = capsys.readouterr().out.splitlines()
    assert page == str(tmp_path / "report.html") and line == badge.line(sample(), "attar.svg")
    assert (tmp_path / "attar.svg").read_text("utf-8") == badge.svg(sample())
    assert (tmp_path / "README.md").read_text("utf-8") == card.text(sample())
    for one in ("--badge", "--card"):
        assert main([words[0], words[1], words[1], one, "x"]) == 2
        assert f"{one} goes with one run" in capsys.readouterr().err

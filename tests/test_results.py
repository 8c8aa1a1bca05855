"""The results page: what the records give, and in step with them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from attar import files, results
from attar.benchmarks import record, schema, study_record
from attar.benchmarks.record import Epoch, Training
from attar.benchmarks.verdict import headline
from sample_run import sample

ROOT = Path(record.__file__).parents[1]


def test_results_page_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--docs", str(tmp_path)]
    assert results.main(words) == 2 and "no records" in capsys.readouterr().err
    record.save(sample(), tmp_path / "runs" / "a.json")
    record.save(sample("second"), tmp_path / "runs" / "b.json")
    page = tmp_path / "results.md"
    assert results.main([*words, "--check"]) == 1 and "no such page" in capsys.readouterr().err
    assert results.main(words) == 0 and results.main([*words, "--check"]) == 0
    text, own = page.read_text(), (tmp_path / "runs" / "a.md").read_text()
    assert headline(sample()).sentence in text and "](runs/a.md)" in text and "10.0×" in text
    assert "\n- [Runs](#runs)\n" in text and "\n## Runs\n" in text
    assert sample().command in own and headline(sample()).budget in own and "Artificial CPU 1111" in own
    assert "64.6" in own and "2,222" in own and "10.0×" in own and "−39.8" in own
    page.write_text(text.replace("10.0×", "12.0×"))
    assert results.main([*words, "--check"]) == 1
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "10.0×" in row)
    assert f"results.md:{line}: not what the records give" in capsys.readouterr().err
    (tmp_path / "runs" / "c.json").write_text("[]")
    assert results.main(words) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_teachers_and_studies_stand_on_the_results_page(tmp_path: Path) -> None:
    trained = sample("only-taught")
    trained.models, trained.choice, trained.notes = trained.models[:1], None, ["links were asked"]
    learnt = Training(
        stage="pretrain",
        phase="next_sentence",
        examples=10,
        epochs=[
            Epoch(epoch=n, losses={"mlm": 5.0 - n, "nsp": 0.7}, seconds=1, examples_per_second=10) for n in (0.5, 1.0)
        ],
    )
    cells = [
        study_record.result(row, "words", f"{row}-words", trained).model_copy(update={"training": [learnt]})
        for row in ("taught", "random")
    ]
    cells[1].models = [cells[1].models[0].model_copy(update={"scores": {"dev": {"accuracy": 0.25}}})]
    cells[1].split = cells[0].split = "dev"
    score = cells[0].score
    study = study_record.StudyRecord(
        attar="0",
        name="trial",
        title="A trial",
        created="2001",
        machine={},
        study={},
        rows=["taught", "random"],
        columns=["words"],
        against={"taught": "random"},
        results=cells,
    )
    assert score is not None
    record.save(trained, tmp_path / "runs" / "a.json")
    files.write_json(tmp_path / "studies" / "trial.json", study.model_dump(mode="json"))
    assert results.main(["--docs", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "| only-taught |" in text and "\n- only-taught: links were asked\n" in text
    assert "## A trial" in text and "(plots/trial.svg)" in text
    gain = f"{100 * (score - 0.25):+.1f}".replace("-", "−")
    assert f"{100 * score:.1f} ({gain})" in text and "25.0" in text
    svg = ElementTree.parse(tmp_path / "plots" / "trial.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    titles = [one.text or "" for one in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert sum("mlm 4 " in title for title in titles) == 1  # rows that share a pre-training are drawn once
    assert results.main(["--docs", str(tmp_path), "--check"]) == 0


def test_scores_stand_on_the_results_page_with_their_plots(tmp_path: Path) -> None:
    kept = (ROOT / "docs" / "scores" / "language.json").read_bytes()
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "language.json").write_bytes(kept)
    assert results.main(["--docs", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text("utf-8")
    assert "## Scores: language" in text and "unigram" in text and "(plots/language-trec-k.svg)" in text
    ElementTree.parse(tmp_path / "plots" / "language-trec-k.svg")


def test_results_page_of_the_docs_is_what_their_records_give() -> None:
    results.check(results.pages(results.recorded(ROOT / "docs")), ROOT / "docs")


def test_schema_page_is_in_sync() -> None:
    assert (ROOT / "docs/run-json.md").read_text("utf-8") == schema.page()
    for kind in (record.Run, record.Model, record.Latency):
        assert all(f"| `{name}` |" in schema.page() for name in kind.model_fields)

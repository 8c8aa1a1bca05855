"""Studies: every cell is its own run, what cells share is made once, and a cell that fails does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from attar import recipe_file, study
from attar.benchmarks import study_record, study_tables
from attar.cli import main
from attar.errors import UsageError
from conftest import LABELS, SENTENCES, tiny_teacher
from safetensors.numpy import load_file

READY = sorted((Path(study.__file__).parent / "recipes" / "studies").glob("*.yaml"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, a recipe whose rows can be learnt from a word, and another one whose labels are numbers."""
    folder = tmp_path_factory.mktemp("study")
    tiny_teacher(folder / "model")
    lines = [f"{LABELS[n % 3]}\t{SENTENCES[n % 8]} {LABELS[n % 3]}" for n in range(36)]
    (folder / "rows.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n", "utf-8")
    (folder / "marks.tsv").write_text("\n".join(["label\ttext", *(f"{n % 5}\t{s}" for n, s in enumerate(SENTENCES))]))
    path = {"path": str(folder / "rows.tsv")}
    marks = {"path": str(folder / "marks.tsv")}
    training = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    base = {
        "name": "base",
        "threads": 1,
        "task": {"train": path, "dev": path, "max_length": 32},
        "teacher": {"model": str(folder / "model"), "training": training},
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(base), "utf-8")
    other = base | {"task": {"kind": "regression", "train": marks, "dev": marks, "max_length": 32}}
    (folder / "other.yaml").write_text(yaml.safe_dump(other), "utf-8")
    return folder


def write(home: Path, name: str, **parts: object) -> Path:
    base = str(home / "base.yaml")
    values = {
        "name": name,
        "until": "teach",
        "rows": {"trained": {"recipe": base, "against": "random"}, "random": {"recipe": base}},
        "columns": {"words": {}},
    }
    (home / f"{name}.yaml").write_text(yaml.safe_dump(values | parts, sort_keys=False), "utf-8")
    return home / f"{name}.yaml"


def test_every_cell_is_a_run_and_the_table_compares_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        "trained": {"recipe": str(home / "base.yaml"), "against": "random"},
        "random": {"recipe": str(home / "base.yaml"), "set": {"teacher.start": "random"}},
    }
    columns = {
        "words": {},
        "marks": {"take": {"task": str(home / "other.yaml")}, "set": {"teacher.training.epochs": 2}},
    }
    path = write(home, "both", rows=rows, columns=columns)
    out = home / "runs" / "both"
    assert main(["study", str(path), "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    found = study_record.load(out)
    assert [(one.row, one.column, one.metric) for one in found.results] == [
        ("trained", "words", "accuracy"),
        ("trained", "marks", "spearman"),
        ("random", "words", "accuracy"),
        ("random", "marks", "spearman"),
    ]
    for one in found.results:
        run = json.loads((out / one.folder / "run.json").read_text("utf-8"))
        assert one.score == run["models"][0]["scores"]["dev"][one.metric]
        assert one.training[0].epochs[-1].epoch == (2 if one.column == "marks" else 1)
        assert f"{100 * one.score:.1f}" in printed
    start = load_file(home / "model" / "model.safetensors")
    word = "bert.embeddings.word_embeddings.weight"
    trained, random = (
        load_file(out / f"{row}-words" / "teacher" / "model.safetensors")[word] for row in ("trained", "random")
    )
    assert abs(trained - start[word]).max() < 0.1 < abs(random - start[word]).max()
    gain = 100 * (found.results[0].score or 0) - 100 * (found.results[2].score or 0)
    assert study_tables.table(found).rows[0].cells[2].note == f"{gain:+.1f}".replace("-", "−")


def test_seeds_share_a_teacher_and_are_averaged(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {"student.layers": 1, "distil.prediction.epochs": 2, "distil.limit": 24}
    small |= {"distil.intermediate.epochs": 1, "distil.cache": {"states": "10MB", "shared": True}}
    path = write(
        home, "seeds", until="distil", seeds=[3, 4], rows={"one": {"recipe": str(home / "base.yaml"), "set": small}}
    )
    out = home / "runs" / "seeds"
    assert main(["study", str(path), "--out", str(out), "--quiet"]) == 0
    printed = capsys.readouterr().out
    found = study_record.load(out)
    assert [(one.folder, one.seed) for one in found.results] == [("one-words-3", 3), ("one-words-4", 4)]
    assert len(list((out / ".teacher-cache").iterdir())) == 2  # states and answers, which both read
    assert not list(out.glob("*/.teacher-answers"))
    teachers, students = (
        [(out / f"one-words-{seed}" / name / "model.safetensors").read_bytes() for seed in (3, 4)]
        for name in ("teacher", "student")
    )
    assert teachers[0] == teachers[1] and students[0] != students[1]
    assert all(one.training[-1].examples == 24 for one in found.results)  # of 36 rows
    scores = [one.score or 0.0 for one in found.results]
    teacher = found.results[0].models[0].scores["dev"]["accuracy"]
    kept = sum(scores) / 2 / teacher
    assert found.score("one", "words") == pytest.approx(sum(scores) / 2)
    shown = [cell.text for cell in study_tables.table(found).rows[0].cells]
    spread = abs(scores[0] - scores[1]) / 2**0.5
    assert shown[2:4] == [f"{50 * sum(scores):.1f} ± {100 * spread:.1f}", f"{100 * kept:.1f}"]
    assert "mean ± standard deviation over 2 seeds" in printed


def test_a_part_is_run_alone_and_what_stands_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(home, "parts"), home / "runs" / "parts"
    words = ["study", str(path), "--out", str(out), "--quiet"]
    assert main([*words, "--row", "trained"]) == 0 and "1 of 2 cells are left" in capsys.readouterr().out
    first = study_record.load(out)
    assert [one.row for one in first.results] == ["trained"] and first.rows == ["trained", "random"]
    assert "1 of 2 cells were run" in study_tables.table(first).caption
    first.results[0].seconds = 123.0  # to be known again
    (out / "study.json").write_text(first.model_dump_json(), "utf-8")
    assert main([*words, "--row", "random", "--column", "words"]) == 0 and "left" not in capsys.readouterr().out
    assert [(one.row, one.seconds == 123.0) for one in study_record.load(out).results] == [
        ("trained", True),
        ("random", False),
    ]
    (out / "study.json").write_text("[]", "utf-8")  # no record: what is not chosen is left
    assert main([*words, "--row", "random"]) == 0 and "1 of 2 cells are left" in capsys.readouterr().out
    for option, value, told in (("--row", "trainde", "did you mean 'trained'"), ("--seed", "1", "its seeds: none")):
        assert main([*words, option, value]) == 2
        error = capsys.readouterr().err
        assert option in error and told in error


def test_a_record_made_elsewhere_is_gone_on_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cells of the same recipe and rows are taken; one that was made otherwise, or failed, is run."""
    path, first, second = write(home, "moved"), home / "first" / "moved", home / "second" / "moved"
    assert main(["study", str(path), "--out", str(first), "--quiet"]) == 0
    record = study_record.load(first)
    record.results[0].seconds = 123.0  # to be known again
    record.results[1].recipe = "another"
    (home / "known.json").write_text(record.model_dump_json(), "utf-8")
    words = ["study", str(path), "--out", str(second), "--known", str(home / "known.json")]
    assert main([*words, "--quiet"]) == 0
    found = study_record.load(second)
    assert [(one.row, one.seconds == 123.0) for one in found.results] == [("trained", True), ("random", False)]
    assert not (second / "trained-words").exists() and (second / "random-words" / "run.json").is_file()
    third = home / "third" / "moved"
    assert main([*words[:2], "--out", str(third), "--known", str(second / "study.json"), "--quiet"]) == 0
    assert study_record.load(third).results == found.results  # nothing was to be run
    rows = home / "rows.tsv"
    rows.write_text(rows.read_text("utf-8") + f"{LABELS[0]}\tanother row\n", "utf-8")
    assert main([*words, "--quiet"]) == 0
    assert (second / "trained-words" / "run.json").is_file()  # of other rows it was not known


def test_seeds_fill_the_table_one_after_the_other(home: Path) -> None:
    found = study.load(write(home, "order", seeds=[5, 6]))
    assert [(row, seed) for row, _, seed in found.cells()] == [
        ("trained", 5), ("random", 5), ("trained", 6), ("random", 6)
    ]  # fmt: skip


def test_what_is_finished_is_not_made_again(home: Path) -> None:
    path, out = write(home, "again"), home / "runs" / "again"
    for _ in range(2):
        assert main(["study", str(path), "--out", str(out), "--quiet"]) == 0
        weights = [(out / f"{row}-words" / "teacher" / "model.safetensors").stat() for row in ("trained", "random")]
        assert weights[0].st_ino == weights[1].st_ino  # the same key: made once for both cells
    made = weights[0].st_mtime_ns
    assert made == (out / "trained-words" / "teacher" / "model.safetensors").stat().st_mtime_ns


def test_a_run_beside_the_study_is_taken(home: Path) -> None:
    runs = home / "beside"
    assert main(["teach", str(home / "base.yaml"), "--out", str(runs / "base"), "--quiet"]) == 0
    assert main(["study", str(write(home, "taking")), "--out", str(runs / "taking"), "--quiet"]) == 0
    weights = [path / "teacher" / "model.safetensors" for path in (runs / "base", runs / "taking" / "trained-words")]
    assert weights[0].stat().st_ino == weights[1].stat().st_ino


def test_a_cell_that_fails_is_told_and_the_others_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"long": {"set": {"task.max_length": 512, "export.lengths": [512]}}, "words": {}}
    path, out = write(home, "partly", columns=columns), home / "runs" / "partly"
    assert main(["study", str(path), "--out", str(out), "--json"]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    assert [bool(one["problem"]) for one in results] == [True, False, True, False]
    assert "task.max_length: the teacher holds 64 pieces" in results[0]["problem"]
    assert study_tables.table(study_record.load(out)).rows[0].cells[2].text == "–"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"rows": {"a": {}}}, "neither row 'a' nor column 'words' names a recipe"),
        ({"rows": {"a": {"recipe": "assistant", "against": "b"}}}, "compared with 'b', which is no row"),
        ({"rows": {"a b": {"recipe": "assistant"}, "A-B": {"recipe": "assistant"}}}, "the folder 'a-b-words'"),
        ({"rows": {}}, "rows"),
        ({"untill": "teach"}, "untill"),
        ({"seeds": [1, 1]}, "a seed stands twice"),
    ],
)
def test_a_study_that_cannot_be_is_one_line(
    home: Path, parts: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", str(write(home, "wrong", **parts))]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_part_that_a_recipe_lacks(home: Path) -> None:
    path = write(home, "lacking", columns={"words": {"take": {"budget": str(home / "base.yaml")}}})
    with pytest.raises(UsageError, match="has no part `budget`"):
        study.load(path).cell("trained", "words")


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_ready_studies_load_and_open_with_their_command(path: Path) -> None:
    found = study.load(Path(path.stem))
    assert found.name == path.stem
    for row in found.rows:
        for column in found.columns:
            assert found.cell(row, column).name == study.place(row, column)
    assert f"attar study recipes/studies/{path.name}" in path.read_text("utf-8").splitlines()[0]


def test_reading_keeps_what_it_was_given(home: Path) -> None:
    values, text = recipe_file.read(home / "base.yaml")
    assert yaml.safe_load(text) == values

"""The GLUE table: GLUE's own files are read, its average is GLUE's, and no task stands in another's way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attar import glue, recipe_file
from attar.cli import main
from attar.errors import AttarError
from attar.recipe import Recipe
from attar.tasks import data
from conftest import SENTENCES

PHASE = "{epochs: 1, batch_size: 8, learning_rate: 1.0e-3}"
TINY = [
    "threads=1",
    "task.max_length=32",
    f"teacher.training={PHASE}",
    "student={kind: tinybert, layers: 1, hidden_size: 16, intermediate_size: 32}",
    f"distil={{intermediate: {PHASE}, prediction: {PHASE}}}",
]


def write(path: Path, rows: list[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")


@pytest.fixture()
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SST-2 and STS-B, and an RTE whose third row is cut off."""
    found = tmp_path / "data"
    monkeypatch.setenv("ATTAR_DATA", str(found))
    phrases = [(text, number % 2) for number, text in enumerate(SENTENCES)]
    pairs = [
        ("news", "f", 2020, number, float(number % 6), text, SENTENCES[number - 1])
        for number, text in enumerate(SENTENCES)
    ]
    for name in ("train", "dev"):
        write(found / "sst2" / f"{name}.tsv", [("sentence", "label"), *phrases])
        write(found / "stsb" / f"sts-{name}.csv", pairs)
    entailed = [(n, text, text, ("entailment", "not_entailment")[n % 2]) for n, text in enumerate(SENTENCES * 2)]
    write(found / "rte" / "glue_train.tsv", [("index", "sentence1", "sentence2", "label"), entailed[0], ("1", "cut")])
    write(tmp_path / "whole.tsv", [("index", "sentence1", "sentence2", "label"), *entailed])
    return found


def stated(settings: list[str] = TINY) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def test_a_task_that_fails_is_a_row_and_the_others_run(
    folder: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["glue", "--teacher", str(teacher), "--out", str(tmp_path / "glue"), "--quiet", *stated()]
    assert main(words) == 1
    shown = capsys.readouterr()
    rte = folder / "rte" / "glue_train.tsv"
    assert shown.err == f"attar: RTE: {rte}:3: 2 columns where 4 were expected\n"
    for name in ("CoLA", "MRPC", "QQP", "MNLI", "QNLI", "WNLI"):
        (line,) = [
            line for line in shown.out.splitlines() if line.startswith(f"skipped {name}: no such file: {folder}")
        ]
        assert line.endswith("train.tsv")
    assert "2 of 9" in shown.out
    table = json.loads((tmp_path / "glue" / "glue.json").read_text("utf-8"))
    lines = {line["task"]: line for line in table["tasks"]}
    assert [lines[name]["status"] for name in ("sst2", "stsb", "rte", "cola")] == ["done", "done", "failed", "skipped"]
    assert lines["rte"]["reason"] == f"{rte}:3: 2 columns where 4 were expected" and not lines["rte"]["scores"]
    means = []
    for task, metrics in (("sst2", ["accuracy"]), ("stsb", ["pearson", "spearman"])):
        note = json.loads((tmp_path / "glue" / task / "stages" / "distil.json").read_text("utf-8"))
        right = [note["results"]["scores"]["dev"][metric] for metric in metrics]
        assert list(lines[task]["scores"]["student"].values()) == right
        means.append(sum(right) / len(right))
    assert table["average"]["student"] == {"score": pytest.approx(sum(means) / 2), "tasks": 2}
    assert table["of"] == 9

    rte.write_bytes((tmp_path / "whole.tsv").read_bytes())
    before = (tmp_path / "glue" / "sst2" / "stages" / "teach.json").stat().st_mtime_ns
    assert main([*words, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["average"]["teacher"]["tasks"] == 3
    assert again["tasks"][1] == lines["sst2"]
    assert (tmp_path / "glue" / "sst2" / "stages" / "teach.json").stat().st_mtime_ns == before


def test_a_killed_table_goes_on(folder: Path, teacher: Path, tmp_path: Path) -> None:
    """What had ended stays in the file; the stage that had ended in the killed task is not done again."""
    out = tmp_path / "glue"
    ended: list[tuple[str, bool]] = []

    def finished(stage: str, seconds: float, reused: bool) -> None:
        ended.append((stage, reused))
        if stage == "STS-B: teach" and not reused:
            raise KeyboardInterrupt

    recipes = glue.recipes(str(teacher), TINY)
    with pytest.raises(KeyboardInterrupt):
        glue.run(recipes, out, finished=finished)
    status = {line["task"]: line["status"] for line in json.loads((out / "glue.json").read_text("utf-8"))["tasks"]}
    assert (status["sst2"], status["stsb"], status["cola"]) == ("done", "waiting", "skipped")
    ended.clear()
    found = glue.run(recipes, out, finished=finished)
    assert ended == [
        ("SST-2: teach", True),
        ("SST-2: distil", True),
        ("STS-B: teach", True),
        ("STS-B: distil", False),
    ]
    assert found.average["student"]["tasks"] == 2


def test_the_average_is_that_of_the_leaderboard() -> None:
    """BERT-large on GLUE's test files, as the leaderboard has it: 80.5 (arXiv 1810.04805, section 4.1)."""
    published = [[60.5], [94.9], [89.3, 85.4], [87.6, 86.5], [72.1, 89.3], [86.7, 85.9], [92.7], [70.1], [65.1]]
    lines = [
        glue.Line(
            task.recipe, task.name, scores={"teacher": dict(zip((m[0] for m in task.metrics), values, strict=True))}
        )
        for task, values in zip(glue.TASKS, published, strict=True)
    ]
    assert round(glue.average(lines, "teacher")["score"], 1) == 80.5
    assert glue.average(lines, "student") == {}
    assert glue.average(lines[:3], "teacher") == {"score": pytest.approx((60.5 + 94.9 + 87.35) / 3), "tasks": 3}


MNLI = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse"]
MNLI += ["sentence2_parse", "sentence1", "sentence2", "label1"]
FILES: dict[str, tuple[list[str], list[tuple[str, ...]]]] = {  # as GLUE publishes them
    "cola": ([], [("gj04", "1", "", "They drank the pub dry."), ("gj04", "0", "*", "They drank the pub.")]),
    "qqp": (
        ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
        [("0", "1", "2", "Who?", "Which one?", "0"), ("7", "8", "", "cut"), ("1", "3", "4", 'A "b?', "A b?", "1")],
    ),
    "mnli": (
        [*MNLI, "gold_label"],
        [("0", "1", "1n", "fiction", "", "", "", "", "A.", b, b, c) for b, c in (("B.", "neutral"), ("C.", "x"))],
    ),
    "qnli": (
        ["index", "question", "sentence", "label"],
        [("0", "Who?", "A cook.", "entailment"), ("1", "When?", "A cook.", "not_entailment")],
    ),
    "wnli": (
        ["index", "sentence1", "sentence2", "label"],
        [("0", "It fell.", "The cup fell.", "1"), ("1", "It fell.", "The mat fell.", "0")],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_the_files_that_glue_publishes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ATTAR_DATA", str(tmp_path))
    header, rows = FILES[name]
    dev = ["dev_matched", "dev_mismatched"] if name == "mnli" else ["dev"]
    for file in ["train", *dev]:
        write(tmp_path / name / f"{file}.tsv", [tuple(header), *rows] if header else rows)
    spec = recipe_file.load(Path(glue.__file__).parent / "recipes" / f"{name}.yaml")
    assert not glue.missing(spec)
    found = data.load(spec.task)
    assert found.counts() == {"train": 2, "dev": 2} | ({"test": 2} if name == "mnli" else {})
    task = data.kinds.KINDS[spec.task.kind].build(spec.task, found.train, found.labels)
    assert len(task.labels) == 2 and task.pair == (name != "cola")
    texts = {"cola": "They drank the pub dry.", "qqp": "Who?", "mnli": "A.", "qnli": "Who?", "wnli": "It fell."}
    assert found.train[0].text == texts[name]
    cut = tmp_path / "qqp" / "train.tsv"
    remark = "$ATTAR_DATA/qqp/train.tsv: 1 rows are bad and were left out, the first: "
    remark += f"{cut}:3: 4 columns where 6 were expected"
    assert found.remarks[:1] == ([remark] if name == "qqp" else [])


def test_every_metric_of_a_task_is_scored_by_its_recipe() -> None:
    """The split is a file of the recipe, and the metric one of its kind."""
    from attar.recipe import METRICS

    recipes = glue.recipes()
    assert list(recipes) == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
    for task in glue.TASKS:
        spec = recipes[task.recipe].task
        for _, split, metric in task.metrics:
            assert metric in METRICS[spec.kind]
            assert split == "dev" or spec.files("test")


def test_nothing_to_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["glue", "--out", str(tmp_path / "glue"), "--quiet"]
    monkeypatch.setenv("ATTAR_DATA", str(tmp_path))
    assert main(words) == 1
    assert "no task of GLUE has its data" in capsys.readouterr().err
    assert main([*words, "--set", "student.layer=2"]) == 2
    assert "did you mean 'layers'" in capsys.readouterr().err
    assert main([*words, "--until", "never"]) == 2
    capsys.readouterr()
    monkeypatch.delenv("ATTAR_DATA")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "ATTAR_DATA is not set" in error and error.count("\n") == 1
    assert not (tmp_path / "glue").exists()


def test_what_stops_a_run_is_one_line(tmp_path: Path) -> None:
    assert "not installed" in glue.reason(ModuleNotFoundError("No module", name="onnxscript"))
    assert glue.reason(OSError(28, "No space left on device")) == "the disk is full; free some space and repeat"
    assert glue.reason(RuntimeError("two\nlines")) == "RuntimeError: two lines"
    assert glue.reason(AttarError("what", where="here")) == "here: what"
    assert isinstance(glue.recipes(str(tmp_path / "a: b"))["rte"], Recipe)

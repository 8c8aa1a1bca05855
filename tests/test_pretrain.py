"""Pre-training: every objective learns from plain text, ends as a stock folder, and goes on down the road."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from attar import pipeline, recipe, training
from attar.benchmarks import outcome
from attar.errors import AttarError, UsageError
from attar.recipe_file import parse
from attar.teachers import checkpoint, pretrain, rows
from helpers import Stop, silent, stop_at
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

# Words that follow each other by a rule: what comes next can be learnt, and texts are about one of two matters.
MATTERS = (
    ["warm", "soup", "with", "fresh", "bread", "and", "salt"],
    ["old", "boats", "cross", "the", "cold", "grey", "sea"],
)
SIZES: dict[str, Any] = {"layers": 1, "hidden_size": 32, "heads": 2}
OBJECTIVES = [
    ("mlm", "bert-mini", {}),
    ("next_sentence", "bert-mini", {}),
    ("sentence_order", "albert-mini", {"embedding_size": 16}),
    ("replaced_token", "electra-mini", {"embedding_size": 16}),
    ("causal", "gpt2-mini", {}),
    ("causal", "gpt1-mini", {}),
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, chance = tmp_path_factory.mktemp("texts"), random.Random(3)

    def sentence(matter: list[str]) -> str:
        start = chance.randrange(7)
        return " ".join((matter * 2)[start : start + chance.randint(3, 7)]) + "."

    for number in range(6):
        paragraphs = [" ".join(sentence(MATTERS[number % 2]) for _ in range(4)) for _ in range(30)]
        (folder / f"{number}.txt").write_text("\n\n".join(paragraphs), "utf-8")
    return folder


def spec(texts: Path, objective: str = "mlm", shape: str = "bert-mini", **options: Any) -> recipe.Pretrain:
    plan = {"epochs": 10, "batch_size": 16, "learning_rate": 5e-3, "keep": "last", **options.pop("training", {})}
    values = {
        "corpus": {"paths": [str(texts / "*.txt")]},
        "vocabulary": {"size": 300},
        "objective": objective,
        "shape": shape,
        "max_length": 24,
        "dropout": 0.0,
        "training": plan,
        **SIZES,
        **options,
    }
    return recipe.Pretrain.model_validate(values)


@pytest.mark.parametrize(("objective", "shape", "sizes"), OBJECTIVES)
def test_each_objective_learns_and_leaves_a_stock_folder(
    texts: Path, tmp_path: Path, objective: str, shape: str, sizes: dict[str, int]
) -> None:
    found = pretrain.pretrain(spec(texts, objective, shape, **sizes), 0, tmp_path, silent)
    first, last = (found["training"][0]["epochs"][number] for number in (0, -1))
    name = "lm" if objective == "causal" else "mlm"
    assert last["scores"][name] < 0.85 * first["scores"][name]
    model = AutoModel.from_pretrained(tmp_path)
    dropout = getattr(model.config, "resid_pdrop", getattr(model.config, "hidden_dropout_prob", None))
    assert dropout == (0.0 if shape == "albert-mini" else 0.1)  # the family's own: 0 was of the pre-training
    words = AutoTokenizer.from_pretrained(tmp_path)
    assert model(**words("warm soup", return_tensors="pt")).last_hidden_state.shape[-1] == 32
    assert model.config.vocab_size == len(words) == found["vocabulary"]
    assert found["rows"]["dev"] >= 1 and found["corpus"]["documents"] == 6


@pytest.mark.parametrize(("positions", "said"), [(24, []), (40, ["from 24 to 40 were never trained"])])
def test_positions_that_no_row_reaches_are_told(texts: Path, tmp_path: Path, positions: int, said: list[str]) -> None:
    found = pretrain.pretrain(spec(texts, positions=positions, limit=20, training={"epochs": 1}), 0, tmp_path, silent)
    told = [line for line in found["remarks"] if "positions" in line]
    assert len(told) == len(said) and all(words in line for words, line in zip(said, told, strict=True))


def test_layers_are_shared_where_asked(texts: Path, tmp_path: Path) -> None:
    plan = {"epochs": 1}
    one = pretrain.pretrain(spec(texts, layers=1, training=plan), 0, tmp_path / "one", silent)
    both = pretrain.pretrain(
        spec(texts, layers=2, sharing={"part": "all"}, training=plan), 0, tmp_path / "both", silent
    )
    assert both["parameters"] == one["parameters"]


def test_a_killed_pretraining_ends_with_the_same_bytes(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"epochs": 2, "optimizer": "muon"}
    settings = spec(texts, "next_sentence", training=plan, start="neighbours", dropout=0.1)
    pretrain.pretrain(settings, 1, tmp_path / "whole", silent)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "cut").mkdir()
    with pytest.raises(Stop):
        pretrain.pretrain(settings, 1, tmp_path / "cut", stop_at("next_sentence", 7))
    pretrain.pretrain(settings, 1, tmp_path / "cut", silent)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())


def test_rows_set_aside_are_not_learnt_from() -> None:
    train, dev = rows.divide(1000, None, 0)
    assert len(dev) == 10 and len(train) == 990 and not set(train) & set(dev)
    assert len(rows.divide(1000, 100, 0)[0]) == 100
    with pytest.raises(AttarError, match="give more text"):
        rows.divide(1, None, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 64, "positions": 32}, "the shape holds 32 pieces"),
        ({"shape": "bert-minni"}, "did you mean 'bert-mini'"),
        ({"heads": 5}, "do not divide"),
        ({"objective": "causal"}, "does not train bert"),
        ({"objective": "causal", "shape": "gpt2-mini", "start": "neighbours"}, "set it to random"),
        ({"vocabulary": {"path": "/nowhere/vocab.txt"}}, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(texts: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((AttarError, UsageError)) as caught:
        pretrain.pretrain(spec(texts, **options), 0, tmp_path, silent)
    assert message in caught.value.line()


@pytest.mark.parametrize(("objective", "shape", "sizes"), [OBJECTIVES[1], OBJECTIVES[2], OBJECTIVES[3], OBJECTIVES[4]])
def test_a_recipe_begins_with_plain_text(
    texts: Path, tmp_path: Path, objective: str, shape: str, sizes: dict[str, int]
) -> None:
    """Pre-training, then fine-tuning, in one run; the second run has nothing to do."""
    rows = [f"{n % 2}\t{' '.join(MATTERS[n % 2][n % 3 : n % 3 + 3])}" for n in range(160)]
    (tmp_path / "rows.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", "utf-8")
    learning = spec(texts, objective, shape, **sizes).model_dump(mode="json")
    values = {
        "name": "plain",
        "pretrain": learning,
        "task": {"train": {"path": str(tmp_path / "rows.tsv")}, "max_length": 16},
        "teacher": {"training": {"epochs": 8, "batch_size": 8, "learning_rate": 3e-3}},
    }
    context = pipeline.run(parse(values), tmp_path / "run", until="teach")
    assert context.results["teach"]["scores"]["dev"]["accuracy"] > 0.9
    assert [stage["name"] for stage in context.stages] == ["pretrain", "teach"]
    shown = [part for part in outcome.stage(context.results, "teach", tmp_path / "run") if isinstance(part, str)]
    assert any("corpus: 6 documents, 180 passages" in line and "blank lines" in line for line in shown)
    model = checkpoint.family(tmp_path / "run" / "teacher")
    assert model == checkpoint.family(tmp_path / "run" / "pretrained")
    again = pipeline.run(parse(values), tmp_path / "run", until="teach")
    assert all(stage["reused"] for stage in again.stages)


def test_two_teachers_are_one_too_many(texts: Path) -> None:
    values = {"name": "x", "task": {"builtin": "assistant"}, "pretrain": spec(texts).model_dump(mode="json")}
    with pytest.raises(UsageError, match="take one of them out"):
        parse({**values, "teacher": {"model": "minilm"}})

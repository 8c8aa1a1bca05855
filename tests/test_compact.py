"""The model type of what no stock configuration holds: it has every head, reloads, and counts each weight once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attar.errors import AttarError
from attar.students.heads import create
from attar.teachers import checkpoint, compact, heads, layout, sharing
from attar.teachers.compact import Shape
from safetensors import safe_open
from small_models import CONFIGS, ENCODERS, FAMILIES, answers, saved, small
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, BertModel

LAYERS = ((2, 30), (3, 20), (1, 40))


def uneven(family: str, head: Any = "sequence", rank: int | None = 5) -> Any:
    """A model whose layers differ, 27 wide, which neither 2, 3 nor 1 heads of 8 make up."""
    shape = Shape(27, 3, 8, LAYERS[: 1 if family == "albert" else 3], rank)
    torch.manual_seed(0)
    return compact.like(small(family, head), shape)


HEADS = [(family, head) for family in ENCODERS for head in ("sequence", "tokens", "span", "choice", "embedding")]


@pytest.mark.parametrize(("family", "head"), [*HEADS, ("gpt2", "sequence")])
def test_every_head_of_every_family_reloads(family: str, head: Any, tmp_path: Path) -> None:
    model = uneven(family, head)
    again = heads.load(head, saved(model, tmp_path)).eval()
    assert compact.shape(again) == compact.shape(model)
    assert again.config.model_type == f"attar_{family}"
    assert torch.equal(answers(again, head), answers(model, head))
    stock = heads.HEADS[head].stock.from_pretrained(tmp_path).eval()  # the library's own way, once attar is imported
    assert torch.equal(answers(stock, head), answers(model, head))


@pytest.mark.parametrize(
    ("family", "head"), [("bert", "mlm"), ("distilbert", "mlm"), ("gpt2", "lm"), ("albert", "mlm")]
)
def test_language_heads_stay_tied(family: str, head: Any, tmp_path: Path) -> None:
    model = uneven(family, head, rank=None)
    kind = AutoModelForCausalLM if head == "lm" else AutoModelForMaskedLM
    again, new = checkpoint.read(kind, saved(model, tmp_path), families=checkpoint.FAMILIES)
    assert new == []
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    assert torch.equal(answers(again.eval(), head), answers(model, head))


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_the_shape(family: str, tmp_path: Path) -> None:
    model = uneven(family)
    inside = [block.module for block in compact.blocks(model)]
    found = [sum(weight.numel() for weight in module.parameters()) for module in inside]
    wanted = []
    for number, neurons in LAYERS[: len(inside)]:
        inner = 8 * number
        wanted.append(4 * 27 * inner + 3 * inner + 27 + 2 * 27 * neurons + neurons + 27 + 4 * 27)
    assert found == wanted
    words = model.get_input_embeddings()
    width = 16 if family == "albert" else 27
    assert sum(weight.numel() for weight in words.parameters()) == 60 * 5 + 5 * width
    total = checkpoint.unique_parameters(model)
    assert 0 <= (saved(model, tmp_path) / "model.safetensors").stat().st_size - 4 * total < 12_000  # the header


def test_the_stock_class_is_taken_where_it_holds_the_shape() -> None:
    model = small("bert", "encoder")
    narrow = compact.like(model, Shape(16, 2, 8, ((2, 20), (2, 20))))
    assert type(narrow) is BertModel
    assert not hasattr(narrow.config, compact.FIELD)
    assert narrow.pooler is None
    back = compact.like(uneven("bert"), compact.shape(small("bert")))
    assert type(back) is type(small("bert"))


@pytest.mark.parametrize("part", ["attention", "ffn", "all"])
def test_shared_layers_are_stored_once_and_stay_shared(part: Any, tmp_path: Path) -> None:
    model = compact.like(small("bert"), compact.shape(small("bert")), {"part": part, "group": 3})
    assert type(model).__name__ == "CompactBertForSequenceClassification"
    with safe_open(saved(model, tmp_path) / "model.safetensors", "pt") as file:
        names = set(file.keys())
    block = {"attention": "attention.self.query", "ffn": "output.dense", "all": "output.LayerNorm"}[part]
    assert [number for number in range(3) if f"bert.encoder.layer.{number}.{block}.weight" in names] == [0]
    again = heads.load("sequence", tmp_path).eval()
    layers = layout.layers(again)
    assert layers[2].get_submodule(block).weight is layers[0].get_submodule(block).weight
    assert torch.equal(answers(again), answers(model))
    sharing.unshare(again)
    assert layers[2].get_submodule(block).weight is not layers[0].get_submodule(block).weight


def test_a_new_model_of_the_shape_learns() -> None:
    fresh = type(uneven("bert"))(uneven("bert").config)
    layers = [weight.abs().mean() for name, weight in fresh.named_parameters() if name.endswith("dense.weight")]
    assert min(layers) > 0.005  # drawn, as the family draws its weights
    assert max(layers) < 0.05


@pytest.mark.parametrize(
    "stated",
    [None, {}, {"head_size": 8, "layers": [[2, 30]]}, {"head_size": 8, "layers": [[0, 30], [2, 30], [2, 30]]}],
)
def test_a_configuration_that_states_no_shape_is_one_clear_error(stated: Any, tmp_path: Path) -> None:
    saved(uneven("bert"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {compact.FIELD: stated}))
    with pytest.raises(AttarError, match=compact.FIELD):
        heads.load("sequence", tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    saved(uneven("bert"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config[compact.FIELD]["layers"][1] = [2, 20]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(AttarError, match="shape"):
        heads.load("sequence", tmp_path)


def test_a_compact_teacher_starts_no_student() -> None:
    with pytest.raises(AttarError, match="several shapes"):
        layout.read(uneven("bert", rank=None))


@pytest.mark.parametrize("family", ENCODERS)
def test_the_library_knows_the_types(family: str, tmp_path: Path) -> None:
    config = uneven(family, "encoder").config
    config.save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is type(config)
    assert isinstance(AutoModel.from_config(config), compact.Compact)
    assert not isinstance(create("encoder", CONFIGS[family]()), compact.Compact)

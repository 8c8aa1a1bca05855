"""Sharing of trained layers: equal layers lose nothing by it, and what a group starts from is what the recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attar import recipe
from attar.compress import sharing
from attar.compress.evidence import Evidence
from attar.compress.pruning import cut, goals
from attar.errors import AttarError, UsageError
from attar.teachers import checkpoint, compact, heads, layout
from attar.teachers.blocks import blocks
from attar.teachers.heads import pooling
from small_models import answers, batch, saved, small
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

NONE = Evidence()
WEIGHT = {"attention": "attention.self.value.weight", "ffn": "intermediate.dense.weight"}


def equal(model: PreTrainedModel, size: int) -> PreTrainedModel:
    """Give each group of layers the weights of its first."""
    layers = layout.layers(model)
    for number, layer in enumerate(layers):
        layer.load_state_dict(layers[number - number % size].state_dict())
    return model


@pytest.mark.parametrize("head", ["sequence", "tokens", "span", "choice", "embedding", "encoder"])
@pytest.mark.parametrize("groups", [1, 2])
def test_equal_layers_are_exactly_a_stock_albert(head: Any, groups: int, tmp_path: Path) -> None:
    model = equal(small("bert", head, num_hidden_layers=4), 4 // groups)
    if head == "embedding":
        setattr(model.config, pooling.FIELD, "cls")
    found = sharing.share(model, recipe.Share(groups=groups, start="first"), NONE)
    assert type(found).__name__ == type(model).__name__.replace("Bert", "Albert")
    assert found.config.num_hidden_groups == groups
    torch.testing.assert_close(answers(found, head), answers(model, head), atol=1e-5, rtol=1e-5)
    kind = AutoModel if head == "encoder" else heads.HEADS[head].stock
    again = kind.from_pretrained(saved(found, tmp_path)).eval()
    assert "attar" not in (tmp_path / "config.json").read_text().replace(pooling.FIELD, "")
    if head != "encoder":  # which has no pooler, and the library's has
        assert torch.equal(answers(again, head), answers(found, head))
    layer = sum(weight.numel() for weight in layout.layers(model)[0].parameters())
    identity = 32 * 32 + 32
    gone = checkpoint.unique_parameters(model) - checkpoint.unique_parameters(found)
    assert gone == (4 - groups) * layer - identity


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("part", ["all", "attention", "ffn"])
def test_equal_layers_lose_nothing_in_any_family(family: str, part: Any, tmp_path: Path) -> None:
    model = equal(small(family, num_hidden_layers=4), 2)
    found = sharing.share(model, recipe.Share(part=part, groups=2, start="mean"), NONE)
    torch.testing.assert_close(answers(found), answers(model), atol=1e-5, rtol=1e-5)
    assert checkpoint.unique_parameters(found) < checkpoint.unique_parameters(model)
    again = heads.load("sequence", saved(found, tmp_path)).eval()
    assert torch.equal(answers(again), answers(found))
    assert checkpoint.unique_parameters(again) == checkpoint.unique_parameters(found)


@pytest.mark.parametrize("part", ["attention", "ffn"])
@pytest.mark.parametrize("start", ["mean", "first"])
def test_where_a_group_starts(part: Any, start: Any) -> None:
    model = small(num_hidden_layers=4)
    own = [layer.get_parameter(WEIGHT[part]).detach().clone() for layer in layout.layers(model)]
    found = sharing.share(model, recipe.Share(part=part, groups=2, start=start), NONE)
    for number, layer in enumerate(layout.layers(found)):
        group = torch.stack(own[number - number % 2 :][:2])
        wanted = group.mean(0) if start == "mean" else group[0]
        assert torch.equal(layer.get_parameter(WEIGHT[part]), wanted)
    other = WEIGHT["ffn" if part == "attention" else "attention"]
    for before, after in zip(layout.layers(model), layout.layers(found), strict=True):
        assert torch.equal(before.get_parameter(other), after.get_parameter(other))  # which is not shared


def test_the_best_layer_loses_least() -> None:
    model = small()
    wanted = answers(model)

    def losses(one: PreTrainedModel) -> Iterator[Tensor]:
        yield (answers(one) - wanted).pow(2).mean()

    found = sharing.share(model, recipe.Share(part="ffn", start="best"), Evidence(losses=losses))
    tried = []
    for candidate in range(3):
        work = small()
        layers = layout.layers(work)
        for layer in layers:
            for name in ("intermediate", "output"):
                state = layers[candidate].get_submodule(name).state_dict()
                layer.get_submodule(name).load_state_dict({key: value.clone() for key, value in state.items()})
        tried.append(float((answers(work) - wanted).pow(2).mean()))
    best = min(range(3), key=tried.__getitem__)
    assert len(set(tried)) == 3
    weight = blocks(found)[0].get("up").weight
    assert torch.equal(weight, blocks(model)[best].get("up").weight)
    torch.testing.assert_close(float((answers(found) - wanted).pow(2).mean()), tried[best])


def test_layers_learn_together_after_sharing() -> None:
    found = sharing.share(small("distilbert"), recipe.Share(part="all", start="first"), NONE).train()
    inputs = {name: torch.from_numpy(values) for name, values in batch(found).items()}
    optimizer = torch.optim.SGD(found.parameters(), 0.1)
    found(**inputs).logits.pow(2).sum().backward()
    optimizer.step()
    first, last = layout.layers(found)[0], layout.layers(found)[-1]
    assert first.ffn.lin1.weight is last.ffn.lin1.weight
    assert first.ffn.lin1.weight.grad is not None


def test_wrong_sharing() -> None:
    four = small(num_hidden_layers=4)
    for groups, fix in ((3, "use 1 or 2"), (4, "use 1 or 2")):
        with pytest.raises(UsageError, match=f"4 layers are not {groups} groups.*{fix}"):
            sharing.share(four, recipe.Share(groups=groups, start="first"), NONE)
    for shared in (small("albert"), sharing.share(four, recipe.Share(part="ffn", start="first"), NONE)):
        with pytest.raises(UsageError, match="shared already"):
            sharing.share(shared, recipe.Share(start="first"), NONE)
    with pytest.raises(UsageError, match="layers of gpt2"):
        sharing.share(small("gpt2"), recipe.Share(start="first"), NONE)
    with pytest.raises(AttarError, match=r"share.start: best needs a loss"):
        sharing.share(four, recipe.Share(), NONE)
    with pytest.raises(UsageError, match="no batch"):
        sharing.share(four, recipe.Share(), Evidence(losses=lambda model: []))
    spec = recipe.Prune(ffn=0.4, scope="global", importance="magnitude")
    uneven = cut(four, goals(four, spec)[0], spec, NONE).student
    assert len(set(compact.shape(uneven).layers)) > 1
    with pytest.raises(UsageError, match="several shapes"):
        sharing.share(uneven, recipe.Share(part="ffn", start="first"), NONE)
    assert sharing.share(uneven, recipe.Share(part="attention", start="first"), NONE) is not None

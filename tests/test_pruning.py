"""Pruning: what does nothing goes first and leaves the answers as they were; sizes and scores are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from attar import recipe
from attar.compress import energies, importance, pruning, sharing
from attar.compress.evidence import Evidence
from attar.compress.plain import joined, plain
from attar.compress.units import norms
from attar.errors import AttarError, UsageError
from attar.export import cached, onnx, parity
from attar.tasks.encoding import Features
from attar.teachers import checkpoint, compact, heads, layout
from attar.teachers.blocks import blocks
from hypothesis import given
from hypothesis import strategies as st
from small_models import FAMILIES, answers, batch, saved, small
from torch import Tensor
from transformers import BertForSequenceClassification, PreTrainedModel

NONE = Evidence()
SILENT_HEADS = {0: [1], 1: [0, 2, 3], 2: []}  # by layer
SILENT_NEURONS = {0: [3, 40], 1: [0, 7, 9, 11, 47], 2: [5]}


def loss(model: PreTrainedModel) -> Iterator[Tensor]:
    """Two batches of one loss."""
    inputs = {name: torch.from_numpy(values) for name, values in batch(model).items()}
    for rows in (slice(0, 2), slice(2, 4)):
        yield model(**{name: values[rows] for name, values in inputs.items()})[0].pow(2).mean()


def evidence(model: PreTrainedModel) -> Evidence:
    return Evidence([batch(model)], loss)


def silence(model: PreTrainedModel) -> PreTrainedModel:
    """Let some heads and neurons write nothing, without a trace of weight; an ALBERT has one layer."""
    work = plain(model)
    with torch.no_grad():
        for number, block in enumerate(blocks(work)):
            for head in SILENT_HEADS[number]:
                part = slice(8 * head, 8 * head + 8)
                block.get("output").weight[:, part] = 0
                for name in ("query", "key", "value"):
                    block.get(name).weight[part] = 0
            block.get("down").weight[:, SILENT_NEURONS[number]] = 0
            block.get("up").weight[SILENT_NEURONS[number]] = 0
    model.load_state_dict(joined(work))
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("measure", ["magnitude", "taylor", "activation"])
def test_what_writes_nothing_goes_first_and_changes_nothing(family: str, measure: Any, tmp_path: Path) -> None:
    model = silence(small(family))
    before = answers(model)
    layers = 1 if family == "albert" else 3
    gone = [(len(SILENT_HEADS[layer]), len(SILENT_NEURONS[layer])) for layer in range(layers)]
    heads_left, neurons_left = 4 * layers - sum(h for h, _ in gone), 48 * layers - sum(n for _, n in gone)
    spec = recipe.Prune(heads=0.5, importance=measure, scope="global")
    goal = pruning.Goal(3, 32, heads_left, neurons_left)
    found, stay, left = pruning.cut(model, goal, spec, evidence(model))
    assert compact.shape(found).layers == tuple((4 - h, 48 - n) for h, n in gone)
    silent = [SILENT_HEADS[0 if family == "albert" else layer] for layer in range(3)]
    assert stay == [1, 2, 3] and left == [[head for head in range(4) if head not in gone] for gone in silent]
    torch.testing.assert_close(answers(found), before, atol=1e-5, rtol=1e-5)
    assert torch.equal(answers(model), before)  # which stays as it was
    again = heads.load("sequence", saved(found, tmp_path)).eval()
    assert torch.equal(answers(again), answers(found))


@pytest.mark.parametrize("family", FAMILIES)
def test_ratios_are_the_sizes(family: str) -> None:
    model = small(family)
    spec = recipe.Prune(heads=0.5, ffn=0.25, hidden=0.25, layers=0.34, importance="magnitude")
    (goal,) = pruning.goals(model, spec)
    found = pruning.cut(model, goal, spec, NONE).student
    own = 1 if family == "albert" else 2
    assert compact.shape(found) == compact.Shape(24, 2, 8, ((2, 36),) * own)
    assert layout.shape(found).layers == 2
    assert answers(found).shape == (4, 3)


def test_evenly_cut_is_a_stock_bert(tmp_path: Path) -> None:
    model = small()
    spec = recipe.Prune(heads=0.5, hidden=0.5, ffn=0.5, importance="magnitude")
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, NONE).student
    assert type(found) is BertForSequenceClassification
    stock = BertForSequenceClassification.from_pretrained(saved(found, tmp_path)).eval()
    assert (stock.config.hidden_size, stock.config.num_attention_heads, stock.config.intermediate_size) == (16, 2, 24)
    assert torch.equal(answers(stock), answers(found))
    assert 0 <= (tmp_path / "model.safetensors").stat().st_size - 4 * checkpoint.unique_parameters(found) < 12_000


@pytest.mark.parametrize("head", ["sequence", "mlm"])
def test_hidden_units_go_everywhere(head: Any) -> None:
    model: Any = small("bert", head)
    spec = recipe.Prune(hidden=0.25, importance="activation")
    found: Any = pruning.cut(model, pruning.goals(model, spec)[0], spec, evidence(model)).student
    old, new = model.bert, found.bert
    table = old.embeddings.word_embeddings.weight
    columns = {tuple(column.tolist()): number for number, column in enumerate(table.T)}
    kept = torch.tensor([columns[tuple(column.tolist())] for column in new.embeddings.word_embeddings.weight.T])
    scores = energies.activation(plain(model), evidence(model)).hidden
    assert set(kept.tolist()) == set(scores.topk(24).indices.tolist())
    assert kept.tolist() == sorted(kept.tolist())
    for before, after in zip(old.encoder.layer, new.encoder.layer, strict=True):
        assert torch.equal(after.attention.self.key.weight, before.attention.self.key.weight[:, kept])
        assert torch.equal(after.attention.output.dense.weight, before.attention.output.dense.weight[kept])
        assert torch.equal(after.output.dense.bias, before.output.dense.bias[kept])
        assert torch.equal(after.output.LayerNorm.weight, before.output.LayerNorm.weight[kept])
    if head == "sequence":
        assert torch.equal(new.pooler.dense.weight, old.pooler.dense.weight[kept][:, kept])
        assert torch.equal(found.classifier.weight, model.classifier.weight[:, kept])
    else:
        dense = model.cls.predictions.transform.dense.weight
        assert torch.equal(found.cls.predictions.transform.dense.weight, dense[kept][:, kept])
        assert found.cls.predictions.decoder.weight is new.embeddings.word_embeddings.weight


@pytest.mark.parametrize("family", FAMILIES)
def test_taylor_scores_are_derivatives_by_gates(family: str) -> None:
    work = plain(small(family)).double()
    found = importance.taylor(work, Evidence(losses=loss))

    def slope(modules: list[Any], gate: Tensor, *, reads: bool = False) -> Any:
        """Sum over batches of |d loss / d gate|, by central differences; the gate is on what modules read or write."""
        sides = []
        for step in (1e-5, -1e-5):
            scale = 1 + step * gate
            if reads:
                hooks = [one.register_forward_pre_hook(lambda m, x, by=scale: (x[0] * by, *x[1:])) for one in modules]
            else:
                hooks = [one.register_forward_hook(lambda m, x, y, by=scale: y * by) for one in modules]
            with torch.no_grad():
                sides.append(torch.stack(list(loss(work))))
            for hook in hooks:
                hook.remove()
        return pytest.approx(float(((sides[0] - sides[1]) / 2e-5).abs().sum()), rel=1e-4, abs=1e-8)

    block = blocks(work)[0]
    output, down = block.get("output"), block.get("down")
    numbers = torch.arange(48)
    assert float(found.heads[0][1]) == slope([output], (numbers[:32] // 8 == 1).double(), reads=True)
    assert float(found.neurons[0][7]) == slope([down], (numbers == 7).double(), reads=True)
    assert float(found.hidden[5]) == slope(norms(work), (numbers[:32] == 5).double())
    assert float(found.layers[0]) == slope([output, down], torch.ones(1, dtype=torch.double))


def test_energies_are_those_of_what_is_written() -> None:
    model = small("bert", "encoder")
    work = plain(model)
    found = energies.activation(work, evidence(model))
    inputs = {name: torch.from_numpy(values) for name, values in batch(model).items()}
    real, block = inputs["attention_mask"].bool(), blocks(work)[1]
    seen: dict[str, Tensor] = {}
    for name in ("output", "down"):
        block.get(name).register_forward_pre_hook(lambda m, args, name=name: seen.__setitem__(name, args[0][real]))
    with torch.no_grad():
        states = work(**inputs, output_hidden_states=True).hidden_states
        before, after = states[1][real], states[2][real]
        weight = block.get("output").weight
        heads_ = [(seen["output"][:, i : i + 8] @ weight[:, i : i + 8].T).pow(2).sum(1).mean() for i in range(0, 32, 8)]
        column = block.get("down").weight[:, 5]
        neuron = (seen["down"][:, 5, None] * column).pow(2).sum(1).mean()
        turned = 1 - torch.nn.functional.cosine_similarity(before, after, -1).mean()
    torch.testing.assert_close(found.heads[1].float(), torch.stack(heads_))
    torch.testing.assert_close(found.neurons[1][5].float(), neuron)
    torch.testing.assert_close(found.layers[1].float(), turned)


def test_a_layer_that_does_nothing_is_the_one_to_go() -> None:
    model = small()
    with torch.no_grad():  # a norm of a norm is that norm, where it has no weights of its own
        for name in ("attention.output", "output"):
            for number in (0, 1):
                norm = layout.layers(model)[number].get_submodule(f"{name}.LayerNorm")
                norm.weight.fill_(1), norm.bias.fill_(0)
            dense = layout.layers(model)[1].get_submodule(f"{name}.dense")
            dense.weight.zero_(), dense.bias.zero_()
    before = answers(model)
    for measure in ("activation", "magnitude"):
        spec = recipe.Prune(layers=0.34, importance=measure)
        found = pruning.cut(model, pruning.goals(model, spec)[0], spec, evidence(model)).student
        assert layout.shape(found).layers == 2
        torch.testing.assert_close(answers(found), before, atol=1e-4, rtol=1e-4)


def test_steps_end_where_one_cut_does() -> None:
    model = small(num_hidden_layers=4)
    spec = recipe.Prune(heads=0.5, ffn=0.5, hidden=0.25, layers=0.5, steps=3, importance="magnitude")
    goals = pruning.goals(model, spec)
    assert [goal.layers for goal in goals] == [3, 3, 2]
    assert [goal.hidden for goal in goals] == [29, 27, 24]
    assert goals[-1] == pruning.goals(model, spec.model_copy(update={"steps": 1}))[0]
    for goal in goals:
        model = pruning.cut(model, goal, spec, NONE).student
        assert compact.shape(model).layers == ((goal.heads[0], goal.neurons[0]),) * goal.layers
    assert compact.shape(model) == compact.Shape(24, 2, 8, ((2, 24), (2, 24)))


@pytest.mark.parametrize("part", ["all", "attention", "ffn"])
def test_a_shared_student_is_cut_in_all_its_layers_at_once(part: Any, tmp_path: Path) -> None:
    model = sharing.share(small(), recipe.Share(part=part, start="first"), NONE)
    spec = recipe.Prune(heads=0.5, ffn=0.5, layers=0.34, importance="taylor")
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, evidence(model)).student
    again = heads.load("sequence", saved(found, tmp_path)).eval()
    assert torch.equal(answers(again), answers(found))
    assert set(compact.shape(again).layers) == {(2, 24)}
    assert layout.shape(again).layers == 2
    own = {"all": (1, 1), "attention": (1, 2), "ffn": (2, 1)}[part]
    found_own = tuple(len({id(block.get(name).weight) for block in blocks(again)}) for name in ("output", "down"))
    assert found_own == own


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=8), min_size=1, max_size=5), st.data())
def test_the_best_stay(scores: list[list[int]], data: st.DataObject) -> None:
    every = sum(map(len, scores))
    count = data.draw(st.integers(len(scores), every))
    stay = pruning.most([torch.tensor(score) for score in scores], count)
    assert [len(one) for one in stay] == [len(score) for score in scores]
    assert sum(int(one.sum()) for one in stay) == count
    dropped = [
        s for score, one in zip(scores, stay, strict=True) for s, kept in zip(score, one, strict=True) if not kept
    ]
    for score, one in zip(scores, stay, strict=True):
        kept = sorted((s for s, here in zip(score, one, strict=True) if here), reverse=True)
        assert kept[0] == max(score)  # every layer keeps its best
        assert all(s >= max(dropped, default=0) for s in kept[1:])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_every_layer_keeps_a_head_and_a_neuron_whatever_the_ratios(scope: Any) -> None:
    model = small()
    spec = recipe.Prune(heads=0.9, ffn=0.995, layers=0.34, importance="magnitude", scope=scope)
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, NONE).student
    assert compact.shape(found).layers == ((1, 1), (1, 1))


@pytest.mark.parametrize("steps", [1, 2])
def test_no_more_heads_are_to_stay_than_the_layers_that_stay_have(steps: int) -> None:
    """An average layer has 5 of the heads, of which 9 in 10 are to stay; the one that stays has 2."""
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 8}
    first = recipe.Prune(heads=0.34, importance="magnitude")
    model = small(**sizes)
    with torch.no_grad():  # the first layer matters most
        blocks(model)[0].get("down").weight.mul_(9)
    uneven = pruning.cut(model, pruning.Goal(2, 64, (2, 8), None), first, NONE).student
    assert [heads for heads, _ in compact.shape(uneven).layers] == [2, 8]
    spec = recipe.Prune(heads=0.1, layers=0.5, importance="magnitude", scope="global", steps=steps)
    for goal in pruning.goals(uneven, spec):
        uneven = pruning.cut(uneven, goal, spec, NONE).student
    assert compact.shape(uneven).layers == ((2, 48),)


def test_heads_that_all_layers_share_do_not_go_with_a_layer() -> None:
    model = sharing.share(small(), recipe.Share(part="attention", start="first"), NONE)
    spec = recipe.Prune(heads=0.25, layers=0.34, importance="magnitude", scope="global")
    (goal,) = pruning.goals(model, spec)
    assert compact.shape(pruning.cut(model, goal, spec, NONE).student).layers == ((3, 48), (3, 48))


@pytest.mark.parametrize(("groups", "layers", "stay"), [(1, 0.5, [1, 2]), (2, 0.5, [1, 3]), (1, 0.25, [1, 2, 3])])
def test_of_an_alberts_layers_the_first_of_each_group_stay(groups: int, layers: float, stay: list[int]) -> None:
    model = sharing.share(small(num_hidden_layers=4), recipe.Share(part="all", groups=groups, start="first"), NONE)
    assert layout.kind(model.config) == "albert"
    spec = recipe.Prune(layers=layers, importance="magnitude")
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, NONE)
    assert found.layers == stay and layout.shape(found.student).layers == len(stay)
    states, before = ([*hidden_states(one)] for one in (found.student, model))
    assert torch.equal(states[1], before[1])  # and compute what they did, up to the first that is gone


def hidden_states(model: PreTrainedModel) -> Iterator[Tensor]:
    inputs = {name: torch.from_numpy(values) for name, values in batch(model).items()}
    with torch.no_grad():
        yield from model(**inputs, output_hidden_states=True).hidden_states


def test_wrong_cuts() -> None:
    model = small()
    for field in ("hidden", "layers"):
        spec = recipe.Prune(**{field: 0.99}, importance="magnitude")
        with pytest.raises(UsageError, match=f"prune.{field}: .*leaves nothing"):
            pruning.goals(model, spec)
    little = [("layers", 0.1, "3"), ("hidden", 0.01, "32"), ("heads", 0.1, "4 in each layer"), ("ffn", 0.01, "48 in")]
    for field, ratio, number in little:
        spec = recipe.Prune(**{field: ratio}, importance="magnitude", scope="layer")
        with pytest.raises(UsageError, match=f"prune.{field}: {ratio} of {number}.* cuts nothing"):
            pruning.goals(model, spec)
    with pytest.raises(UsageError, match=r"prune\.heads: 0\.02 of 12 cuts nothing"):
        pruning.goals(model, recipe.Prune(heads=0.02, importance="magnitude", scope="global", steps=2))
    spec = recipe.Prune(heads=0.5, importance="magnitude")
    for goal in (pruning.Goal(4, 32, (4,) * 3, (48,) * 3), pruning.Goal(3, 40, (4,) * 3, (48,) * 3)):
        with pytest.raises(UsageError, match="and not"):
            pruning.cut(model, goal, spec, NONE)
    with pytest.raises(UsageError, match="13 of 12"):
        pruning.cut(model, pruning.Goal(3, 32, 13, 48 * 3), spec, NONE)
    for measure, lacks in (("taylor", "a loss"), ("activation", "training rows")):
        with pytest.raises(AttarError, match=f"needs {lacks}"):
            pruning.cut(model, pruning.goals(model, spec)[0], recipe.Prune(heads=0.5, importance=measure), NONE)
    nan = Evidence(losses=lambda model: [next(loss(model)) * float("nan")])
    with pytest.raises(AttarError, match="batch 1 is nan"):
        pruning.cut(model, pruning.goals(model, spec)[0], recipe.Prune(heads=0.5), nan)
    grouped = sharing.share(small(num_hidden_layers=4), recipe.Share(part="ffn", groups=2, start="first"), NONE)
    spec = recipe.Prune(layers=0.5, importance="magnitude")
    with pytest.raises(UsageError, match="before `share`"):
        pruning.cut(grouped, pruning.goals(grouped, spec)[0], spec, NONE)
    albert = small("albert", num_hidden_layers=4, num_hidden_groups=2)
    with pytest.raises(UsageError, match="multiple of 2"):
        pruning.cut(albert, pruning.Goal(3, 32, (4, 4), (48, 48)), spec, NONE)


def test_an_uneven_gpt2_exports_to_onnx(tmp_path: Path) -> None:
    model = silence(small("gpt2"))
    spec = recipe.Prune(heads=0.34, ffn=0.2, hidden=0.1, scope="global", importance="activation")
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, evidence(model)).student
    assert len({block.heads for block in blocks(found)}) > 1
    onnx.export_fp32(saved(found, tmp_path / "model"), tmp_path / "fp32.onnx")
    rows = [Features([5, 9, 30, 2], [0] * 4), Features([7, 50], [0] * 2)]
    golden = list(zip(rows, heads.answers(found, "sequence", rows, 0), strict=True))
    compared = parity.compare(tmp_path / "fp32.onnx", "onnxruntime", golden, 1e-4)
    assert compared.passed, compared.reason


def test_a_language_model_needs_as_many_heads_in_every_layer() -> None:
    model = silence(small("gpt2", "lm"))
    spec = recipe.Prune(heads=0.5, importance="activation")
    found = pruning.cut(model, pruning.goals(model, spec)[0], spec, evidence(model)).student
    assert (cached.describe(found, None).heads, cached.describe(found, None).width) == (2, 8)
    uneven = pruning.cut(model, pruning.Goal(3, 32, 8, 144), spec, evidence(model)).student
    with pytest.raises(AttarError, match="scope: layer"):
        cached.describe(uneven, None)

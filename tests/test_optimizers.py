"""Muon beside AdamW: which weights it moves, and how far."""

import numpy as np
import pytest
import torch
from attar import optimizers
from attar.recipe import Optimization
from attar.teachers import shapes
from torch import nn
from transformers import BertForPreTraining


def plan(**settings: object) -> Optimization:
    return Optimization.model_validate({"optimizer": "muon", "weight_decay": 0.0, "learning_rate": 0.01, **settings})


def test_muon_moves_hidden_matrices_and_adamw_all_else() -> None:
    model = BertForPreTraining(shapes.config(shapes.shape("bert-mini", vocabulary=500, positions=32)))
    muon, adamw = optimizers.build(model, plan())
    by_id = {id(weight): name for name, weight in model.named_parameters()}
    hidden = {by_id[id(weight)] for group in muon.param_groups for weight in group["params"]}
    rest = {by_id[id(weight)] for group in adamw.param_groups for weight in group["params"]}
    assert hidden | rest == set(by_id.values()) and not hidden & rest
    assert len(hidden) == 4 * 6 + 2  # and the pooler, and the transformation before the tied output matrix
    assert not any("embeddings" in name or "decoder" in name or "seq_relationship" in name for name in hidden)


def test_frozen_weights_are_moved_by_none() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    model[0].weight.requires_grad_(False)
    assert [id(weight) for weight in optimizers.hidden_matrices(model)] == [id(model[1].weight)]


def test_without_hidden_matrices_adamw_is_alone() -> None:
    assert len(optimizers.build(nn.Linear(64, 3), plan())) == 1


@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (64, 256)])
def test_all_directions_of_a_matrix_move_alike(shape: tuple[int, int]) -> None:
    """Against numpy's decomposition of the same gradient: its directions stay, its singular values become about one."""
    torch.manual_seed(0)
    layer = nn.Linear(shape[1], shape[0])
    before = layer.weight.detach().clone()
    gradient = torch.randn(shape) @ torch.diag(torch.logspace(0, -0.5, shape[1]))
    layer.weight.grad, layer.bias.grad = gradient, torch.zeros(shape[0])
    for mover in optimizers.build(layer, plan()):
        mover.step()
    step = (before - layer.weight.detach()).double().numpy() / (0.01 * 0.2 * max(shape) ** 0.5)
    left, _, right = np.linalg.svd(gradient.double().numpy(), full_matrices=False)
    values = np.diag(left.T @ step @ right.T)
    assert values.min() > 0.6 and values.max() < 1.3
    assert np.abs(left.T @ step @ right.T - np.diag(values)).max() < 0.05

"""The ready recipes that pre-train: how much of BERT's arithmetic each does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attar import recipe_file
from attar.teachers import objectives, pretrain, shapes
from attar.teachers.objectives.pieces import Pieces
from torch.utils.flop_counter import FlopCounterMode


def operations(name: str) -> float:
    """Floating-point operations of the forward and backward passes over all rows of a recipe."""
    spec = recipe_file.load(Path(name)).pretrain
    assert spec is not None and spec.limit is not None
    size = shapes.shape(spec.shape, vocabulary=spec.vocabulary.size, positions=spec.positions)
    config = shapes.config(size, shapes.Special(pad=0, start=2, end=3))
    config._attn_implementation = "eager"  # the counter does not know the CPU's fused kernel
    pieces = Pieces(spec.vocabulary.size, 0, 2, 3, 4, frozenset(range(5)))
    given = None if spec.objective == "causal" else pieces
    objective = objectives.build(spec.objective, config, given, pretrain.settings_of(spec))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, spec.vocabulary.size, (4, spec.max_length), generator=generator)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if pieces and spec.objective != "causal":
        batch |= {"token_type_ids": torch.zeros_like(ids), "pair_label": torch.zeros(len(ids), dtype=torch.long)}
    with FlopCounterMode(display=False) as counter:
        torch.stack(list(objective.loss(batch, generator).values())).sum().backward()
    return counter.get_total_flops() / len(ids) * spec.limit


@pytest.mark.parametrize(("name", "share"), [("mini-albert", 1.0), ("mini-electra", 1.0), ("mini-gpt", 0.57)])
def test_every_mini_recipe_costs_what_it_says(name: str, share: float) -> None:
    assert operations(name) == pytest.approx(share * operations("mini-bert"), rel=0.02)


def test_the_gpt_classifier_takes_the_teacher_of_mini_gpt() -> None:
    ours, theirs = (recipe_file.load(Path(name)) for name in ("gpt-trec", "mini-gpt"))
    assert (ours.pretrain, ours.task, ours.teacher, ours.seed) == (
        theirs.pretrain, theirs.task, theirs.teacher, theirs.seed,
    )  # fmt: skip

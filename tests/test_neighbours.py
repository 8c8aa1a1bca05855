"""A start that looks at neighbours: what the first heads attend to, in each family that can start so."""

from typing import Any

import pytest
import torch
from attar.errors import UsageError
from attar.teachers import layout, neighbours, shapes
from attar.teachers.objectives import replaced_token
from transformers import (
    AlbertForPreTraining,
    BertForPreTraining,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    GPT2LMHeadModel,
)

LENGTH = 32
ENCODERS = [
    (BertForPreTraining, "bert-mini"),
    (AlbertForPreTraining, "albert-mini"),
    (ElectraForPreTraining, "electra-mini"),
]


def started(kind: Any, config: Any) -> Any:
    config._attn_implementation = "eager"
    with shapes.seeded(0):
        model = kind(config).eval()
        neighbours.start(model)
    return model


def config(name: str) -> Any:
    return shapes.config(shapes.shape(name, vocabulary=500, positions=64))


def looked_at(model: Any, layer: int, head: int) -> int:
    """The offset that a head attends to most, over all places of a row of random pieces that have it in the row."""
    torch.manual_seed(1)
    ids = torch.randint(5, 500, (8, LENGTH))
    with torch.no_grad():
        attention = layout.encoder(model)(ids, output_attentions=True).attentions[layer][:, head]
    inner = torch.arange(4, LENGTH - 4)
    means = {by: float(attention[:, inner, inner + by].mean()) for by in range(-4, 5)}
    return max(means, key=means.__getitem__)


@pytest.mark.parametrize(("kind", "name"), ENCODERS)
def test_the_first_heads_look_at_neighbours(kind: Any, name: str) -> None:
    model = started(kind, config(name))
    assert [looked_at(model, 0, head) for head in range(4)] == [-1, 1, -2, 2]


def test_a_narrow_generator_has_its_heads_in_several_layers() -> None:
    model = started(ElectraForMaskedLM, replaced_token.generator_config(config("electra-mini"), 0.25))
    assert model.config.num_attention_heads == 1
    assert [looked_at(model, layer, 0) for layer in range(2)] == [-1, 1]


def test_a_rotation_leads_from_each_position_to_its_neighbour() -> None:
    waves = neighbours.sinusoids(20, 48)
    for offset in neighbours.OFFSETS:
        turn = neighbours.rotation(32, 48, offset)
        found = waves[3:15, :32] @ turn.T
        assert torch.allclose(found, waves[3 + offset : 15 + offset, :32], atol=1e-5)


def test_a_decoder_is_refused() -> None:
    with pytest.raises(UsageError, match="decoder"):
        neighbours.start(GPT2LMHeadModel(config("gpt2-mini")))

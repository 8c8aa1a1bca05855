"""What is kept of a model is what the library reports, of the asked layers alone, and nothing above them runs."""

import pytest
import torch
from attar.compress import attention, states
from attar.compress.states import Wanted
from attar.teachers import layout
from hypothesis import given
from hypothesis import strategies as st
from test_losses import mask_of
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    GPT2Config,
    GPT2Model,
    OpenAIGPTConfig,
    OpenAIGPTModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

SMALL = {"vocab_size": 50, "num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
MODELS = {
    "albert": lambda: AlbertModel(AlbertConfig(**SMALL, embedding_size=8, num_hidden_groups=2)),
    "bert": lambda: BertModel(BertConfig(**SMALL)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(vocab_size=50, n_layers=4, dim=16, n_heads=2, hidden_dim=32)
    ),
    "electra": lambda: ElectraModel(ElectraConfig(**SMALL, embedding_size=8)),
    "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=50, n_layer=4, n_embd=16, n_head=2, n_positions=16)),
    "openai-gpt": lambda: OpenAIGPTModel(
        OpenAIGPTConfig(vocab_size=50, n_layer=4, n_embd=16, n_head=2, n_positions=16)
    ),
    "roberta": lambda: RobertaModel(RobertaConfig(**SMALL)),
}
INPUTS = {"input_ids": torch.randint(2, 50, (2, 6), generator=torch.Generator().manual_seed(0))}
INPUTS["attention_mask"] = mask_of([6, 3], 6)


def model(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return MODELS[family]().eval()


@pytest.mark.parametrize("family", MODELS)
def test_the_asked_hidden_states_are_the_librarys(family: str) -> None:
    found = model(family)
    with torch.no_grad():
        expected = found(**INPUTS, output_hidden_states=True).hidden_states
        for asked in ({0}, {4}, {0, 2}, {1, 3, 4}):
            seen = states.run(found, INPUTS, Wanted(hidden=frozenset(asked)))
            assert seen.hidden.keys() == asked
            for layer in asked:
                assert torch.equal(seen.hidden[layer], expected[layer])


@pytest.mark.parametrize("family", sorted(MODELS.keys() - {"openai-gpt"}))  # whose attention is its own
def test_scores_and_vectors_of_single_layers(family: str) -> None:
    """Each layer's are the same, whichever others are asked for, and the fused layers compute the same states."""
    found = model(family)
    every = frozenset({1, 2, 3, 4})
    with torch.no_grad(), attention.recordable(found):
        full = states.run(found, INPUTS, Wanted(every, every, every))
        part = states.run(found, INPUTS, Wanted(frozenset({4}), frozenset({2}), frozenset({3})))
    assert (part.hidden.keys(), part.scores.keys(), part.vectors.keys()) == ({4}, {2}, {3})
    real = INPUTS["attention_mask"][..., None]
    assert torch.allclose(part.hidden[4] * real, full.hidden[4] * real, atol=1e-5)
    assert torch.allclose(part.scores[2][1, :, :3, :3], full.scores[2][1, :, :3, :3], atol=1e-5)
    assert torch.allclose(part.vectors[3][1, :, :, :3], full.vectors[3][1, :, :, :3], atol=1e-5)


@given(st.integers(0, 4), st.sampled_from(["hidden", "vectors"]))
def test_nothing_above_the_highest_asked_layer_runs(highest: int, kind: str) -> None:
    found, ran = model("bert"), []
    for number, layer in enumerate(layout.layers(found), 1):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    found.pooler.register_forward_hook(lambda *_: ran.append("pooler"))
    asked = frozenset({highest} if kind == "hidden" else {max(1, highest)})
    with attention.recordable(found):
        states.run(found, INPUTS, Wanted(**{kind: asked}))
    assert ran == list(range(1, max(asked) + 1))


def test_the_norm_above_a_gpts_layers_runs_where_the_highest_state_is_read() -> None:
    found, ran = model("gpt2"), []
    found.ln_f.register_forward_hook(lambda *_: ran.append("norm"))
    states.run(found, INPUTS, Wanted(hidden=frozenset({3})))
    assert not ran
    states.run(found, INPUTS, Wanted(hidden=frozenset({4})))
    assert ran == ["norm"]


def test_watching_changes_nothing_and_states_carry_gradients() -> None:
    found = model("bert")
    expected = found(**INPUTS).pooler_output
    with states.watching(found, Wanted(hidden=frozenset({2}))) as seen:
        assert torch.equal(found(**INPUTS).pooler_output, expected)
    seen.hidden[2].sum().backward()
    weights = [layer.output.dense.weight.grad for layer in layout.layers(found)]
    assert [grad is not None for grad in weights] == [True, True, False, False]
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layout.layers(found))

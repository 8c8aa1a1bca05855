"""A language model as a graph that keeps its keys and values (KV cache): from the next pieces to logits.

- Inputs: `input_ids` (1, pieces) and for each layer `past_key_values.N.key` and `.value`, (1, heads, past, width),
  which are empty at first. Outputs: `logits` (1, pieces, vocabulary) and `present.N.key` and `.value`, (1, heads,
  past + pieces, width), the next call's past. The names are those of Optimum's exports.
- A piece's position is the number of pieces before it, so that neither positions nor a mask are fed.
- All pieces have logits: a text's perplexity is measured with the graph that continues it.
- GPT-2 alone: stock GPT-1 keeps no keys and values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from ..errors import AttarError
from ..teachers import checkpoint, compact
from . import onnx
from .manifest import Input, LanguageCard
from .wrapper import MASKED


class Cached(nn.Module):
    """A GPT-2 whose past is a list of tensors, a layer's keys and then its values."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.eval()

    def forward(self, input_ids: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits (1, pieces, vocabulary) and the keys and values of all pieces so far."""
        before, pieces = past[0].shape[2], input_ids.shape[1]
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        places = torch.arange(before + pieces)
        later = (places[None, :] > places[before:, None]).to(torch.float32)
        states = self.model.base_model(
            input_ids=input_ids,
            position_ids=places[None, before:],
            attention_mask=(later * MASKED)[None, None],
            past_key_values=cache,
            use_cache=True,
        )[0]
        present = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        # Of two axes, a product with a transposed matrix is exported as one operator, which the quantizer knows.
        return (self.model.get_output_embeddings()(states[0])[None], *present)


def export_fp32(model_folder: Path, out: Path) -> list[Input]:
    """Write the language model of a saved folder as ONNX; gives its inputs but for the past, which the card states.

    Raises `AttarError` for a GPT-1.
    """
    model = checkpoint.load(AutoModelForCausalLM, model_folder, families=checkpoint.DECODERS).eval()
    if model.config.model_type == "openai-gpt":
        what = "a GPT-1 keeps no keys and values, so that no language model of it is exported"
        raise AttarError(what, where=str(model_folder), fix="take a GPT-2")
    model.set_attn_implementation("eager")
    card = describe(model, None)
    past = [torch.zeros(1, card.heads, 3, card.width) for _ in range(2 * card.layers)]
    before, pieces = torch.export.Dim("past"), torch.export.Dim("pieces")
    onnx.write(
        Cached(model),
        {"input_ids": torch.arange(5)[None], "past": past},
        {"input_ids": {1: pieces}, "past": [{2: before} for _ in past]},
        (["input_ids", *card.past], ["logits", *card.present]),
        out,
        str(model_folder),
    )
    return [Input(name="input_ids", dtype="int64")]


def describe(model: PreTrainedModel, end_id: int | None) -> LanguageCard:
    """What a device must know of the model to run it."""
    config, shape = model.config, compact.shape(model)
    if len({heads for heads, _ in shape.layers}) > 1:
        what = "the layers have different numbers of heads, and the cache of a device has one"
        raise AttarError(what, where="export", fix="prune with `scope: layer`")
    return LanguageCard(
        layers=config.n_layer,
        heads=shape.layers[0][0],
        width=shape.head_size,
        positions=checkpoint.positions(config),
        end_id=end_id,
    )

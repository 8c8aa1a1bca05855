"""The layers of any family as heads and neurons: where they are, how many, and how to give a layer others.

- `layout` knows the weights of encoders that a student can be started from; here are ALBERT and GPT-2 too.
- GPT-2 keeps query, key and value in one matrix (`fused`), and its matrices are `Conv1D`, which are (in, out).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..errors import AttarError
from . import layout

ALBERT_LAYER = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "up": "ffn",
    "down": "ffn_output",
    "output_norm": "full_layer_layer_norm",
}
GPT2_LAYER = {
    "fused": "attn.c_attn",
    "query": "attn.c_attn.query",  # of the plain form (`compress.plain`)
    "key": "attn.c_attn.key",
    "value": "attn.c_attn.value",
    "output": "attn.c_proj",
    "attention_norm": "ln_1",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
    "output_norm": "ln_2",
}
NAMES = {name: family.names for name, family in layout.FAMILIES.items()} | {"albert": ALBERT_LAYER, "gpt2": GPT2_LAYER}
ATTENTION = {"distilbert": "attention", "albert": "attention", "gpt2": "attn"}  # of the others `attention.self`
HEAD_SIZE = {"gpt2": "head_dim"}  # what the attention calls it; the others `attention_head_size`


def widths(layer: nn.Module) -> tuple[int, int]:
    """The inputs and outputs of a `Linear` or a `Conv1D`."""
    rows, columns = layer.weight.shape  # type: ignore[misc]
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)


@dataclass(frozen=True)
class Block:
    """One layer with its own weights."""

    module: nn.Module
    family: str

    def get(self, name: str) -> nn.Module:
        """A module of the layer by its common name."""
        return self.module.get_submodule(NAMES[self.family][name])

    def put(self, name: str, module: nn.Module) -> None:
        """Replace a module of the layer."""
        place, _, last = NAMES[self.family][name].rpartition(".")
        setattr(self.module.get_submodule(place), last, module)

    @property
    def attention(self) -> nn.Module:
        """The module that computes the attention and knows the size of its heads."""
        return self.module.get_submodule(ATTENTION.get(self.family, "attention.self"))

    @property
    def head_size(self) -> int:
        """The width of a head."""
        return int(getattr(self.attention, HEAD_SIZE.get(self.family, "attention_head_size")))

    @property
    def heads(self) -> int:
        """How many heads the layer has."""
        return widths(self.get("output"))[0] // self.head_size

    @property
    def neurons(self) -> int:
        """How many feed-forward neurons the layer has."""
        return widths(self.get("down"))[0]

    def resize(self, heads: int, head_size: int, neurons: int) -> None:
        """Give the layer so many heads of that size, and neurons; what changes its shape gets new weights."""
        hidden, inner = widths(self.get("up"))[0], heads * head_size
        if self.family == "gpt2":
            self._resize("fused", hidden, 3 * inner)
        else:
            for name in ("query", "key", "value"):
                self._resize(name, hidden, inner)
        self._resize("output", inner, hidden)
        self._resize("up", hidden, neurons)
        self._resize("down", neurons, hidden)
        self._tell(heads, head_size)

    def _resize(self, name: str, inputs: int, outputs: int) -> None:
        old = self.get(name)
        if widths(old) != (inputs, outputs):
            self.put(name, Conv1D(outputs, inputs) if isinstance(old, Conv1D) else nn.Linear(inputs, outputs))

    def _tell(self, heads: int, head_size: int) -> None:
        """Write what the attention computes with."""
        told: dict[str, float]
        attention, inner = self.attention, heads * head_size
        if self.family == "gpt2":
            config = attention.config
            scaling = head_size**-0.5 if config.scale_attn_weights else 1.0  # type: ignore[union-attr]
            if config.scale_attn_by_inverse_layer_idx:  # type: ignore[union-attr]
                scaling /= float(attention.layer_idx + 1)  # type: ignore[operator]
            told = {"num_heads": heads, "head_dim": head_size, "split_size": inner, "scaling": scaling}
        else:
            number = "n_heads" if self.family == "distilbert" else "num_attention_heads"
            told = {number: heads, "attention_head_size": head_size, "all_head_size": inner, "scaling": head_size**-0.5}
        for name, value in told.items():
            setattr(attention, name, value)


def blocks(model: PreTrainedModel) -> list[Block]:
    """The layers with weights of their own, in the order they run; ALBERT's run several times each.

    Raises `AttarError` for a family whose layers are not known.
    """
    family = layout.kind(model.config)
    if family not in NAMES:
        raise AttarError(f"the layers of {family} cannot be changed", fix=f"use one of {', '.join(NAMES)}")
    found = list(layout.layers(model))
    if family == "albert":
        found = [layer for group in found for layer in group.albert_layers]  # type: ignore[union-attr]
    return [Block(module, family) for module in found]

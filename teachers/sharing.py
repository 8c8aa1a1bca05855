"""Cross-layer sharing in any encoder with its own layers: attention, feed-forward, or both, by tying Parameters.

- ALBERT (arXiv 1909.11942, section 3.1 and table 4). Stock ALBERT holds sharing of all and groups; sharing of the
  attention alone, or of the feed-forward layers alone, is a BERT whose layers hold the same Parameters.
- A norm belongs to the block that it ends: `attention_norm` to the attention, `output_norm` to the feed-forward.
- The checkpoint: `attar_sharing` in config.json says what is shared, and the file holds a shared weight once.
  `checkpoint.read` reads the folder with the stock class and ties again. Without attar the stock class would fill the
  shared layers with random numbers (and say so); `unshare` first gives a folder that stands alone, at the full size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from ..errors import UsageError
from . import layout

Part = Literal["all", "attention", "ffn"]
FIELD = "attar_sharing"
BLOCKS = {"attention": ("query", "key", "value", "output", "attention_norm"), "ffn": ("up", "down", "output_norm")}
BLOCKS["all"] = BLOCKS["attention"] + BLOCKS["ffn"]


def share(model: PreTrainedModel, part: Part, group: int | None = None) -> None:
    """Let every `group` neighbouring layers (all layers where not given) have the weights of their first one.

    The choice is written into the configuration and so into the checkpoint. Raises `UsageError` for an unknown part
    or a group that no two layers make.
    """
    kind = layout.kind(model.config)
    if kind not in layout.FAMILIES:
        raise UsageError(
            f"the layers of {kind} cannot be shared", where="sharing", fix=f"use one of {', '.join(layout.FAMILIES)}"
        )
    layers = layout.shape(model).layers
    if part not in BLOCKS:
        raise UsageError(f"no part of a layer is called {part!r}", where="sharing", fix=f"use {', '.join(BLOCKS)}")
    if getattr(model.config, FIELD, None):
        raise UsageError("the model's layers are shared already", where="sharing", fix="unshare it first")
    group = group or layers
    if not 2 <= group <= layers:
        raise UsageError(f"groups of {group} in a model of {layers} layers", where="sharing", fix=f"use 2 to {layers}")
    setattr(model.config, FIELD, {"part": part, "group": group})
    tie(model)


def tie(model: PreTrainedModel) -> dict[str, str]:
    """Tie what the configuration says is shared; gives each tied name with the name whose Parameter it holds."""
    tied = dict(pairs(model))
    for name, source in tied.items():
        place, _, last = name.rpartition(".")
        setattr(model.get_submodule(place), last, model.get_parameter(source))
    # `save_pretrained` writes a tensor once only where it is told that the names are tied on purpose.
    model._tied_weights_keys = dict(type(model)._tied_weights_keys or {}) | tied
    return tied


def restore(model: PreTrainedModel, missing: Iterable[str]) -> list[str]:
    """Tie again after loading; of the names that the file lacked, those that no tie has filled, sorted."""
    absent = set(missing)
    filled = {name for name, source in tie(model).items() if source not in absent}
    return sorted(absent - filled)


def unshare(model: PreTrainedModel) -> None:
    """Give every layer weights of its own, equal to those it shared."""
    for name in dict(pairs(model)):
        place, _, last = name.rpartition(".")
        weight = model.get_parameter(name)
        copy = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
        setattr(model.get_submodule(place), last, copy)
    model._tied_weights_keys = type(model)._tied_weights_keys
    if hasattr(model.config, FIELD):
        delattr(model.config, FIELD)


def pairs(model: PreTrainedModel) -> Iterator[tuple[str, str]]:
    """Each tied name and the name of the Parameter it holds, as the configuration says."""
    choice = getattr(model.config, FIELD, None)
    if not choice:
        return
    family = layout.family(model)
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    for number in range(layout.shape(model).layers):
        first = number - number % choice["group"]
        for block in BLOCKS[choice["part"]] if first != number else ():
            for part in ("weight", "bias"):
                tail = f"{family.names[block]}.{part}"
                yield f"{prefix}{family.layers}.{number}.{tail}", f"{prefix}{family.layers}.{first}.{tail}"

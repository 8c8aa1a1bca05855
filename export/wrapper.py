"""The student as a plain graph: from piece ids and a mask to logits.

- Its head is fed as in training (`teachers.heads`), and the logits are those: one tensor for every head.
- The wrapper builds the additive attention mask itself, shape (batch, 1, length, length), where the encoder takes its
  inputs. Hugging Face's own mask code becomes operators (GATHER_ND v5) that the old TensorFlow Lite runtime refuses,
  and differs from family to family.
- The mask constant is −1e4: after softmax it is exactly 0 in float32, it fits float16 (largest 65504), which phone
  accelerators compute in, and unlike −inf it gives no NaN where a whole row is padding.
- A GPT gets a mask that hides what comes later and no padding: sequences are padded on the right, which no real piece
  sees. GPT-2 takes an additive mask of that shape as the whole mask, with nothing causal of its own beside it; GPT-1
  has its causal mask inside. The piece that a GPT classifier reads is the last one of the attention mask: stock models
  look for the last piece that is not padding by its id, and a runner may pad with another.
- Eager attention: plain matrix products and a softmax, which every runtime's fusions know.
- A folder whose weights do not fill the model is refused; the loader would fill the gap with random numbers. Layers
  that share weights (`attar_sharing`) are tied again.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..errors import AttarError
from ..tasks.task import Head
from ..teachers import checkpoint, heads, layout
from .manifest import Input

MASKED = -1e4


class Exportable(nn.Module):
    """A model with a head that takes integer tensors of shape (batch, length)."""

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.names = checkpoint.takes(model)
        self.causal = layout.kind(model.config) in checkpoint.DECODERS
        layout.encoder(model).register_forward_pre_hook(_causal if self.causal else _masked, with_kwargs=True)
        self.eval()

    def inputs(self, dtype: Literal["int64", "int32"]) -> list[Input]:
        """The inputs as the manifest states them."""
        return [Input(name=name, dtype=dtype) for name in self.names]

    def example(self, batch: int, length: int, dtype: torch.dtype) -> dict[str, Tensor]:
        """Fixed example inputs to trace with; the last row has one padded place."""
        ids = torch.arange(batch * length, dtype=dtype).reshape(batch, length) % 7 + 2
        mask = torch.ones_like(ids)
        mask[-1, -1] = 0
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        return {name: values[name] for name in self.names}

    def check_length(self, length: int, where: str) -> None:
        """Refuse a length that the model has no position embeddings for."""
        limit = checkpoint.positions(self.model.config)
        if not 1 <= length <= limit:
            raise AttarError(f"the length {length} is outside of 1 to {limit}", where=where, fix="set export.lengths")

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, outputs) or (batch, length, outputs); mask 1 is a real piece, 0 is padding."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and "token_type_ids" in self.names:
            inputs["token_type_ids"] = token_type_ids
        if self.causal:  # a classifier, whatever the task: transformers has no other head for them
            model: Any = self.model
            logits: Tensor = model.score(_last(model.base_model(**inputs)[0], attention_mask))
            return logits
        return heads.HEADS[self.head].logits(self.model, inputs)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    """The state of each row's last real piece, (batch, hidden), of states (batch, length, hidden); no gathering."""
    real = mask.to(torch.float32)
    last = real - F.pad(real[:, 1:], (0, 1))  # 1 where a real piece has no other behind it
    return (states * last[:, :, None]).sum(1)


def _causal(decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Give a GPT-2 the additive mask (1, 1, length, length) that hides what comes later; a GPT-1 makes its own."""
    if decoder.config.model_type == "openai-gpt":  # type: ignore[union-attr]
        return args, kwargs | {"attention_mask": None}
    places = torch.arange(kwargs["input_ids"].shape[1], device=kwargs["input_ids"].device)
    later = (places[None, :] > places[:, None]).to(torch.float32)
    return args, kwargs | {"attention_mask": (later * MASKED)[None, None], "use_cache": False}


def _masked(encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:  # noqa: ARG001
    """Give the encoder the additive mask for its mask of 1 and 0, shape (batch, length)."""
    mask = kwargs["attention_mask"]
    additive = (1.0 - mask[:, None, None, :].to(torch.float32)) * MASKED
    return args, kwargs | {"attention_mask": additive.expand(-1, 1, mask.shape[1], -1)}


def load(folder: Path, head: Head = "sequence") -> Exportable:
    """Read a saved folder with that head (`config.json`, `model.safetensors`), float32, ready to trace."""
    model = heads.load(head, checkpoint.locate(str(folder)))
    model.set_attn_implementation("eager")
    return Exportable(model, head)


@contextlib.contextmanager
def explained(what: str, where: str) -> Iterator[None]:
    """Tell what a library could not do, and at which file, by a line of its error; our own errors stay as they are."""
    try:
        yield
    except AttarError:
        raise
    except Exception as error:
        raise AttarError(f"{what} failed: {first_line(error)}", where=where) from error


def first_line(error: BaseException) -> str:
    """The first line of a library's error, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep converters from talking: Python's prints, warnings and loggers, and C++'s writes to descriptors 1 and 2.

    Not for use while another thread draws on the terminal: the descriptors belong to the whole process.
    """
    level = logging.root.manager.disable
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        stack.callback(logging.disable, level)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        nowhere = stack.enter_context(Path(os.devnull).open("wb"))
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        yield

"""ExecuTorch: the student lowered to XNNPACK, in fp32 and with dynamic int8, one file for each length.

- `torch.export`, `to_edge_transform_and_lower` with the XNNPACK partitioner, and for int8 the PT2E flow with
  `XNNPACKQuantizer`, as ExecuTorch's documentation of its XNNPACK backend does.
- The model is given its additive mask, shape (batch, 1, length, length), made from the mask of 1 and 0: transformers'
  own mask code does not survive the int8 flow.
- Files are run by ExecuTorch's Python runtime.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from .shared import Work, main

MASKED = -1e4


class Masked(nn.Module):
    """The student, with a mask that needs no code of transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model.base_model.register_forward_pre_hook(_additive, with_kwargs=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits of shape (batch, outputs)."""
        more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        return logits


def _additive(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:  # noqa: ARG001
    mask = kwargs["attention_mask"]
    additive = (1.0 - mask[:, None, None, :].to(torch.float32)) * MASKED
    return args, kwargs | {"attention_mask": additive.expand(-1, 1, mask.shape[1], -1)}


def executorch(work: Work) -> None:
    """fp32 and int8 at each length."""
    model = AutoModelForSequenceClassification.from_pretrained(work.student, attn_implementation="eager").eval()
    inputs = 3 if getattr(model.config, "type_vocab_size", 0) > 1 else 2
    masked = Masked(model).eval()
    for length in work.lengths:
        example = tuple(torch.ones(1, length, dtype=torch.long) for _ in range(inputs))

        def write(precision: str, file: str, example: tuple[Tensor, ...] = example) -> None:
            lowered = _lowered(masked if precision == "fp32" else _int8(masked, example), example)
            (work.out / file).write_bytes(lowered)

        for precision in ("fp32", "int8"):
            name, file = f"executorch {precision} {length}", f"{precision}-{length}.pte"
            how = partial(write, precision, file)
            work.make(name, file, how, precision=precision, runtime="executorch", length=length)


def _int8(model: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """Weights in int8 by channel, activations in int8 as they come."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    prepared = prepare_pt2e(torch.export.export(model, example, strict=True).module(), quantizer)
    prepared(*example)
    return convert_pt2e(prepared)


def _lowered(model: Any, example: tuple[Tensor, ...]) -> bytes:
    """The program."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(model, example, strict=True)
    return bytes(to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)


if __name__ == "__main__":
    main(executorch, "executorch")

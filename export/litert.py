"""LiteRT (`.tflite`) in float32: one file per length, batch 1.

- Converted from the traced PyTorch module; no TensorFlow. Shared and tied weights stay shared.
- Static shapes: phones plan the memory of a static graph once. A shorter row is padded by the runner.
- Inputs are int32, the type the runtime's embedding operator takes; named like the ONNX ones, the output `logits`.
- The converter names every tensor by the full path of its Python classes, which a small file feels.
  The traced graph is given the module's own name instead (`bert.encoder.layer.0.output.dense`), which inspection reads.
- The same model gives the same bytes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AttarError
from ..files import write_bytes
from ..tasks.task import Head
from . import single_copies, wrapper
from .manifest import Input


class _Named(nn.Module):
    """Give the output its name in the file's signature."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """`logits` of shape (1, outputs) or (1, length, outputs)."""
        return {"logits": self.module(**inputs)}


def export_fp32(model_folder: Path, out: Path, length: int, head: Head = "sequence") -> list[Input]:
    """Write the model of a saved folder, which has that head, as `.tflite` for exactly `length` pieces.

    Gives its inputs in order.

    Errors: a length beyond the model's positions, a folder that does not load, a model that does not convert.
    """
    module = wrapper.load(model_folder, head)
    module.check_length(length, where=str(model_folder))
    single_copies.keep_norms_apart(module.model)
    example = module.example(batch=1, length=length, dtype=torch.int32)
    try:
        with wrapper.quiet(), tempfile.TemporaryDirectory() as folder:
            import litert_torch

            file = Path(folder) / "model.tflite"
            litert_torch.convert(_traced(module, example), sample_kwargs=example).export(str(file))
            data = file.read_bytes()
    except Exception as error:
        what = f"the LiteRT conversion failed: {wrapper.first_line(error)}"
        raise AttarError(what, where=str(model_folder)) from error
    write_bytes(out, data)
    return module.inputs("int32")


def _traced(module: nn.Module, example: dict[str, Tensor]) -> nn.Module:
    """The module as one flat graph whose nodes carry short names."""
    graph: Any = torch.export.export(_Named(module).eval(), (), kwargs=example).module(check_guards=False)
    for node in graph.graph.nodes:
        for key in ("source_fn_stack", "torch_fn", "stack_trace", "from_node"):
            node.meta.pop(key, None)
        stack = node.meta.get("nn_module_stack", {})  # key -> (path of the module, class), outermost first
        path = next(reversed(stack.values()), ("", ""))[0].removeprefix("module.").removeprefix("model.")
        node.meta["nn_module_stack"] = {"": ("", path or "inputs")}
    return graph  # type: ignore[no-any-return]

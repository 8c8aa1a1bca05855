"""What of a model has to go together: torch-pruning's dependency graph (DepGraph, arXiv 2301.12900, section 3.2).

- The graph is traced from one forward pass, so it needs no table of weights: a head takes its rows of query, key and
  value and its columns of the output with it, a hidden unit its place in every embedding, norm and matrix.
- A dense layer of the task's head has the hidden width on both sides, but computes a width of its own: it is cut along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..students import heads, vocabulary_head
from ..teachers import layout

PIECES = 4
ROOTS = {"gpt2": "wpe", "albert": "encoder.embedding_hidden_mapping_in"}  # where the hidden width starts


class Dependencies:
    """The groups of weights of a model in plain form that are cut together."""

    def __init__(self, work: PreTrainedModel) -> None:
        self.work = work
        ids = torch.arange(PIECES, device=work.device)[None] % layout.shape(work).vocabulary
        choice = type(work).__name__.endswith("MultipleChoice")
        inputs: dict[str, Any] = {"input_ids": ids[None] if choice else ids}
        if layout.kind(work.config) == "gpt2":
            inputs["use_cache"] = False
        self.graph: Any = tp.DependencyGraph().build_dependency(work, inputs, output_transform=_tensors)

    def importance(self, module: nn.Module) -> Tensor:
        """The norms of what goes with each output of a module, (outputs,), relative to their mean (section 3.3)."""
        outputs = self.graph.get_pruner_of_module(module).get_out_channels(module)
        found: Tensor = tp.importance.GroupMagnitudeImportance(p=2)(self._group(module, range(outputs)))
        return found.detach()

    def cut(self, module: nn.Module, outputs: Sequence[int]) -> None:
        """Take these outputs out of a module, and all that depends on them out of the others."""
        if len(outputs):
            self._group(module, outputs).prune()

    @property
    def hidden(self) -> list[nn.Module]:
        """The modules whose outputs are the hidden units: where they start, and the head's dense layer."""
        kind = layout.kind(self.work.config)
        root = layout.encoder(self.work).get_submodule(ROOTS.get(kind, "embeddings.LayerNorm"))
        dense, words = heads.parts(self.work)[0], vocabulary_head.parts(self.work)
        return [root, *([dense] if dense is not None else []), *([words.dense] if words else [])]

    def _group(self, module: nn.Module, outputs: Sequence[int]) -> Any:
        pruner = self.graph.get_pruner_of_module(module)
        return self.graph.get_pruning_group(module, pruner.prune_out_channels, list(outputs))


def _tensors(output: Any) -> list[Tensor]:
    """What of a model's output depends on its weights."""
    return [value for value in output.values() if isinstance(value, Tensor) and value.requires_grad]

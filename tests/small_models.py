"""Small random students of every family, for what changes their structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from attar.students import heads
from attar.tasks.encoding import Arrays
from attar.teachers import checkpoint
from transformers import AlbertConfig, BertConfig, DistilBertConfig, GPT2Config, PreTrainedModel

PIECES = 60
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": PIECES}
CONFIGS = {
    "bert": lambda **sizes: BertConfig(**({"intermediate_size": 48, "max_position_embeddings": 24} | SIZES | sizes)),
    "distilbert": lambda **sizes: DistilBertConfig(
        **({"hidden_dim": 48, "max_position_embeddings": 24} | SIZES | sizes)
    ),
    "albert": lambda **sizes: AlbertConfig(
        **({"intermediate_size": 48, "max_position_embeddings": 24, "embedding_size": 16} | SIZES | sizes)
    ),
    "gpt2": lambda **sizes: GPT2Config(
        **({"n_inner": 48, "n_positions": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1} | SIZES | sizes)
    ),
}
LABELS = {"span": 2, "choice": 1}
FAMILIES = tuple(CONFIGS)
ENCODERS = ("bert", "distilbert", "albert")


def small(family: str = "bert", head: heads.Purpose = "sequence", noise: float = 0.2, **sizes: Any) -> PreTrainedModel:
    """A model whose weights, biases and norms too, all differ."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = heads.create(head, CONFIGS[family](num_labels=LABELS.get(head, 3), **sizes)).eval()
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * noise)
    return model


def batch(model: PreTrainedModel) -> Arrays:
    """Rows of several lengths, padded on the right."""
    draw = np.random.default_rng(0)
    mask = np.arange(9) < np.array([[9], [6], [2], [9]])
    arrays = {
        "input_ids": draw.integers(1, PIECES, mask.shape) * mask,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": (np.arange(9) >= 4) * mask.astype(np.int64),
    }
    return {name: arrays[name] for name in checkpoint.takes(model)}


def answers(model: PreTrainedModel, head: heads.Purpose = "sequence") -> torch.Tensor:
    """What the head says of the batch at real pieces."""
    from attar.teachers.heads import feed

    arrays = batch(model)
    with torch.no_grad():
        if head in ("encoder", "mlm", "lm"):
            found = model(**{name: torch.from_numpy(values) for name, values in arrays.items()})[0]
        else:
            found = feed(model, head, arrays)
    return found[torch.from_numpy(arrays["attention_mask"]).bool()] if found.ndim == 3 else found


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """The model's folder."""
    checkpoint.save(model, folder)
    return folder

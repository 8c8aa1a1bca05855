"""What moves the weights: AdamW, or Muon for the hidden matrices with AdamW for all else.

- AdamW (arXiv 1711.05101): no weight decay on biases and layer norms (BERT, arXiv 1810.04805, A.2).
- Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) makes every singular value of a matrix's step
  about one. Steps are scaled by 0.2 √max(rows, columns): AdamW's learning rate is Muon's (arXiv 2502.16982, eq. 4).
- A hidden matrix is a two-dimensional weight that is no embedding, tied ones neither, and no output of a few classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from .recipe import Optimization

NARROW = 32  # a matrix with a side below that maps to classes or scores


def build(model: nn.Module, plan: Optimization) -> list[Optimizer]:
    """The optimizers of the weights that learn, each weight in one of them."""
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = hidden_matrices(model) if plan.optimizer == "muon" else []
    if not matrices:
        return [_adamw(learning, plan)]
    hidden = {id(weight) for weight in matrices}
    rest = [weight for weight in learning if id(weight) not in hidden]
    muon = torch.optim.Muon(
        matrices, lr=plan.learning_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, _adamw(rest, plan)]


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon moves."""
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    return [
        weight
        for weight in model.parameters()
        if weight.requires_grad and weight.ndim == 2 and min(weight.shape) >= NARROW and id(weight) not in tables
    ]


def _adamw(weights: Sequence[nn.Parameter], plan: Optimization) -> Optimizer:
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=True)

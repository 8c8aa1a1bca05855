"""Pre-training objectives: what a model learns from plain text. A new objective is a file and its line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import UsageError, nearest
from .. import shapes
from . import causal, mlm, next_sentence, replaced_token, sentence_order
from .base import Batch, Losses, Objective, Settings
from .pieces import Pieces

__all__ = ["REGISTRY", "Batch", "Losses", "Objective", "Pieces", "Settings", "build"]

REGISTRY: dict[str, Callable[[Any, Pieces, Settings], Objective]] = {
    "mlm": mlm.build,
    "next_sentence": next_sentence.build,
    "sentence_order": sentence_order.build,
    "causal": causal.build,
    "replaced_token": replaced_token.build,
}


def build(name: str, config: Any, pieces: Pieces | None, settings: Settings | None = None, seed: int = 0) -> Objective:
    """The named objective over a model with random weights that depend on the seed alone.

    `config` is a transformers configuration (`shapes.config`); `pieces` the tokenizer's, which `causal` can do without.
    Raises `UsageError` where the objective does not fit the family, `AttarError` where the vocabulary does not fit the
    model.
    """
    if name not in REGISTRY:
        raise UsageError(f"no objective is called {name!r}", fix=nearest(name, REGISTRY))
    if pieces is None and name != "causal":
        raise UsageError(f"the objective {name!r} needs the tokenizer's special pieces")
    with shapes.seeded(seed):
        return REGISTRY[name](config, pieces, settings or Settings())  # type: ignore[arg-type]  # causal's may be None

"""The stages of a run, in their order. What one makes, and what its key depends on, stands in a file of this folder."""

from __future__ import annotations

from .artefacts import BUNDLE, EXPORT, MEASURE, VERIFY
from .stage import Stage
from .students import AUGMENT, DISTIL, GENERALLY
from .teachers import KNOWLEDGE, PRETRAIN, TEACH

STAGES = (PRETRAIN, KNOWLEDGE, TEACH, GENERALLY, AUGMENT, DISTIL, EXPORT, VERIFY, MEASURE, BUNDLE)
TOGETHER = (PRETRAIN, GENERALLY)  # those that several processes share

__all__ = ["STAGES", "TOGETHER", "Stage"]

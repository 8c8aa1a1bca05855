"""A masked-LM head for an encoder that has none, so that it can be asked LAMA's facts as others are.

- Where one of several models has none, *each* gets a new one (`head` of a score sheet's facts), also one that has a
  head of its own: trained on the same text with the same plan over its frozen encoder. A head that learnt longer would
  be taken for knowledge.
- A trained head is kept under the digest of its model, text and plan: another question costs no training, and a killed
  one goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import recipe, training
from ..files import locked, value_digest
from ..slots import Slot, obtain
from . import checkpoint, knowledge, masked_text


def trained(folder: Path, text: recipe.MaskedText, cache: Path, seed: int, progress: training.Progress) -> Path:
    """A folder with the model's encoder and a masked-LM head trained over it; made once."""
    key = value_digest(
        {
            "model": checkpoint.digest(folder),
            "text": text.model_dump(mode="json", exclude={"corpus"}),
            "corpus": masked_text.files(text).digest(),
            "seed": seed,
        }
    )
    slot = Slot(cache, f"head-{key[:16]}", f"head-{key[:16]}")
    with locked(cache):
        obtain(slot, key, lambda work: _train(folder, text, seed, work, progress), shared=(), outdate=lambda: None)
    return slot.content


def _train(
    source: Path, text: recipe.MaskedText, seed: int, folder: Path, progress: training.Progress
) -> dict[str, Any]:
    """Train a new head over the encoder of `source` alone, and save both as a stock folder."""
    work = folder / "checkpoints"
    encoder, _ = knowledge.masked_lm(source)
    checkpoint.save(encoder.base_model, work / "encoder")
    checkpoint.save_tokenizer(source, folder)
    rows = masked_text.read(text, folder / "tokenizer.json", work / "corpus", seed=seed, progress=progress)
    model = knowledge.readable(work / "encoder", rows, text.head, seed=seed, folder=work / "head", progress=progress)
    checkpoint.save(model.to("cpu"), folder)
    return {"rows": len(rows.features)}

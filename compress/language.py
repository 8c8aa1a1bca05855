"""The stages `teach` and `distil` of a run that makes a language model: both are taken as they are, and scored.

- The teacher is the recipe's checkpoint; the student is what general distillation left (`general`).
- The score is the perplexity on the recipe's text by a sliding window over all positions (`teachers.perplexity`), a
  piece and a word; comparable, because both have one tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import recipe, training
from ..files import copy_folder
from ..tasks.data import Data
from ..tasks.language import whole
from ..teachers import causal, checkpoint, hub, teach
from ..teachers.perplexity import perplexity


def teacher(spec: recipe.Recipe, source: Path, data: Data, folder: Path, progress: training.Progress) -> dict[str, Any]:
    """Fill `folder` with the teacher; gives its scores and size."""
    lm = causal.load(str(source))
    checkpoint.save_tokenizer(source, folder)
    checkpoint.save(lm.model, folder)
    return {
        **_judged(lm, data, "teach", progress),
        "truncated": {},
        "source": teach.origin(spec),
        "licence": checkpoint.licence(source),
        "weights": checkpoint.digest(source),
        "revision": hub.revision(source),
    }


def student(
    general: Path, teacher: dict[str, Any], data: Data, folder: Path, progress: training.Progress
) -> dict[str, Any]:
    """Fill `folder` with the student of the folder `general`; gives its scores and size, told beside its teacher's."""
    copy_folder(general, folder)
    found = _judged(causal.load(str(folder)), data, "distil", progress)
    theirs, ours = (one["scores"]["dev"]["perplexity"] for one in (teacher, found))
    sizes = f"{found['parameters']:,} parameters, the teacher {teacher['parameters']:,}"
    return found | {"remarks": [f"perplexity {ours:.2f}, the teacher's {theirs:.2f}; {sizes}"]}


def _judged(lm: causal.Causal, data: Data, stage: str, progress: training.Progress) -> dict[str, Any]:
    """The scores on every split, the pieces that were scored, and the size."""
    scores, rows = {}, {}
    for name, texts in data.splits().items():

        def moved(share: float, name: str = name) -> None:
            progress(stage, share, f"perplexity on {name}")

        found = perplexity(lm, whole([one.text for one in texts]), moved=moved)
        scores[name] = {"perplexity": found.per_piece, "word_perplexity": found.per_word}
        rows[name] = found.pieces
    return {"training": [], "scores": scores, "rows": rows, "parameters": checkpoint.unique_parameters(lm.model)}

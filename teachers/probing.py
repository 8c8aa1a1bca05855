"""What model folders know, in one table: links of a knowledge graph, and LAMA's facts.

- Made for a teacher before and after it was fused with a graph, and for the student that was distilled from it; any
  encoder's folder may stand in the list. Every model is asked in the same way, so that only its weights differ.
- Facts are read by a masked-LM head. Where one of the models has none, *each* gets a new one, trained on the same text
  with the same plan over its frozen encoder, also one that has a head of its own: a head that learnt longer would be
  taken for knowledge. `head` says which it was.
- A trained head is kept under the digest of its model, text and plan: another question costs no training, and a killed
  one goes on.
- Where the vocabularies differ, the words that are one piece in all of them are ranked, and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import recipe, training
from ..files import file_digest, locked, value_digest
from ..slots import Slot, obtain
from ..tasks import lama, triples
from ..tasks.encoding import Encoder, Features
from . import checkpoint, fusion, knowledge, masked_text

Scores = dict[str, float]


class Facts(NamedTuple):
    """What one model answered to LAMA's sentences."""

    scores: lama.Scores
    asked: int
    skipped: dict[str, int]  # facts that could not be asked, by reason
    head: str  # "own" or "trained"


def links(
    folders: Sequence[Path],
    graph: recipe.Graph,
    *,
    entity_length: int = 32,
    limit: int | None = None,
    norm: int = 2,
) -> list[Scores]:
    """Filtered link prediction of each folder's model on the first `limit` triples of `graph.dev`.

    `mrr`, `mr` and `hits@1/3/10`; a relation is the mean of t − h over its training triples.
    """
    found = []
    read: dict[str, tuple[triples.Graph, list[Features]]] = {}  # once for all models of one vocabulary
    for folder in folders:
        encoder, vocabulary = Encoder(folder / "tokenizer.json", entity_length), file_digest(folder / "tokenizer.json")
        known, entities = read[vocabulary] = read.get(vocabulary) or fusion.read(graph, encoder)
        model, _ = knowledge.masked_lm(folder)
        model.to(training.device())
        found.append(knowledge.links(model, known, entities, encoder.pad_id, fusion.SPLIT, norm=norm, limit=limit))
    return found


def facts(
    folders: Sequence[Path],
    questions: Path,
    relations: Path,
    text: recipe.MaskedText,
    *,
    cache: Path,
    seed: int = 0,
    max_length: int = 64,
    progress: training.Progress = lambda what, done, remark: None,
) -> list[Facts]:
    """What each folder's model answers to LAMA's `questions`, whose templates stand in `relations` (`tasks.lama.read`).

    `text` trains the heads where they are needed, and `cache` is the folder that keeps them.
    """
    encoders = [Encoder(folder / "tokenizer.json", max_length) for folder in folders]
    vocabularies = [encoder.tokenizer for encoder in encoders]
    alike = all(one.get_vocab() == vocabularies[0].get_vocab() for one in vocabularies)
    words = None if alike else lama.shared_words(vocabularies)
    new = any(knowledge.masked_lm(folder)[1] for folder in folders)
    found = []
    for folder, encoder in zip(folders, encoders, strict=True):
        probes = lama.read(questions, relations, encoder, words)
        source = trained_head(folder, text, cache, seed, progress) if new else folder
        model, _ = knowledge.masked_lm(source)
        scores = knowledge.probe(model.to(training.device()), probes, encoder.pad_id)
        found.append(Facts(scores, len(probes.rows), probes.skipped, "trained" if new else "own"))
    return found


def trained_head(
    folder: Path | str, text: recipe.MaskedText, cache: Path, seed: int, progress: training.Progress
) -> Path:
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
    source: Path | str, text: recipe.MaskedText, seed: int, folder: Path, progress: training.Progress
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

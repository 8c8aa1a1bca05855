"""The stage `pretrain`: a teacher from plain text, as a stock Hugging Face folder with its tokenizer.

- The corpus is read as a stream, encoded once into memory-mapped files, and drawn from row by row: of a row no more is
  held than the numbers that say where it lies. The encoded corpus lies beside the checkpoints and goes with them when
  the stage is whole.
- What a row is, and how objectives learn from rows, stands in `rows`.
- Of several processes (`processes`) the first one alone makes the vocabulary, encodes the corpus and saves, and all of
  them map the same encoded files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import recipe, training
from ..errors import AttarError
from ..processes import ALONE, Processes
from ..tasks import corpus as corpora
from ..tasks import sharding
from ..tasks.corpus import Corpus
from ..tasks.shards import Shards
from ..tasks.streams import in_words
from . import checkpoint, layout, neighbours, objectives, rows, shapes, sharing, vocabulary, vocabulary_files
from .objectives import pieces as reading
from .rows import Rows
from .teach import curve


def pretrain(
    spec: recipe.Pretrain,
    seed: int,
    folder: Path,
    progress: training.Progress,
    processes: Processes = ALONE,
    corpus: Corpus | None = None,
) -> dict[str, Any]:
    """Fill `folder` with the pre-trained model; gives its training curve, sizes and what the corpus held.

    Of several `processes` the first one fills it and has results; all of them are given the same folder. `corpus` is
    that of `spec`, from a caller who has it already: what is known of it, its digest, is not read again.
    """
    decoder = spec.objective == "causal"
    encoded = folder / "checkpoints" / "corpus"
    if processes.first:
        corpus = corpus or corpora.of(spec.corpus)
        if not (folder / "tokenizer.json").is_file():
            progress("vocabulary", 0.0, "")
            take_vocabulary(spec.vocabulary, corpus, decoder, folder, spec.max_length)
        end = vocabulary.END_OF_TEXT if decoder else None
        sharding.build(corpus, folder / "tokenizer.json", encoded, end_of_document=end, progress=progress)
    processes.wait()
    shards = Shards(encoded)
    pieces = None if decoder else reading.read(folder / "tokenizer.json")
    objective = build(spec, folder, pieces, seed).to(training.device())
    found = Rows.of(shards, spec.max_length, pieces, seed, spec.objective)
    train, dev = split = rows.divide(len(found), spec.limit, seed)
    state = rows.learn(
        spec.objective,
        objective,
        found,
        split,
        spec.training,
        seed=seed,
        folder=folder / "checkpoints",
        progress=progress,
        processes=processes,
    )
    if not processes.first:
        return {}
    objective.to("cpu")
    shapes.own_dropout(objective.model.config)  # few rows of a task are seen many times, plain text is seen once
    objective.save(folder)
    return {
        "training": [curve("pretrain", spec.objective, len(train), state)],
        "rows": {"train": len(train), "dev": len(dev)},
        "parameters": checkpoint.unique_parameters(objective.model),
        "vocabulary": int(objective.model.config.vocab_size),
        "pieces": shards.pieces,
        "corpus": shards.counts,
        "remarks": [f"corpus: {in_words(shards.counts)}", *_unlearnt(objective.model.config, spec)],
    }


def _unlearnt(config: Any, spec: recipe.Pretrain) -> list[str]:
    """Positions that no row reaches stay random, and a longer text would meet them."""
    room = checkpoint.positions(config)
    if room <= spec.max_length:
        return []
    fix = "set pretrain.positions, or longer rows"
    return [f"the positions from {spec.max_length} to {room} were never trained: {fix}"]


def take_vocabulary(spec: recipe.Vocabulary, corpus: Corpus, decoder: bool, folder: Path, max_length: int) -> None:
    """Put a tokenizer into `folder`: the one that the recipe names, or one trained on the corpus."""
    if spec.path:
        vocabulary_files.take(recipe.expand(spec.path), folder, lowercase=spec.lowercase, max_length=max_length)
        return
    vocabulary.train(
        corpus,
        "bpe" if decoder else "wordpiece",
        spec.size,
        folder,
        lowercase=True if spec.lowercase is None else spec.lowercase,
        min_frequency=spec.min_frequency,
        share=spec.share,
        max_length=max_length,
    )


def settings_of(spec: recipe.Pretrain) -> objectives.Settings:
    """The numbers that a recipe gives to its objective."""
    return objectives.Settings(
        spec.mask_rate, spec.whole_words, spec.generator_size, spec.discriminator_weight, spec.tied
    )


def build(spec: recipe.Pretrain, folder: Path, pieces: objectives.Pieces | None, seed: int) -> objectives.Objective:
    """The objective over a model with random weights, sized for the tokenizer in `folder`.

    `pieces` are an encoder's, None for the causal objective.
    """
    tokenizer = vocabulary_files.load(folder)
    names = ("layers", "hidden_size", "heads", "intermediate_size", "embedding_size", "positions", "groups")
    sizes = shapes.shape(
        spec.shape, vocabulary=tokenizer.get_vocab_size(), **{name: getattr(spec, name) for name in names}
    )
    if spec.max_length > sizes.positions:
        raise AttarError(f"the shape holds {sizes.positions} pieces", where="pretrain.max_length", fix="set positions")
    ids = vocabulary_files.special_ids(folder)
    special = shapes.Special(
        pad=ids.get("pad"), start=ids.get("bos", ids.get("cls")), end=ids.get("eos", ids.get("sep"))
    )
    config = shapes.config(sizes, special, dropout=spec.dropout, attention_dropout=spec.dropout)
    vocabulary_files.check(folder, config)
    settings = settings_of(spec)
    objective = objectives.build(spec.objective, config, pieces, settings, seed)
    if spec.start == "neighbours":
        encoders = {id(layout.encoder(part)): part for part in objective.children()}  # ELECTRA's generator too
        for part in encoders.values():
            neighbours.start(part)
    if spec.sharing:
        sharing.share(objective.model, spec.sharing.part, spec.sharing.group)
    return objective

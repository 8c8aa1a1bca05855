"""The stage `pretrain`: a teacher from plain text, as a stock Hugging Face folder with its tokenizer.

- The corpus is read as a stream, encoded once into memory-mapped files, and drawn from row by row: of a row no more is
  held than the numbers that say where it lies. The encoded corpus lies beside the checkpoints and goes with them when
  the stage is whole.
- A row is a span of text (`objectives.segments`) or, for the causal objective, a window of pieces. What is drawn by
  chance in it, masks and second texts, is drawn anew each time from torch's random state, which a checkpoint keeps: a
  killed run ends with the same bytes.
- Several processes (`processes`) prepare each batch alike and take their rows of it; the first one alone makes the
  vocabulary, encodes the corpus and saves, and all of them map the same encoded files.
- Some rows are set aside; the losses on them, always with the same masks, are the dev scores of the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import recipe, training
from ..errors import AttarError
from ..processes import ALONE, Processes
from ..tasks import corpus as corpora
from ..tasks import sharding
from ..tasks.corpus import Corpus
from ..tasks.shards import Shards
from ..tasks.streams import in_words
from . import checkpoint, objectives, shapes, sharing, vocabulary, vocabulary_files
from .objectives import next_sentence, segments, sentence_order
from .objectives import pieces as reading
from .objectives.base import Batch
from .objectives.segments import Span
from .teach import curve

DEV_ROWS = 512  # at most; a loss over more of them would not be worth its time
Integers = npt.NDArray[np.int64]


@dataclass
class Rows:
    """Rows of a corpus by number; the same numbers and generator give the same batch."""

    shards: Shards
    spec: recipe.Pretrain
    pieces: objectives.Pieces | None  # of an encoder
    spans: Integers | None  # (rows, 2), sentences of each row; None for windows

    @classmethod
    def of(cls, shards: Shards, spec: recipe.Pretrain, pieces: objectives.Pieces | None, seed: int) -> Rows:
        """All rows of a corpus."""
        if pieces is None:
            return cls(shards, spec, None, None)
        pair = spec.objective in ("next_sentence", "sentence_order")
        room = spec.max_length - (3 if pair else 2)
        found = segments.spans(shards, room, np.random.default_rng(seed), least=2 if pair else 1)
        return cls(shards, spec, pieces, found)

    def __len__(self) -> int:
        return len(self.shards.windows(self.spec.max_length)) if self.spans is None else len(self.spans)

    def batch(self, rows: Integers, generator: np.random.Generator) -> Batch:
        """Tensors of shape (rows, pieces)."""
        if self.spans is None or self.pieces is None:
            ids = torch.from_numpy(self.shards.windows(self.spec.max_length)[rows])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        make = {"next_sentence": next_sentence.row, "sentence_order": sentence_order.row}.get(self.spec.objective)
        found = []
        for start, stop in self.spans[rows].tolist():
            span = Span(start, stop)
            if make is None:
                found.append(segments.single(self.shards, span, self.pieces, self.spec.max_length))
            else:
                found.append(make(self.shards, span, self.pieces, self.spec.max_length, generator))
        return segments.batch(found, self.pieces.pad)


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
    objective = build(spec, folder, pieces, seed)
    rows = Rows.of(shards, spec, pieces, seed)
    train, dev = divide(len(rows), spec.limit, seed)
    device = training.device()
    objective.to(device)

    def loss(batch: npt.NDArray[np.int64]) -> training.Losses:
        drawn = processes.agree(int(torch.randint(2**62, ())))
        return _loss(objective, rows, train[batch], drawn, device, processes)

    def evaluate() -> training.Scores:
        return scores(objective, rows, dev, spec.training.batch_size, device)

    lengths = [spec.max_length] * len(train)
    state = training.fit(
        training.Job(
            spec.objective,
            objective,
            loss,
            lengths,
            spec.training,
            seed,
            folder / "checkpoints",
            "",
            evaluate,
            progress,
            processes=processes,
        )
    )
    if not processes.first:
        return {}
    objective.to("cpu")
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
    settings = objectives.Settings(spec.mask_rate, spec.whole_words, spec.generator_size, spec.discriminator_weight)
    objective = objectives.build(spec.objective, config, pieces, settings, seed)
    if spec.sharing:
        sharing.share(objective.model, spec.sharing.part, spec.sharing.group)
    return objective


def divide(count: int, limit: int | None, seed: int) -> tuple[Integers, Integers]:
    """Numbers of the rows that are learnt from, and of those set aside: a hundredth, at least one."""
    if count < 2:
        raise AttarError(f"the corpus gives {count} rows", where="pretrain.corpus", fix="give more text")
    order = np.random.default_rng(seed).permutation(count)
    held = min(DEV_ROWS, max(1, count // 100))
    train = order[held:] if limit is None else order[held : held + limit]
    return np.sort(train), np.sort(order[:held])


def scores(
    objective: objectives.Objective, rows: Rows, dev: Integers, batch_size: int, device: torch.device
) -> training.Scores:
    """The losses on the rows set aside, with the same masks every time; for the causal objective the perplexity too."""
    found: dict[str, float] = {}
    for start in range(0, len(dev), batch_size):
        part = dev[start : start + batch_size]
        for name, value in _loss(objective, rows, part, start, device).items():
            found[name] = found.get(name, 0.0) + float(value) * len(part) / len(dev)
    return found | ({"perplexity": math.exp(min(found["lm"], 700.0))} if "lm" in found else {})


def _loss(
    objective: objectives.Objective,
    rows: Rows,
    numbers: Integers,
    seed: int,
    device: torch.device,
    processes: Processes = ALONE,
) -> training.Losses:
    """The losses on some rows, of several processes each one's part of them; the seed decides what is masked."""
    batch = rows.batch(numbers, np.random.default_rng(seed))
    generator = torch.Generator().manual_seed(seed)
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    return objective.loss(batch, generator) if processes.count == 1 else _part(objective, batch, generator, processes)


def _part(
    objective: objectives.Objective, batch: Batch, generator: torch.Generator, processes: Processes
) -> training.Losses:
    """This process's part of a global batch's losses: averaged over all processes they are the whole batch's."""
    own, weight = processes.share(objective.prepare(batch, generator))
    alone, objective.across = objective.across, lambda count: processes.mean(weight * count)
    try:
        return {name: weight * value for name, value in objective(own).items()}
    finally:
        objective.across = alone

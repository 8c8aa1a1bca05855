"""Vocabulary trimming: a student that keeps the pieces its texts need, and the rows of its embeddings for them.

- The pieces are counted over the training rows and, where the recipe names one, over a corpus of the user's. The most
  frequent ones are kept that together are the stated share of all occurrences (`coverage`), as far as `pieces` allows.
  Few rows know few words: `leading` adds the vocabulary's own most frequent ones.
- A word of which a piece is gone is read in smaller pieces: every character that the counted pieces hold is kept, and
  printable ASCII, so that no word of these languages becomes unknown.
- What that costs is counted on the dev rows: how many pieces are still read as before, how many texts change, how many
  pieces are unknown now and were not before.
- A corpus that knows few of the training rows' pieces is likely in another language than they are, and is told.
"""

from __future__ import annotations

import copy
import json
import string
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .. import recipe
from ..errors import AttarError, UsageError
from ..files import read_json, write_json
from ..tasks import corpus
from ..tasks.encoding import Encoder, Features
from ..tasks.task import Encoded
from ..teachers import checkpoint
from . import fewer_pieces
from .fewer_pieces import Document

PLACE = "compress.trim"
MARKS = ("##", "▁", "Ġ", "</w>")  # what tokenizers put before or behind a piece beside its characters
BATCH = 1000  # passages that are encoded at a time
POOR = 0.95  # of the dev rows' pieces that are kept: with less, other texts were counted than these
FOREIGN = 0.5  # of the training rows' pieces that a corpus knows: with less, it is in another language
JUDGED = 10_000  # pieces, in a corpus of fewer many words do not occur by chance


@dataclass(frozen=True)
class Trimmed:
    """The tokenizer with fewer pieces, and the old number of each."""

    document: Document
    kept: list[int]
    names: list[str]  # of all the old pieces, by their number
    known: float | None = None  # share of the training rows' pieces that the corpus has; None where it cannot be judged


def choose(plan: recipe.Trim, tokenizer_json: Path, rows: Iterable[Features], max_length: int) -> Trimmed:
    """The pieces that the training `rows` and the plan's corpus need."""
    document = read_json(tokenizer_json)
    names, needed = fewer_pieces.pieces(document), fewer_pieces.needed(document)
    counts, known = Counter(piece for row in rows for piece in row.input_ids), None
    if plan.corpus:
        elsewhere = _in_corpus(plan.corpus, Encoder(tokenizer_json, max_length))
        known = _known(counts, elsewhere, needed)
        counts.update(elsewhere)
    if not counts:
        raise AttarError("there is no text to count pieces in", where=PLACE)
    always = needed | _characters(names, counts)
    frequent = _covering(plan.coverage, counts)
    frequent += sorted(set(_leading(names, plan.leading or 0)).difference(frequent))

    def kept(number: int) -> set[int]:
        return fewer_pieces.closed(document, {*always, *frequent[:number]})

    number = len(frequent)
    if plan.pieces is not None:
        if len(kept(0)) > plan.pieces:
            raise UsageError(
                f"{plan.pieces:,} pieces were asked for, and special pieces and characters are {len(kept(0)):,}",
                where=f"{PLACE}.pieces",
                fix="ask for more, or count pieces in fewer texts",
            )
        number = bisect_right(range(number + 1), plan.pieces, key=lambda most: len(kept(most))) - 1
    return Trimmed(*fewer_pieces.rewrite(document, kept(number)), names, known)


def _known(rows: Counter[int], elsewhere: Counter[int], special: set[int]) -> float | None:
    """Which share of the rows' pieces, special ones aside, occurs in other texts; None where those are too short."""
    own = Counter({piece: count for piece, count in rows.items() if piece not in special})
    if not own or elsewhere.total() < JUDGED:
        return None
    return sum(count for piece, count in own.items() if piece in elsewhere) / own.total()


def _in_corpus(spec: recipe.Corpus, encoder: Encoder) -> Counter[int]:
    """How often each piece occurs in the corpus."""
    counts: Counter[int] = Counter()
    encoder.tokenizer.no_truncation()
    passages = corpus.of(spec).passages()
    while batch := list(islice(passages, BATCH)):
        for found in encoder.tokenizer.encode_batch(batch, add_special_tokens=False):
            counts.update(found.ids)
    return counts


def _covering(coverage: float, counts: Counter[int]) -> list[int]:
    """The most frequent pieces that together are this share of all occurrences, the most frequent first."""
    ordered = sorted(counts, key=lambda piece: (-counts[piece], piece))
    so_far = accumulate(counts[piece] for piece in ordered)
    enough = coverage * counts.total()
    return ordered[: 1 + next(place for place, covered in enumerate(so_far) if covered >= enough)]


def _leading(names: Sequence[str], number: int) -> Iterator[int]:
    """The first pieces of the vocabulary that are words or parts of words; BERT's begins with unused ones and signs."""
    words = (place for place, name in enumerate(names) if len(bare := _bare(name)) > 1 and bare.isalnum())
    return islice(words, number)


def _characters(names: Sequence[str], counts: Counter[int]) -> set[int]:
    """The pieces of one character for all that the counted pieces are written with, and for printable ASCII."""
    alphabet = set(string.printable.strip()).union(*(_bare(names[piece]) for piece in counts))
    return {number for number, name in enumerate(names) if len(bare := _bare(name)) == 1 and bare in alphabet}


def _bare(name: str) -> str:
    """A piece without the marks of its place in a word."""
    for mark in MARKS:
        if len(name) > len(mark):
            name = name.removeprefix(mark).removesuffix(mark)
    return name


def save(trimmed: Trimmed, source: Path, folder: Path) -> None:
    """Write the tokenizer with fewer pieces, beside what else the folder `source` says of it."""
    checkpoint.save_tokenizer(source, folder)
    write_json(folder / "tokenizer.json", trimmed.document)
    path = folder / "tokenizer_config.json"
    if path.is_file():
        settings = json.loads(path.read_text("utf-8"))
        settings.pop("added_tokens_decoder", None)  # by number; tokenizer.json has them too
        # BERT's own class would build its normalizer anew in the place of the file's.
        write_json(path, settings | {"tokenizer_class": "PreTrainedTokenizerFast"})


def trim(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """The model with the embeddings of these pieces alone, (pieces, width), in their order; an output matrix too.

    Raises `AttarError` where the embeddings have no row for a piece.
    """
    words: Any = model.get_input_embeddings()
    table = getattr(words, "table", words)  # of a factorized embedding the part that has rows
    rows = torch.tensor(kept)
    if int(rows.max()) >= table.num_embeddings:
        raise AttarError(f"the embeddings have {table.num_embeddings:,} rows, and piece {int(rows.max())} none")
    trimmed = copy.deepcopy(model)
    new = {old: number for number, old in enumerate(kept)}
    output = trimmed.get_output_embeddings()
    fewer = _rows(table, rows, new.get(table.padding_idx))
    if table is words:
        trimmed.set_input_embeddings(fewer)
    else:
        trimmed.get_input_embeddings().table = fewer
    if output is not None:
        smaller = nn.Linear(output.in_features, len(kept), bias=output.bias is not None)
        smaller.weight = nn.Parameter(output.weight.detach()[rows].clone())
        if output.bias is not None:
            smaller.bias = nn.Parameter(output.bias.detach()[rows].clone())
        trimmed.set_output_embeddings(smaller)
    trimmed.config.vocab_size = len(kept)
    for settings in (trimmed.config, getattr(trimmed, "generation_config", None)):
        _renumber(settings, new)
    trimmed.tie_weights()
    return trimmed


def _renumber(settings: Any, new: dict[int, int]) -> None:
    """The special pieces that a configuration names by number."""
    for name, value in list(vars(settings).items()) if settings is not None else []:
        if name.endswith("_token_id") and isinstance(value, int):
            setattr(settings, name, new.get(value))


def _rows(table: nn.Embedding, rows: torch.Tensor, padding: int | None) -> nn.Embedding:
    made = nn.Embedding(len(rows), table.embedding_dim, padding_idx=padding)
    made.weight = nn.Parameter(table.weight.detach()[rows].clone())
    return made


def report(trimmed: Trimmed, before: Encoded, after: Encoded, unknown: int | None) -> dict[str, Any]:
    """What the trimming costs on rows that were encoded before and after it; `unknown` is the old number of [UNK].

    `missing` are the ten pieces that these rows miss most often.
    """
    kept = set(trimmed.kept)
    names = {old: number for number, old in enumerate(trimmed.kept)}
    counts = Counter(piece for row in before.features for piece in row.input_ids)
    changed = sum(
        [[names.get(piece) for piece in row.input_ids] for row in old] != [row.input_ids for row in new]
        for old, new in zip(before.grouped(), after.grouped(), strict=True)
    )
    whole = sum(counts.values())
    missing = Counter({piece: count for piece, count in counts.items() if piece not in kept})
    return {
        "pieces": len(trimmed.kept),
        "coverage": (whole - missing.total()) / whole if whole else 1.0,
        "changed_rows": changed,
        "rows": before.count,
        "unknown_before": counts[unknown] if unknown is not None else 0,
        "unknown_after": _count(after.features, names.get(unknown)) if unknown is not None else 0,
        "pieces_per_text": [_mean(before.features), _mean(after.features)],
        "missing": [trimmed.names[piece] for piece, _ in missing.most_common(10)],
        "corpus_knows": trimmed.known,
    }


def remarks(found: dict[str, Any]) -> Iterator[str]:
    """What a user should know of a report."""
    if found["changed_rows"]:
        before, after = found["pieces_per_text"]
        yield (
            f"trim: {found['changed_rows']:,} of {found['rows']:,} dev rows are read in smaller pieces, {after:.1f} a "
            f"text where it was {before:.1f}; the most frequent that are gone: {', '.join(found['missing'])}"
        )
    if found["corpus_knows"] is not None and found["corpus_knows"] < FOREIGN:
        yield (
            f"trim: the corpus has only {100 * found['corpus_knows']:.1f} % of the training rows' pieces, as if it "
            f"were in another language; its pieces take bytes ({PLACE}.corpus)"
        )
    if found["coverage"] < POOR:
        yield (
            f"trim: only {100 * found['coverage']:.1f} % of the pieces in the dev rows are kept; count them in texts "
            f"like them ({PLACE}.corpus), or raise {PLACE}.coverage"
        )
    if found["unknown_after"] > found["unknown_before"]:
        yield f"trim: {found['unknown_after'] - found['unknown_before']} more pieces of the dev rows are unknown"


def _count(rows: Iterable[Features], piece: int | None) -> int:
    return sum(row.input_ids.count(piece) for row in rows) if piece is not None else 0


def _mean(rows: Sequence[Features]) -> float:
    return sum(len(row.input_ids) for row in rows) / max(1, len(rows))

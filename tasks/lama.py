"""LAMA: what a masked language model knows, asked in sentences (Petroni et al., arXiv 1909.01066).

- A fact (subject, relation, object) becomes its relation's template with the subject written in and the mask in the
  object's place; the model ranks its whole vocabulary there.
- As in the paper only objects of one piece are asked. Whether an object is one piece is seen by writing it
  in its place: all other pieces must stay the same. Rows that cannot be asked are counted by their reason.
- Precision at 1 and 10 and the mean reciprocal rank, for each relation, then the mean over relations (macro). Equal
  scores share their mean rank, as in link prediction.
- Models with different vocabularies are comparable over the words that all of them have: `shared_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from ..errors import AttarError
from ..recipe import Split, Task
from . import table
from .encoding import Encoder, Features
from .table import Example
from .triples import Floats, realistic_ranks

MASKS = ("[MASK]", "<mask>")
UNKNOWNS = ("[UNK]", "<unk>")
Ints = npt.NDArray[np.int64]


class Probe(NamedTuple):
    """One question: a sentence with a mask, and the piece that belongs there."""

    relation: str
    features: Features
    position: int  # of the mask
    gold: int  # number of the right piece in the vocabulary
    where: str


@dataclass(frozen=True)
class Probes:
    """The questions, the rows that could not be asked by their reason, and the pieces that are ranked (None: all)."""

    rows: list[Probe]
    skipped: dict[str, int]
    candidates: Ints | None = None


class Scores(NamedTuple):
    """`p@1`, `p@10` and `mrr`: their mean over the relations, and each relation's own with its `rows`."""

    macro: dict[str, float]
    relations: dict[str, dict[str, float]]


def read(facts: Path, relations: Path, encoder: Encoder, words: Iterable[str] | None = None) -> Probes:
    """Questions from facts (`predicate_id`, `sub_label`, `obj_label`) and templates (`relation`, `template`), as JSONL.

    `words` restrict the pieces that are ranked; a fact whose object is none of them is skipped. Raises `AttarError`
    with file and line for a row that lacks a field, a relation without a template and a template without [X] and [Y],
    and where no row is left.
    """
    mask, unknown = _special(encoder, MASKS), _special(encoder, UNKNOWNS)
    if mask is None:
        raise AttarError("the tokenizer has no mask piece", fix="probe a masked language model")
    templates = _templates(relations)
    examples = written(facts)
    asked = encoder.encode([(_sentence(row, templates, relations, mask), None) for row in examples])
    told = encoder.encode([(_sentence(row, templates, relations, row.label), None) for row in examples])
    candidates = None if words is None else _pieces(words, encoder)
    allowed = None if candidates is None else set(candidates.tolist())
    mask_id, unknown_id = encoder.tokenizer.token_to_id(mask), encoder.tokenizer.token_to_id(unknown or "")
    rows: list[Probe] = []
    skipped = {"cut": 0, "several pieces": 0, "not a candidate": 0}
    for row, question, answer in zip(examples, asked, told, strict=True):
        places = [place for place, piece in enumerate(question.input_ids) if piece == mask_id]
        gold = _only_difference(question.input_ids, answer.input_ids, places[0]) if len(places) == 1 else None
        if len(places) > 1:
            raise AttarError(f"the sentence holds {mask} more than once", where=row.where)
        if not places:
            skipped["cut"] += 1  # a long subject: the mask stands behind the end
        elif gold is None or gold == unknown_id:
            skipped["several pieces"] += 1
        elif allowed is not None and gold not in allowed:
            skipped["not a candidate"] += 1
        else:
            rows.append(Probe(str(row.text_pair), question, places[0], gold, row.where))
    if not rows:
        raise AttarError(f"none of {len(examples)} facts can be asked in this vocabulary", where=str(facts))
    return Probes(rows, {reason: count for reason, count in skipped.items() if count}, candidates)


def written(facts: Path) -> list[Example]:
    """The facts of a file: the subject as text, the relation as second text, the object as label."""
    return _jsonl(facts, "sub_label", "predicate_id", "obj_label")


def shared_words(tokenizers: Sequence[Tokenizer]) -> list[str]:
    """The words that are one piece in every WordPiece vocabulary, sorted; no special pieces and no endings (`##s`)."""
    vocabularies = [set(tokenizer.get_vocab()) for tokenizer in tokenizers]
    return sorted(word for word in set.intersection(*vocabularies) if word.isalnum())


def ranks(logits: Floats, rows: Sequence[Probe], candidates: Ints | None = None) -> npt.NDArray[np.float64]:
    """Rank, from 1, of each row's right piece in logits (rows, vocabulary), among the candidates."""
    gold = np.array([row.gold for row in rows], np.int64)
    if candidates is None:
        return realistic_ranks(logits, gold)
    return realistic_ranks(logits[:, candidates], np.searchsorted(candidates, gold))


def score(rows: Sequence[Probe], found: npt.NDArray[np.float64]) -> Scores:
    """The scores from the rank of every row; a tie for the first place is no hit."""
    relations: dict[str, dict[str, float]] = {}
    for name in sorted({row.relation for row in rows}):
        own = found[[row.relation == name for row in rows]]
        relations[name] = _precision(own) | {"rows": float(len(own))}
    metrics = ("p@1", "p@10", "mrr")
    return Scores({key: float(np.mean([own[key] for own in relations.values()])) for key in metrics}, relations)


def _precision(own: npt.NDArray[np.float64]) -> dict[str, float]:
    return {"p@1": float(np.mean(own <= 1)), "p@10": float(np.mean(own <= 10)), "mrr": float(np.mean(1 / own))}


def _jsonl(path: Path, text: str, pair: str, label: str) -> list[Example]:
    split = Split(path=str(path), format="jsonl")
    return table.read(split, Task(train=split, text=text, text_pair=pair, label=label))


def _templates(path: Path) -> dict[str, str]:
    split = Split(path=str(path), format="jsonl")
    rows = table.read(split, Task(train=split, text="template", label="relation"))
    for row in rows:
        if row.text.count("[X]") != 1 or row.text.count("[Y]") != 1:
            raise AttarError("a template needs one [X] and one [Y]", where=row.where)
    return {row.label: row.text for row in rows}


def _sentence(row: Example, templates: dict[str, str], relations: Path, answer: str) -> str:
    if row.text_pair not in templates:
        what = f"no template for the relation {row.text_pair!r}"
        raise AttarError(what, where=row.where, fix=f"add it to {relations}")
    values = {"[X]": row.text, "[Y]": answer}
    return re.sub(r"\[[XY]\]", lambda match: values[match[0]], templates[row.text_pair])


def _only_difference(question: Sequence[int], answer: Sequence[int], place: int) -> int | None:
    """The piece that stands in the mask's place, where that is the only difference."""
    same = len(question) == len(answer) and [*question[:place], *question[place + 1 :]] == [
        *answer[:place],
        *answer[place + 1 :],
    ]
    return answer[place] if same else None


def _pieces(words: Iterable[str], encoder: Encoder) -> Ints:
    """The numbers of the words that are one piece, sorted."""
    numbers = {encoder.tokenizer.token_to_id(word) for word in words}
    return np.array(sorted(number for number in numbers if number is not None), np.int64)


def _special(encoder: Encoder, names: Sequence[str]) -> str | None:
    return next((name for name in names if encoder.tokenizer.token_to_id(name) is not None), None)

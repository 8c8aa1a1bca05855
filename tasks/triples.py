"""Knowledge graphs: triples from files, and how well a model ranks the missing end of one.

- A file holds `head<TAB>relation<TAB>tail` rows; a second file may hold the same rows in words (WN18RR is published
  so: offsets beside synset names). An id with several names gets them all: in WN18RR's ids a noun and an adjective
  may share an offset.
- The training triples say which entities and relations there are. A held-out row with another one is named, or
  counted and skipped where the caller says so; it is never scored with a vector nobody learnt.
- A model that reads entities can only learn those whose words its vocabulary has (`sayable`). A row with another one is
  named or counted in the same way, in `train` too: all of them would be one text, and no translation tells them apart.
- Link prediction is *filtered* (Bordes et al., "Translating Embeddings for Modeling Multi-relational Data", NIPS 2013,
  section 4.2): other true answers leave the list before the right one is ranked, as head and as tail.
- Equal scores share the mean of their ranks ("realistic" rank; Berrendorf et al., arXiv 2002.06914), so a model that
  gives every entity the same score ranks in the middle and not first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import recipe
from ..errors import AttarError, UsageError
from . import table

Triples = npt.NDArray[np.int64]  # (rows, 3): head, relation, tail
Floats = npt.NDArray[np.floating[Any]]
Side = Literal["head", "tail"]
Scorer = Callable[[Triples, Side], Floats]  # triples, which end is asked -> (triples, entities), higher is likelier
Sayable = Callable[[Sequence[str]], Sequence[bool]]  # texts -> whether a vocabulary has words of each

COLUMNS = ["head", "relation", "tail"]
CELLS = 2**22  # scores held at once: 32 MB
BLOCK = 2**19  # differences held at once while L1 distances are summed: a cache's worth
SYNSET = re.compile(r"(.+)\.([nvasr])\.(\d+)")
PARTS = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}


class Files(NamedTuple):
    """One split: its triples, and the same rows written in words."""

    triples: Path
    words: Path | None = None


class Row(NamedTuple):
    """One triple as it is written."""

    head: str
    relation: str
    tail: str
    where: str


@dataclass(frozen=True)
class Graph:
    """Triples by split, with `train` among them; entity and relation numbers count the sorted ids of `train`."""

    entities: list[str]
    relations: list[str]
    texts: list[str]  # each entity in words
    splits: dict[str, Triples]
    skipped: dict[str, int]  # rows of each split that name what `train` does not
    wordless: dict[str, int] = field(default_factory=dict)  # rows of each split with an entity nobody can read

    @property
    def known(self) -> Triples:
        """The triples of all splits: what is true when ranks are filtered."""
        return np.concatenate(list(self.splits.values()))


def load(spec: recipe.Graph, sayable: Sayable | None = None) -> Graph:
    """The splits `train` and `dev` of a recipe's graph (`read`)."""
    splits = {"train": spec.train, "dev": spec.dev}
    files = {
        name: Files(recipe.expand(split.triples), recipe.expand(split.words) if split.words else None)
        for name, split in splits.items()
    }
    return read(files, spec.unknown, sayable)


def read(
    files: Mapping[str, Files], unknown: Literal["error", "skip"] = "error", sayable: Sayable | None = None
) -> Graph:
    """Read the splits of a graph; `unknown` says what to do with rows that cannot be learnt or known.

    These are held-out rows with what `train` does not have and, with `sayable`, rows with an entity without words.
    Raises `AttarError` with file and line for such a row, one that is no triple, and words that are not parallel.
    """
    if "train" not in files:
        raise UsageError("a graph needs a split `train`", fix="name its file of triples")
    rows = {name: _rows(split.triples) for name, split in files.items()}
    texts = _texts(files, rows)
    said = sayable([*texts.values()]) if sayable else [True] * len(texts)
    mute = {name for name, fine in zip(texts, said, strict=True) if not fine}
    kept = {name: [row for row in split if not _mute(row, texts, mute, unknown)] for name, split in rows.items()}
    entities = sorted({end for row in kept["train"] for end in (row.head, row.tail)})
    relations = sorted({row.relation for row in kept["train"]})
    if len(entities) < 2:
        raise AttarError("the training triples hold only one entity", where=str(files["train"].triples))
    numbers = {name: number for number, name in enumerate(entities)}, {name: n for n, name in enumerate(relations)}
    splits = {name: _numbered(split, *numbers, unknown) for name, split in kept.items()}
    skipped = {name: len(kept[name]) - len(found) for name, found in splits.items()}
    wordless = {name: len(rows[name]) - len(found) for name, found in kept.items()}
    return Graph(entities, relations, [texts[entity] for entity in entities], splits, skipped, wordless)


def in_words(name: str) -> str:
    """A name as a text: `land_reform.n.01` is `land reform, noun 1`, other names lose their underscores.

    Part of speech and number stay, because they are all that tells one sense of a word from another.
    """
    match = SYNSET.fullmatch(name)
    if match is None:
        return name.replace("_", " ").strip() or name
    return f"{match[1].replace('_', ' ')}, {PARTS[match[2]]} {int(match[3])}"


def _rows(path: Path) -> list[Row]:
    rows = []
    for where, cells in table.table_rows(path, table.decode(path, "utf-8"), "tsv", COLUMNS, exact=True):
        empty = next((name for name in COLUMNS if not cells[name].strip()), "")
        if empty:
            raise AttarError(f"the column {empty!r} holds no text", where=where)
        head, relation, tail = (cells[name].strip() for name in COLUMNS)
        rows.append(Row(head, relation, tail, where))
    return rows


def _texts(files: Mapping[str, Files], rows: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Every entity of all splits in words."""
    names: dict[str, dict[str, None]] = defaultdict(dict)  # an ordered set for each id
    for name, split in files.items():
        spelled = _parallel(split.words, split.triples, rows[name]) if split.words else rows[name]
        for row, other in zip(rows[name], spelled, strict=True):
            names[row.head][in_words(other.head)] = None
            names[row.tail][in_words(other.tail)] = None
    return {entity: "; ".join(found) for entity, found in names.items()}


def _mute(row: Row, texts: Mapping[str, str], mute: set[str], unknown: str) -> bool:
    """Is one of the row's entities without words? Where `unknown` is `error`, that is one."""
    entity = next((end for end in (row.head, row.tail) if end in mute), None)
    if entity is not None and unknown == "error":
        what = f"the entity {entity!r} ({texts[entity]!r}) has no words in the vocabulary"
        raise AttarError(what, where=row.where, fix="name it in the file of words, or skip such rows")
    return entity is not None


def _parallel(words: Path, triples: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows in words; a shifted file would teach every entity another one's name."""
    spelled = _rows(words)
    if len(spelled) != len(rows):
        raise AttarError(f"{len(spelled)} rows where {triples} has {len(rows)}", where=str(words))
    for row, other in zip(rows, spelled, strict=True):
        if row.relation != other.relation:
            what = f"the relation {other.relation!r}, where {row.where} has {row.relation!r}"
            raise AttarError(what, where=other.where)
    return spelled


def _numbered(rows: Sequence[Row], entities: dict[str, int], relations: dict[str, int], unknown: str) -> Triples:
    found = []
    for row in rows:
        names = ("entity", row.head, entities), ("relation", row.relation, relations), ("entity", row.tail, entities)
        strange = next((f"{kind} {name!r}" for kind, name, known in names if name not in known), "")
        if not strange:
            found.append([known[name] for _, name, known in names])
        elif unknown == "error":
            fix = "take the row out, or skip such rows"
            raise AttarError(f"the {strange} is in no training triple", where=row.where, fix=fix)
    return np.array(found, np.int64).reshape(-1, 3)


def link_prediction(triples: Triples, known: Triples, score: Scorer, entities: int) -> dict[str, float]:
    """Filtered `mrr`, `mr` (mean rank) and `hits@1/3/10` over both ends of (rows, 3) triples.

    `known` are all true triples (`Graph.known`). Memory is bounded: about `CELLS` scores at a time.
    """
    if not len(triples):
        raise AttarError("there are no triples to rank", fix="check the held-out file")
    batch_size = max(1, CELLS // entities)
    found = []
    sides: tuple[tuple[Side, int], ...] = (("head", 0), ("tail", 2))
    for side, column in sides:
        answers = _answers(known, column)
        for start in range(0, len(triples), batch_size):
            batch = triples[start : start + batch_size]
            scores = np.array(score(batch, side))  # a copy, which is filtered in place
            gold = batch[:, column]
            own = scores[np.arange(len(batch)), gold]
            for number, key in enumerate(np.delete(batch, column, 1).tolist()):
                scores[number, answers.get(tuple(key), [])] = -np.inf
            scores[np.arange(len(batch)), gold] = own
            found.append(realistic_ranks(scores, gold))
    return summary(np.concatenate(found))


def _answers(known: Triples, column: int) -> dict[tuple[int, ...], list[int]]:
    """All true entities of one end, by the two other numbers of the triple."""
    answers: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for key, answer in zip(np.delete(known, column, 1).tolist(), known[:, column].tolist(), strict=True):
        answers[tuple(key)].append(answer)
    return answers


def realistic_ranks(scores: Floats, gold: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Rank, from 1, of column `gold` in each row of (rows, candidates); equals share their mean rank.

    Raises `AttarError` for a score that is not a number: it would compare as worse than everything.
    """
    own = scores[np.arange(len(scores)), gold][:, None]
    if np.isnan(scores).any() or not np.isfinite(own).all():
        raise AttarError("a score is not a number", fix="lower the learning_rate of the training")
    better, equal = (scores > own).sum(1), (scores == own).sum(1) - 1
    ranks: npt.NDArray[np.float64] = 1 + better + equal / 2
    return ranks


def summary(ranks: npt.NDArray[np.float64]) -> dict[str, float]:
    """The means over ranks that link prediction is reported by."""
    hits = {f"hits@{k}": float(np.mean(ranks <= k)) for k in (1, 3, 10)}
    return {"mrr": float(np.mean(1 / ranks)), "mr": float(np.mean(ranks)), **hits}


def translation_score(entities: Floats, relations: Floats, norm: int) -> Scorer:
    """TransE's score −‖h + r − t‖ against all entities, from tables (entities, width) and (relations, width).

    Equal vectors are measured once: a product of matrices rounds equal columns differently, and would break their tie.
    """
    vectors, inverse = np.unique(entities, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)

    def score(triples: Triples, side: Side) -> Floats:
        moved = relations[triples[:, 1]]
        query = entities[triples[:, 0]] + moved if side == "tail" else entities[triples[:, 2]] - moved
        return -distances(query, vectors, norm)[:, inverse]

    return score


def distances(queries: Floats, vectors: Floats, norm: int) -> Floats:
    """L1 or L2 distances of (rows, width) and (count, width): (rows, count)."""
    if norm == 2:
        left, right = queries.astype(np.float64), vectors.astype(np.float64)
        squares = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * (left @ right.T)
        roots: Floats = np.sqrt(np.maximum(squares, 0))
        return roots
    found = np.empty((len(queries), len(vectors)), np.result_type(queries, vectors))
    step = max(1, BLOCK // max(1, queries.size))
    for start in range(0, len(vectors), step):
        difference = queries[:, None] - vectors[None, start : start + step]
        found[:, start : start + step] = np.abs(difference, out=difference).sum(-1)
    return found

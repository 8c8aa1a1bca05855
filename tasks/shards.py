"""An encoded corpus in memory-mapped files: random access by document, sentence and row. `sharding` builds it.

- `pieces.bin` holds the pieces of all sentences in a row (uint16 where the vocabulary allows, else uint32),
  `sentences.bin` where each sentence starts in it and `documents.bin` at which sentence each document starts (int64,
  one more than there are). All little-endian; `shards.json` states the counts and the key.
- What is read is paged in by the system and dropped again: memory does not grow with the corpus.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..files import read_json

NAME = "shards.json"

Ids = npt.NDArray[np.integer[Any]]
Integers = npt.NDArray[np.int64]


class Shards:
    """Random access to an encoded corpus; `len` is the number of documents.

    Sentences are numbered through the whole corpus. Arrays of pieces are views of the file: copy before writing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = read_json(folder / NAME)
        if not has_sizes(folder, self.card):
            raise AttarError("the encoded corpus is damaged", where=str(folder), fix="delete the folder")
        self.counts: dict[str, int] = self.card["counts"]
        self.sentences: int = self.card["sentences"]
        self._pieces: Ids = np.memmap(folder / "pieces.bin", np.dtype(self.card["dtype"]).newbyteorder("<"), "r")
        self._sentences: Integers = np.memmap(folder / "sentences.bin", "<i8", "r")
        self._documents: Integers = np.memmap(folder / "documents.bin", "<i8", "r")

    def __len__(self) -> int:
        return int(self.card["documents"])

    def __reduce__(self) -> tuple[type[Shards], tuple[Path]]:
        """To another process goes the folder's name: a memory map would be copied whole."""
        return type(self), (self.folder,)

    @property
    def pieces(self) -> int:
        """Pieces of the whole corpus."""
        return int(self.card["pieces"])

    def document(self, number: int) -> range:
        """The numbers of a document's sentences, at least one."""
        number = _index(number, len(self))
        return range(int(self._documents[number]), int(self._documents[number + 1]))

    def document_of(self, sentences: npt.ArrayLike) -> Integers:
        """The document of each sentence; the same shape."""
        return np.searchsorted(self._documents, np.asarray(sentences, np.int64), side="right") - 1

    def sentence(self, number: int) -> Ids:
        """The pieces of a sentence, shape (length,), at least one."""
        number = _index(number, self.sentences)
        return self.span(number, number + 1)

    def span(self, first: int, last: int) -> Ids:
        """The pieces of the consecutive sentences `first` up to, not with, `last`; shape (length,)."""
        return self._pieces[self._sentences[first] : self._sentences[last]]

    def lengths(self, sentences: npt.ArrayLike) -> Integers:
        """Pieces of each sentence; the same shape."""
        numbers = np.asarray(sentences, np.int64)
        return np.asarray(self._sentences[numbers + 1] - self._sentences[numbers])

    def windows(self, length: int) -> Windows:
        """Rows of `length` contiguous pieces over the whole corpus, which cross sentences and documents."""
        return Windows(self._pieces, length, str(self.folder))


class Windows:
    """Rows for causal language modelling: row i starts at piece i x length, a short rest is left."""

    def __init__(self, pieces: Ids, length: int, where: str) -> None:
        if len(pieces) < length:
            raise AttarError(f"the corpus has {len(pieces)} pieces, fewer than one row of {length}", where=where)
        self.length = length
        self._rows = pieces[: len(pieces) // length * length].reshape(-1, length)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: int | Integers) -> Integers:
        """One row, shape (length,), or the rows of an array, shape (rows, length); int64 copies."""
        return np.array(self._rows[rows], np.int64)


def has_sizes(folder: Path, card: Any) -> bool:
    """Whether the files are as long as the card says."""
    try:
        width = np.dtype(card["dtype"]).itemsize
        wanted = {
            "pieces": card["pieces"] * width,
            "sentences": 8 * (card["sentences"] + 1),
            "documents": 8 * (card["documents"] + 1),
        }
        return all((folder / f"{name}.bin").stat().st_size == size for name, size in wanted.items())
    except (KeyError, TypeError, OSError):
        return False


def _index(number: int, count: int) -> int:
    if not -count <= number < count:
        raise IndexError(f"{number} of {count}")
    return number % count

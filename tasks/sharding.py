"""A corpus encoded once into the memory-mapped files of `shards`.

- The key is the digest of the corpus, the tokenizer and the settings. A folder with another key, or with a file of
  another size, is built again; a build that was interrupted leaves nothing that could be taken for whole.
- Sentences are encoded without special pieces, a passage's first one with the blank line before it: for a byte-level
  tokenizer a document's pieces are those of its text. Words of the text that look like special pieces stay words.
- What it will take on disk is estimated, reported and compared with the free space before anything is written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from ..errors import AttarError, DiskFullError
from ..files import explain_os_errors, file_digest, locked, read_json, replace_folder, value_digest, write_json
from .corpus import Corpus
from .sentences import sentences
from .shards import NAME, Integers, Shards, has_sizes

VERSION = 1
PASSAGE_BREAK = "\n\n"
BATCH = 1 << 17  # characters that are encoded at once; the library takes some 100 bytes for each
SAMPLED_FILES, READ, ENCODED = 8, 1 << 22, 1 << 17  # files, and characters of each, that an estimate looks at

Progress = Callable[[str, float, str], None]  # what, share done, a short remark


@dataclass(frozen=True)
class Cost:
    """What a corpus will take on disk once encoded; an estimate from the beginnings of some files."""

    pieces: int
    bytes: int

    def line(self) -> str:
        """The estimate in words."""
        return f"about {self.pieces:,} pieces, {self.bytes / 1e6:,.1f} MB on disk"


def estimate(corpus: Corpus, tokenizer_json: Path) -> Cost:
    """The size of the corpus encoded, from the first characters of up to SAMPLED_FILES of its files."""
    tokenizer = _tokenizer(tokenizer_json)
    sampled = corpus.files[:: -(-len(corpus.files) // SAMPLED_FILES)]
    seen = pieces = offsets = 0.0  # bytes of files, and what was made of them
    for file in sampled:
        part = corpus.only(file)
        ids = starts = characters = 0
        try:
            for passage in part.passages():
                if characters < ENCODED:
                    texts = sentences(passage[:ENCODED])
                    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
                    ids, starts = ids + sum(map(len, encodings)), starts + len(texts)
                    characters += sum(map(len, texts))
                if part.counts.characters >= READ:
                    break
        except AttarError:
            if part.counts.passages or len(sampled) == 1:  # a file among others may hold no text
                raise
        share = part.counts.characters / max(1, characters)
        seen, pieces, offsets = seen + part.counts.bytes, pieces + ids * share, offsets + starts * share
    scale = corpus.size / max(1.0, seen)
    width = _dtype(tokenizer).itemsize
    return Cost(round(pieces * scale), round(scale * (pieces * width + offsets * 8)))


def build(
    corpus: Corpus,
    tokenizer_json: Path,
    folder: Path,
    *,
    end_of_document: str | None = None,
    progress: Progress = lambda what, done, remark: None,
) -> Shards:
    """The corpus encoded in `folder`; what is there already is taken where its key is the same.

    `end_of_document` is a special piece that ends each document's last sentence (`<|endoftext|>` for GPT). The first
    report of `progress` is the estimated cost. Raises `AttarError` for a corpus that cannot be read and where the disk
    has no room for it.
    """
    tokenizer = _tokenizer(tokenizer_json)
    end = tokenizer.token_to_id(end_of_document) if end_of_document else None
    if end_of_document and end is None:
        raise AttarError(f"the vocabulary has no piece {end_of_document!r}", where=str(tokenizer_json))
    key = value_digest([VERSION, corpus.digest(), file_digest(tokenizer_json), end_of_document])
    if _is_current(folder, key):
        return Shards(folder)
    partial = folder.with_name(f".new-{folder.name}")
    with locked(partial):
        try:
            if not _is_current(folder, key):  # another process may have made it since
                cost = estimate(corpus, tokenizer_json)
                progress("encode", 0.0, cost.line())
                if cost.bytes > shutil.disk_usage(partial).free:
                    raise DiskFullError(f"{folder} ({cost.line()})")
                _encode(corpus, tokenizer, end, partial, key, progress)
                (partial / ".lock").unlink()
                replace_folder(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # half a corpus would only fill the disk
    return Shards(folder)


def _encode(corpus: Corpus, tokenizer: Tokenizer, end: int | None, folder: Path, key: str, progress: Progress) -> None:
    """Write the three files and then the card."""
    with explain_os_errors(folder), _Writer(folder, tokenizer, end) as writer:
        for document in corpus.documents():
            for number, passage in enumerate(document.passages):
                if writer.add(passage, first=number == 0):
                    progress("encode", corpus.done, f"{writer.pieces:,} pieces")
            writer.end()
        writer.finish()
    if not writer.pieces:
        raise AttarError("the tokenizer makes no pieces of this corpus", where=str(corpus.files[0]))
    card = {"key": key, "dtype": _dtype(tokenizer).name, "pieces": writer.pieces}
    card |= {"sentences": writer.sentences, "documents": writer.documents}
    write_json(folder / NAME, card | {"counts": asdict(corpus.counts) | {"unknown_pieces": writer.unknown}})
    progress("encode", 1.0, corpus.counts.line())


class _Writer:
    """Encodes sentences in batches and appends them to the three files."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, end: int | None) -> None:
        self.pieces = self.sentences = self.documents = self.unknown = 0
        self._folder, self._tokenizer, self._end = folder, tokenizer, end
        self._dtype = _dtype(tokenizer).newbyteorder("<")
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown = tokenizer.token_to_id(unknown) if unknown else None
        self._texts: list[str | None] = []  # None ends a document
        self._characters = 0
        self._open = False  # the present document has pieces

    def __enter__(self) -> _Writer:
        with contextlib.ExitStack() as stack:
            names = ("pieces", "sentences", "documents")
            self._files = [stack.enter_context((self._folder / f"{name}.bin").open("wb")) for name in names]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, passage: str, *, first: bool) -> bool:
        """Take a passage, `first` of its document or not; gives whether a batch was written."""
        texts = sentences(passage)
        if not first:
            texts[0] = PASSAGE_BREAK + texts[0]
        before = self.pieces
        for text in texts:  # a passage may be many batches long
            self._texts.append(text)
            self._characters += len(text)
            if self._characters >= BATCH:
                self._flush()
        return self.pieces > before

    def end(self) -> None:
        """End the document."""
        self._texts.append(None)

    def finish(self) -> None:
        """Write what is left, and the ends of the last sentence and document."""
        self._flush()
        for file, total in zip(self._files[1:], (self.pieces, self.sentences), strict=True):
            file.write(np.array(total, "<i8").tobytes())
        for file in self._files:  # before the card says that they are whole
            file.flush()
            os.fsync(file.fileno())

    def _flush(self) -> None:
        texts, self._texts, self._characters = self._texts, [], 0
        words = [text for text in texts if text is not None]
        encodings = iter(self._tokenizer.encode_batch_fast(words, add_special_tokens=False))
        pieces: list[int] = []
        starts: dict[str, list[int]] = {"sentences": [], "documents": []}
        for text in texts:
            if text is None:
                if self._open and self._end is not None:
                    pieces.append(self._end)
                self._open = False
                continue
            ids = next(encodings).ids
            if not ids:  # nothing but characters that the tokenizer drops
                continue
            if not self._open:
                starts["documents"].append(self.sentences + len(starts["sentences"]))
                self._open = True
            starts["sentences"].append(self.pieces + len(pieces))
            pieces += ids
        self._write(np.array(pieces, np.int64), starts)

    def _write(self, pieces: Integers, starts: dict[str, list[int]]) -> None:
        if self._unknown is not None:
            self.unknown += int(np.count_nonzero(pieces == self._unknown))
        self._files[0].write(pieces.astype(self._dtype).tobytes())
        self._files[1].write(np.array(starts["sentences"], "<i8").tobytes())
        self._files[2].write(np.array(starts["documents"], "<i8").tobytes())
        self.pieces += len(pieces)
        self.sentences += len(starts["sentences"])
        self.documents += len(starts["documents"])


def _tokenizer(path: Path) -> Tokenizer:
    """The tokenizer, with any truncation and padding of its file off, and special pieces no different from text."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise AttarError(f"not a tokenizer: {error}", where=str(path)) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _dtype(tokenizer: Tokenizer) -> np.dtype[Any]:
    """The narrowest type that holds every piece."""
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    return np.dtype(np.uint16 if largest < 1 << 16 else np.uint32)


def _is_current(folder: Path, key: str) -> bool:
    if not (folder / NAME).is_file():
        return False
    try:
        card = read_json(folder / NAME)
    except AttarError:
        return False
    return isinstance(card, dict) and card.get("key") == key and has_sizes(folder, card)

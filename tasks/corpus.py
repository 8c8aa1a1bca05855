"""Corpora: text files, JSONL and TSV become documents of passages, and passages become sentences.

- Files are read as streams (`streams`): neither a file nor a document of a text file is ever held in memory.
- A passage is a paragraph: the lines up to a blank one, joined by a space, every run of whitespace one space.
- A document is a whole text file or one row of JSONL or TSV. `document="paragraph"` takes each paragraph for a document
  and `passage="line"` each line for a passage; the two together read BERT's own format, a sentence a line.
- What no model can use is skipped and counted (`Counts`); what shows a damaged file is an error with file and line.
- Files come in the order of the given paths, those of a pattern by name: the same files give the same passages.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from .. import recipe
from ..errors import AttarError, UsageError
from ..files import file_digest, value_digest
from .sentences import cut
from .streams import LONGEST, Counts, Line, bare, lines, rows

VERSION = 1  # of what is made of the same files
TEXT, ROWS = (".txt", ".text", ".md"), (".jsonl", ".json", ".ndjson", ".tsv")


class Document(NamedTuple):
    """One document: its file and line, and its passages, which are read as they are asked for, once."""

    where: str
    passages: Iterator[str]


class Corpus:
    """Text, JSONL and TSV files, given by path or pattern (`$NAME` reads the environment).

    `text` is the column of the rows that is read; of several names the first one present. `counts` are those of the
    latest pass, complete once it has ended.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        text: str | Sequence[str] = "text",
        document: Literal["file", "paragraph"] = "file",
        passage: Literal["paragraph", "line"] = "paragraph",
    ) -> None:
        self.files = _find([paths] if isinstance(paths, (str, Path)) else paths)
        self.text = [text] if isinstance(text, str) else list(text)
        self.document, self.passage = document, passage
        self.size = _size(self.files)  # bytes of the files as they lie on disk
        self.counts = Counts()
        self._digest = ""

    @property
    def done(self) -> float:
        """Share of the files' bytes that the latest pass has read."""
        return min(1.0, self.counts.bytes / max(1, self.size))

    def digest(self) -> str:
        """sha256 over the files' contents in their order and over how they are read; they are read for it once."""
        if not self._digest:
            settings = [VERSION, self.text, self.document, self.passage]
            self._digest = value_digest([*settings, *((_kind(path), file_digest(path)) for path in self.files)])
        return self._digest

    def only(self, file: Path) -> Corpus:
        """The same corpus with one of its files."""
        part = copy.copy(self)
        part.files, part.size, part.counts, part._digest = [file], _size([file]), Counts(), ""
        return part

    def documents(self) -> Iterator[Document]:
        """Every document with at least one passage; read a document's passages before the next document.

        Raises `AttarError` for a file that cannot be read, bytes that are not UTF-8, a broken row, and a corpus
        without any text.
        """
        counts = self.counts = Counts()
        for path in self.files:
            before = counts.bytes
            if _kind(path) == "text":
                yield from self._documents(path, lines(path, counts), counts)
            else:
                for number, text in rows(path, self.text, counts):
                    row = zip(itertools.repeat(number), text.split("\n"), strict=False)
                    yield from self._documents(path, row, counts)
            counts.bytes = before + _size([path])
        if not counts.documents:
            where = str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files"
            raise AttarError("the corpus holds no text", where=where)

    def passages(self) -> Iterator[str]:
        """The passages of all documents."""
        for document in self.documents():
            yield from document.passages

    def lines(self) -> Iterator[str]:
        """The lines of text files, each with its newline, and the texts of rows, as they stand."""
        counts = self.counts = Counts()
        for path in self.files:
            for _, text in lines(path, counts) if _kind(path) == "text" else rows(path, self.text, counts):
                yield text

    def _documents(self, path: Path, source: Iterable[Line], counts: Counts) -> Iterator[Document]:
        """The documents of a text file or of a row."""
        stream = _passages(_bounded(source, counts), self.passage == "line", counts)
        groups: Iterable[Iterator[Line | None]] = [stream]
        if self.document == "paragraph":
            groups = (group for present, group in itertools.groupby(stream, lambda line: line is not None) if present)
        for group in groups:
            passages = (line for line in group if line is not None)
            first = next(passages, None)
            if first is not None:
                counts.documents += 1
                yield Document(f"{path}:{first[0]}", _counted(itertools.chain([first], passages), counts))


def of(spec: recipe.Corpus) -> Corpus:
    """The corpus that a recipe names. Raises `UsageError` where a path or pattern names no file that can be read."""
    return Corpus(spec.paths, text=spec.text, document=spec.document, passage=spec.passage)


def _find(paths: Sequence[str | Path]) -> list[Path]:
    """The files of all paths and patterns, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        place = recipe.expand(str(path))
        if place.is_dir():
            raise UsageError("this is a folder", where=str(place), fix=f"name its files: {place}/*.txt")
        pattern = str(place.relative_to(place.anchor))
        files = [place] if place.is_file() else sorted(Path(place.anchor).glob(pattern))
        files = [file for file in files if file.is_file()]
        if not files:
            raise UsageError("no such file, and no file has a name of this pattern", where=str(place))
        for file in files:
            _kind(file)
            found[file] = None
    if not found:
        raise UsageError("the corpus names no file")
    return list(found)


def _size(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _kind(path: Path) -> Literal["text", "rows"]:
    """How a file is read, by its ending."""
    ending = bare(path).suffix.lower()
    if ending in TEXT:
        return "text"
    if ending in ROWS:
        return "rows"
    known = ", ".join((*TEXT, *ROWS))
    raise UsageError(f"a corpus file must end in one of {known}, with .xz or .gz or without", where=str(path))


def _bounded(source: Iterable[Line], counts: Counts) -> Iterator[Line]:
    """The lines with single spaces, none longer than LONGEST."""
    for number, line in source:
        parts = list(cut(" ".join(line.split()), LONGEST))
        counts.cuts += len(parts) - 1
        for part in parts:
            if len(part) > LONGEST:
                counts.unbroken += 1
            else:
                yield number, part.strip()


def _passages(source: Iterable[Line], by_line: bool, counts: Counts) -> Iterator[Line | None]:
    """Passages with the number of their first line; None where a blank line ends a paragraph."""
    held: list[str] = []
    first = size = 0
    for number, line in source:
        if held and (not line or by_line or size + len(line) > LONGEST):
            yield first, " ".join(held)
            held, size = [], 0
        if line:
            first = first if held else number
            held.append(line)
            size += len(line) + 1
        else:
            counts.blank_lines += 1
            yield None
    if held:
        yield first, " ".join(held)


def _counted(passages: Iterable[Line], counts: Counts) -> Iterator[str]:
    for _, passage in passages:
        counts.passages += 1
        counts.characters += len(passage)
        yield passage

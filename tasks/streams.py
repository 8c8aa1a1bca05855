"""Files compressed or not (.xz, .gz), and their lines and rows as streams: such a file is never held in memory.

- A huge line of a text file comes in several cuts, at whitespace; a stretch of more than LONGEST bytes that has none
  is no text: it is skipped and counted. So is a row too long to be parsed.
- A row is a line of JSONL, or of TSV without quoting below a line of column names.
- What shows a damaged file is an error with file and line: a byte that is not UTF-8, broken JSON, a broken archive.
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import AttarError, nearest
from ..files import explain_os_errors
from . import table  # which imports this module too: names are looked up when they are used

LONGEST = 1 << 20  # bytes of a line that are read at once, characters of a passage
LONGEST_ROW = 1 << 26  # bytes of a row, which must be held to be parsed
OPENERS: dict[str, Callable[[Any], Any]] = {".xz": lzma.LZMAFile, ".gz": lambda raw: gzip.GzipFile(fileobj=raw)}
DAMAGE = (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError)

WORDS = {  # for counts whose names do not say enough
    "cuts": "cuts within huge lines",
    "unbroken": "huge stretches without whitespace (skipped)",
    "empty_rows": "rows without text (skipped)",
    "long_rows": "huge rows (skipped)",
}

Line = tuple[int, str]  # number in its file, text


@dataclass
class Counts:
    """What a pass over a corpus has met so far."""

    documents: int = 0
    passages: int = 0
    characters: int = 0
    bytes: int = 0  # of the files as they lie on disk
    blank_lines: int = 0
    cuts: int = 0  # places where a line of more than LONGEST was cut, at whitespace
    unbroken: int = 0  # stretches of more than LONGEST without whitespace, skipped
    empty_rows: int = 0  # rows without text, skipped
    long_rows: int = 0  # rows of more than LONGEST_ROW bytes, skipped

    def line(self) -> str:
        """All counts that are not zero, in one line."""
        return in_words(asdict(self))


def in_words(counts: Mapping[str, int]) -> str:
    """Counts that are not zero, in one line."""
    return ", ".join(f"{value:,} {WORDS.get(name, name.replace('_', ' '))}" for name, value in counts.items() if value)


def bare(path: Path) -> Path:
    """The path without the ending of a compressed file: what is left tells how the file is written."""
    return path.with_suffix("") if path.suffix in OPENERS else path


def content(path: Path) -> bytes:
    """The bytes of a whole file, uncompressed; a file that is not there passes as `FileNotFoundError`."""
    with explain_os_errors(path, reading=True), path.open("rb") as raw:
        try:
            return _opened(path, raw).read()
        except DAMAGE:
            raise _damaged(str(path)) from None


def _opened(path: Path, raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, OPENERS[path.suffix](raw)) if path.suffix in OPENERS else raw


def _damaged(where: str) -> AttarError:
    return AttarError("the compressed file is damaged or cut off", where=where, fix="fetch or compress it again")


def _parts(path: Path, counts: Counts) -> Iterator[tuple[int, bytes, bool]]:
    """A file's lines, of at most LONGEST bytes at once: number, bytes, and whether the line ends with them."""
    number, before = 1, counts.bytes
    try:
        with explain_os_errors(path, reading=True), path.open("rb") as raw:
            file = _opened(path, raw)
            part = _readline(file, path, number)
            while part:
                following = _readline(file, path, number)
                ends = part.endswith(b"\n") or not following
                counts.bytes = before + raw.tell()
                yield number, part, ends
                number, part = number + ends, following
    except FileNotFoundError:
        raise AttarError("no such file", where=str(path)) from None


def _readline(file: BinaryIO, path: Path, number: int) -> bytes:
    try:
        return file.readline(LONGEST)
    except DAMAGE:
        raise _damaged(f"{path}:{number}") from None


def lines(path: Path, counts: Counts) -> Iterator[Line]:
    """The lines of a text file; a huge one comes in several cuts, without its stretches that have no whitespace."""
    kept = b""  # of a huge line, what stands behind its last whitespace so far
    skipping = False  # inside a stretch without whitespace
    for number, part, ends in _parts(path, counts):
        if skipping:
            places = [place for place in (part.find(b" "), part.find(b"\t")) if place >= 0]
            skipping = not places and not ends
            if not places:
                continue
            part = part[min(places) :]
        part, kept = kept + part, b""
        if not ends:
            place = max(part.rfind(b" "), part.rfind(b"\t"))
            if place < 0:
                counts.unbroken += 1
                skipping = True
                continue
            part, kept = part[:place], part[place + 1 :]
            counts.cuts += 1
        yield number, _decode(part, path, number)


def rows(path: Path, names: Sequence[str], counts: Counts) -> Iterator[Line]:
    """The texts of the rows of a JSONL or TSV file, from the first of the named columns that is there."""
    columns: list[str] | None = None  # of a TSV file, once its first line is read
    tsv = bare(path).suffix.lower() == ".tsv"
    held: list[bytes] = []
    size = 0
    for number, part, ends in _parts(path, counts):
        size += len(part)
        if size <= LONGEST_ROW:
            held.append(part)
        if not ends:
            continue
        line, long = b"".join(held), size > LONGEST_ROW
        held, size = [], 0
        if long:
            counts.long_rows += 1
        elif not line.strip():
            counts.blank_lines += 1
        elif tsv and columns is None:
            columns = _cells(_decode(line, path, number))
        else:
            where, decoded = f"{path}:{number}", _decode(line, path, number)
            text = _column(_row(columns, decoded, where) if columns else _json_row(decoded, where), names, where)
            if text.strip():
                yield number, text
            else:
                counts.empty_rows += 1


def _cells(line: str) -> list[str]:
    return line.rstrip("\r\n").split("\t")


def _row(columns: list[str], line: str, where: str) -> dict[str, Any]:
    cells = _cells(line)
    if len(cells) < len(columns):
        raise AttarError(f"{len(cells)} columns where {len(columns)} were expected", where=where)
    return dict(zip(columns, cells, strict=False))


def _json_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise AttarError(f"not valid JSON: {error.msg}", where=where) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets within brackets
        raise AttarError("this JSON is too large to read", where=where) from None
    if not isinstance(row, dict):
        raise AttarError("a line must be one JSON object", where=where)
    return row


def _column(row: dict[str, Any], names: Sequence[str], where: str) -> str:
    """The text of one row; empty where the column is."""
    name = next((name for name in names if name in row), None)
    if name is None:
        raise AttarError(f"no column {' or '.join(map(repr, names))}", where=where, fix=nearest(names[0], row))
    text = row[name]
    if text is not None and not isinstance(text, str):
        raise AttarError(f"the column {name!r} holds no text", where=where)
    return table.unicode(text, name, where) if text else ""


def _decode(data: bytes, path: Path, number: int) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise AttarError(
            "a byte that is not UTF-8", where=f"{path}:{number}", fix="convert the file, for example with iconv"
        ) from None
    return text.removeprefix("\ufeff") if number == 1 else text

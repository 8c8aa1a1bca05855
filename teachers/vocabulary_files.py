"""Vocabularies that exist: a tokenizer's folder or bare vocabulary files, and whether one belongs to a checkpoint.

- A folder with `tokenizer.json` is copied as it is. Bare files are BERT's `vocab.txt`, or GPT-2's `encoder.json` with
  `vocab.bpe`, also called `vocab.json` and `merges.txt`; a common prefix (`gpt2-encoder.json`) is allowed.
- `vocab.txt` does not say whether it is lowercased: `tokenizer_config.json` beside it does, else a vocabulary without
  any capital letter is. Everything else is BERT's own, accents too, since the pieces were learnt so.
- A vocabulary of another checkpoint mostly fails in silence: sizes and special pieces are compared before any training.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import AttarError
from ..files import explain_os_errors, read_json
from . import checkpoint
from .vocabulary import BERT_SPECIAL, END_OF_TEXT, GPT_SPECIAL, bpe, save, wordpiece

MERGES = {"encoder.json": "vocab.bpe", "vocab.json": "merges.txt"}
SPARE_ROWS = 1024  # by so much an embedding may be larger than its vocabulary: rows are padded for speed
OWN = "take the vocabulary from the checkpoint's own folder"
SPECIAL_PIECE = re.compile(r"\[(unused\d+|[A-Z]+)\]|<\|.*\|>")


def take(source: Path, folder: Path, *, lowercase: bool | None = None, max_length: int = 512) -> Tokenizer:
    """Put the vocabulary of `source`, a folder or a vocabulary file, into `folder`; gives its tokenizer.

    `lowercase` is for a `vocab.txt` alone; where not given, it is found out.
    """
    if (source / "tokenizer.json").is_file():
        checkpoint.save_tokenizer(source, folder)
        return load(folder)
    file = _vocabulary_file(source)
    if file.suffix == ".txt":
        tokenizer = _wordpiece_file(file, lowercase)
        special = []
    else:
        tokenizer = _bpe_files(file)
        special = [
            piece for piece in _by_number(tokenizer) if re.fullmatch(r"<\|.*\|>", piece) and piece != END_OF_TEXT
        ]
        tokenizer.add_special_tokens(special)
    save(tokenizer, folder, special, max_length=max_length)
    return tokenizer


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a folder."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise AttarError("the folder has no tokenizer.json", where=str(folder))
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise AttarError(f"not a tokenizer: {error}", where=str(path)) from None


def special_ids(folder: Path) -> dict[str, int]:
    """The numbers of the special pieces by role (`pad`, `cls`, `eos` …), as the folder's files state them."""
    tokenizer = load(folder)
    stated: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            stated |= found if isinstance(found, dict) else {}
    ids = {}
    for role in dict.fromkeys((*BERT_SPECIAL, *GPT_SPECIAL)):
        piece = stated.get(f"{role}_token") or ("" if stated else BERT_SPECIAL.get(role, END_OF_TEXT))
        piece = piece.get("content", "") if isinstance(piece, dict) else piece
        number = tokenizer.token_to_id(str(piece)) if piece else None
        if number is not None:
            ids[role] = number
    return ids


def size(tokenizer: Tokenizer) -> int:
    """One more than the highest number of a piece, added ones too: so many rows must an embedding have."""
    return 1 + max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def require(pieces: int, config: Any, where: str = "", spare: int | None = None) -> None:
    """Refuse a vocabulary of more pieces than the model's embedding has rows (`config.vocab_size`).

    With `spare` also one that leaves more rows than that over; without, a vocabulary may be a part of the model's.
    """
    rows = int(config.vocab_size)
    if pieces > rows or (spare is not None and rows > pieces + spare):
        what = f"the vocabulary has {pieces:,} pieces and the checkpoint's embedding {rows:,} rows"
        raise AttarError(what, where=where, fix=OWN)


def require_own(source: Path, config: Any) -> None:
    """Refuse a checkpoint whose own tokenizer has more pieces than its embedding has rows: a text may hold one."""
    if (source / "tokenizer.json").is_file():
        require(size(load(source)), config, str(source))


def check(folder: Path, config: Any) -> None:
    """Refuse a folder's vocabulary that is not the checkpoint's.

    `config` is the checkpoint's configuration (`vocab_size` and `pad_token_id`, `bos_token_id` …, of which those that
    are None state nothing). Raises `AttarError` where the sizes or a special piece differ.
    """
    require(size(load(folder)), config, str(folder), SPARE_ROWS)
    for role, number in special_ids(folder).items():
        stated = getattr(config, f"{role}_token_id", None)
        stated = stated[0] if isinstance(stated, list) and stated else stated  # some have several ends
        if stated is not None and stated != number:
            what = f"the {role} piece is number {number} in the vocabulary and {stated} in the checkpoint"
            raise AttarError(what, where=str(folder), fix=OWN)


def _vocabulary_file(source: Path) -> Path:
    """The bare vocabulary that is meant: the file itself, or the only one in the folder."""
    if source.is_file():
        if source.name.endswith(("vocab.txt", *MERGES)):
            return source
        partners = {bare: whole for whole, bare in MERGES.items()}
        for bare, whole in partners.items():
            if source.name.endswith(bare):
                return _partner(source, bare, whole)
        raise AttarError("not a vocabulary", where=str(source), fix="name a vocab.txt, encoder.json or vocab.json")
    if not source.is_dir():
        raise AttarError("no such folder or file", where=str(source))
    found = sorted(path for path in source.iterdir() if path.name.endswith(("vocab.txt", *MERGES)))
    if len(found) == 1:
        return found[0]
    what = "several vocabularies" if found else "neither tokenizer.json nor vocab.txt, encoder.json or vocab.json"
    names = f"name one of them: {', '.join(path.name for path in found)}" if found else ""
    raise AttarError(f"the folder has {what}", where=str(source), fix=names)


def _partner(file: Path, ending: str, other: str) -> Path:
    """The file that belongs to `file`: the same name with another ending."""
    path = file.with_name(file.name.removesuffix(ending) + other)
    if not path.is_file():
        raise AttarError(f"no {path.name} beside it", where=str(file))
    return path


def _read_lines(file: Path) -> list[str]:
    """Lines of UTF-8 text without their ends; only a line feed ends one, for pieces hold other separators."""
    with explain_os_errors(file):
        data = file.read_bytes()
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise AttarError("a byte that is not UTF-8", where=f"{file}:{line}") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _wordpiece_file(file: Path, lowercase: bool | None) -> Tokenizer:
    """BERT's tokenizer from its list of pieces, one a line."""
    vocabulary: dict[str, int] = {}
    for number, piece in enumerate(_read_lines(file)):
        if not piece or piece in vocabulary:
            what = f"the piece {piece!r} stands twice" if piece else "an empty piece"
            raise AttarError(what, where=f"{file}:{number + 1}")
        vocabulary[piece] = number
    missing = [piece for piece in BERT_SPECIAL.values() if piece not in vocabulary]
    if missing:
        raise AttarError(f"the vocabulary has no {', '.join(missing)}", where=str(file), fix="it is not BERT's")
    if lowercase is None:
        settings = file.with_name("tokenizer_config.json")
        stated = read_json(settings).get("do_lower_case") if settings.is_file() else None
        capital = any(piece != piece.lower() for piece in vocabulary if not SPECIAL_PIECE.fullmatch(piece))
        lowercase = stated if isinstance(stated, bool) else not capital
    return wordpiece(vocabulary, lowercase=lowercase)


def _bpe_files(file: Path) -> Tokenizer:
    """GPT-2's tokenizer from its pieces and merges."""
    ending = next(ending for ending in MERGES if file.name.endswith(ending))
    vocabulary = read_json(file)
    good = isinstance(vocabulary, dict) and sorted(map(str, vocabulary.values())) == sorted(
        map(str, range(len(vocabulary)))
    )
    if not good:
        raise AttarError("not a vocabulary: pieces must be numbered from 0, each number once", where=str(file))
    if END_OF_TEXT not in vocabulary:
        raise AttarError(f"the vocabulary has no {END_OF_TEXT}", where=str(file), fix="it is not GPT-2's")
    path = _partner(file, ending, MERGES[ending])
    merges = []
    for number, line in enumerate(_read_lines(path), 1):
        if number == 1 and line.startswith("#version"):
            continue
        left, _, right = line.partition(" ")
        unknown = [piece for piece in (left, right, left + right) if piece not in vocabulary]
        if unknown or not right:
            what = f"{unknown[0]!r} is not in {file.name}" if unknown and right else "a merge is two pieces"
            raise AttarError(what, where=f"{path}:{number}")
        merges.append((left, right))
    return bpe(vocabulary, merges)


def _by_number(tokenizer: Tokenizer) -> list[str]:
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)

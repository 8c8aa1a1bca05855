"""The pieces of a vocabulary as pre-training sees them: the special ones, the ordinary ones, and where words go on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ...errors import AttarError


@dataclass(frozen=True)
class Pieces:
    """A WordPiece vocabulary; `special` are the ids that stand for no text, `continuing` those that go on a word."""

    vocabulary: int
    pad: int
    cls: int
    sep: int
    mask: int
    special: frozenset[int]
    continuing: frozenset[int] = frozenset()

    @cached_property
    def is_special(self) -> Tensor:
        """True for special pieces, shape (vocabulary,)."""
        return self._flags(self.special)

    @cached_property
    def is_continuing(self) -> Tensor:
        """True for pieces that go on the word before them, shape (vocabulary,)."""
        return self._flags(self.continuing)

    @cached_property
    def ordinary(self) -> Tensor:
        """Ids of all pieces that are not special, shape (ordinary pieces,)."""
        return (~self.is_special).nonzero()[:, 0]

    def _flags(self, ids: frozenset[int]) -> Tensor:
        flags = torch.zeros(self.vocabulary, dtype=torch.bool)
        flags[torch.tensor(sorted(ids), dtype=torch.long)] = True
        return flags


def read(tokenizer_json: Path) -> Pieces:
    """The pieces of `tokenizer.json`, with BERT's names for the special ones and `##` for the rest of a word."""
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise AttarError(f"not a tokenizer: {error}", where=str(tokenizer_json)) from None
    found = {name: tokenizer.token_to_id(f"[{name}]") for name in ("PAD", "CLS", "SEP", "MASK", "UNK")}
    ids = {name: number for name, number in found.items() if number is not None}
    lacking = [f"[{name}]" for name in found if name not in ids and name != "UNK"]
    if lacking:
        raise AttarError(
            f"the vocabulary lacks {', '.join(lacking)}",
            where=str(tokenizer_json),
            fix="pre-train with a BERT vocabulary",
        )
    added = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return Pieces(
        vocabulary=tokenizer.get_vocab_size(),
        pad=ids["PAD"],
        cls=ids["CLS"],
        sep=ids["SEP"],
        mask=ids["MASK"],
        special=frozenset(added | set(ids.values())),
        continuing=frozenset(number for piece, number in tokenizer.get_vocab().items() if piece.startswith("##")),
    )

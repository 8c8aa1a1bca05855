"""A bundled language model goes on with a text, with what it has kept of the pieces before (KV cache).

- The prompt is read in one pass, and each further piece in one of its own.
- Greedy takes the likeliest piece; a temperature draws (`tasks.decoding`), by a seed. It ends at end-of-text, at
  `max_new` pieces, or where the model's positions end. A prompt that leaves no room is cut from the left.
- Only the light core is needed: ONNX Runtime, tokenizers and numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError, UsageError
from ..files import inside
from ..tasks.decoding import Decoding
from ..tasks.encoding import Encoder
from . import manifest as manifests
from .manifest import LanguageCard

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Continuation:
    """How the model went on."""

    text: str
    continuation: str
    pieces: int  # new ones, without end-of-text
    truncated: bool  # the prompt was cut

    def document(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return asdict(self)


class Cached:
    """A model file in ONNX Runtime, with the names of its cache."""

    def __init__(self, path: Path, card: LanguageCard, threads: int = 1) -> None:
        from .runtimes import ort

        self.card = card
        self._session = ort.session(path, threads)
        names = {entry.name for entry in self._session.get_inputs()}
        if names != {"input_ids", *card.past}:
            raise AttarError("its inputs are not those of the manifest's language model", where=path.name)

    def start(self) -> list[Floats]:
        """An empty past."""
        return [np.zeros((1, self.card.heads, 0, self.card.width), np.float32) for _ in self.card.past]

    def step(self, ids: Sequence[int], past: list[Floats]) -> tuple[Floats, list[Floats]]:
        """Logits (pieces, vocabulary) of the next pieces, and the new past."""
        feed = {"input_ids": np.array([ids], np.int64), **dict(zip(self.card.past, past, strict=True))}
        try:
            logits, *present = self._session.run(["logits", *self.card.present], feed)
        except Exception as error:  # noqa: BLE001 - the runtime has no base class of its own
            raise AttarError(f"ONNX Runtime failed: {' '.join(str(error).split())[:300]}") from None
        return logits[0], present

    def nats(self, context: Sequence[int], pieces: Sequence[int]) -> float:
        """The negative log-likelihood of pieces behind a context, which holds one or more."""
        logits, _ = self.step([*context, *pieces][:-1], self.start())
        rows = logits[-len(pieces) :].astype(np.float64)
        rows -= rows.max(1, keepdims=True)
        return float((np.log(np.exp(rows).sum(1)) - rows[np.arange(len(pieces)), list(pieces)]).sum())

    def continued(self, ids: list[int], max_new: int, decoding: Decoding = Decoding(), seed: int = 0) -> Iterator[int]:  # noqa: B008
        """New pieces, each as soon as it is there, up to end-of-text and without it."""
        past, generator = self.start(), np.random.default_rng(seed)
        for _ in range(max_new):
            logits, past = self.step(ids, past)
            piece = _choose(logits[-1], decoding, generator)
            if piece == self.card.end_id:
                return
            yield piece
            ids = [piece]


def _choose(logits: Floats, decoding: Decoding, generator: np.random.Generator) -> int:
    """The likeliest piece, or one drawn; `top_k` keeps the likeliest, `top_p` the nucleus of those."""
    if decoding.method == "greedy":
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[: decoding.top_k]
    scaled = logits[order].astype(np.float64) / decoding.temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    if decoding.top_p is not None:
        kept = int(np.searchsorted(shares.cumsum(), decoding.top_p)) + 1
        order, shares = order[:kept], shares[:kept] / shares[:kept].sum()
    return int(generator.choice(order, p=shares))


class Continuer:
    """A loaded bundle of a language model."""

    def __init__(self, bundle: Path, artefact: str | None = None, threads: int = 1) -> None:
        from .predict import select

        self.manifest = manifests.load(bundle)
        card = self.manifest.task.language
        if card is None:
            raise UsageError("the bundle answers a task, and holds no language model", where=str(bundle))
        self.card = card
        self.artefact = select(self.manifest, artefact, str(bundle))
        self.encoder = Encoder(inside(bundle, self.manifest.tokenizer.file), card.positions)
        self.encoder.tokenizer.no_truncation()
        self.model = Cached(inside(bundle, self.artefact.file), card, threads)

    def pieces(self, text: str) -> list[int]:
        """The prompt's pieces; end-of-text where it has none."""
        return prompt(self.encoder, text, self.card)

    def go_on(self, text: str, max_new: int = 64, decoding: Decoding = Decoding(), seed: int = 0) -> Continuation:  # noqa: B008
        """How the model goes on with a text. Raises `UsageError` for more new pieces than the model has positions."""
        if not 0 < max_new < self.card.positions:
            what = f"{max_new} new pieces, and the model holds {self.card.positions}"
            raise UsageError(what, fix=f"ask for 1 to {self.card.positions - 1}")
        ids = self.pieces(text)
        kept = ids[-(self.card.positions - max_new) :]
        found = list(self.model.continued(kept, max_new, decoding, seed))
        said = str(self.encoder.tokenizer.decode(found, skip_special_tokens=False))
        return Continuation(text, said, len(found), len(kept) < len(ids))


def prompt(encoder: Encoder, text: str, card: LanguageCard) -> list[int]:
    """A text's pieces without special ones, or end-of-text for an empty one."""
    try:
        ids = list(encoder.tokenizer.encode(text, add_special_tokens=False).ids)
    except TypeError:  # half of a surrogate pair
        raise AttarError("a text holds a character that is not Unicode (a lone surrogate)") from None
    if not ids and card.end_id is None:
        raise UsageError("an empty prompt, and no end-of-text piece to begin with")
    return ids or [int(card.end_id or 0)]

"""Answers from a bundle, as the phone gives them.

- One text at a time: dynamic int8 takes its scale from the whole batch, so a batch would answer differently.
- A file that two runtimes load answers in the first one listed whose package is installed.
- Texts are cut as in training (`max_length`), or to the fixed length of the artefact; the answer says when.
- Only the light core is needed; the manifest says everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, nearest
from ..files import inside
from ..tasks.encoding import Encoder, collate
from . import manifest as manifests
from .bundle import installed
from .manifest import Artefact, Manifest
from .runtimes import open_model


@dataclass(frozen=True)
class Answer:
    """What the model says about one text, or one pair."""

    text: str
    text_pair: str | None
    truncated: bool  # the text was longer than the model reads
    label: str | None = None  # the most probable label; None for a regression
    probabilities: tuple[tuple[str, float], ...] = ()  # by falling probability, which sum to 1
    value: float | None = None  # of a regression

    def document(self) -> dict[str, Any]:
        """The answer as plain JSON values, only with what it has."""
        found: dict[str, Any] = {"text": self.text}
        if self.text_pair is not None:
            found["text_pair"] = self.text_pair
        if self.label is None:
            found["value"] = self.value
        else:
            found |= {"label": self.label, "probabilities": dict(self.probabilities)}
        return found | {"truncated": self.truncated}


class Predictor:
    """A loaded bundle."""

    def __init__(self, bundle: Path, artefact: str | None = None, threads: int = 1) -> None:
        self.manifest = manifests.load(bundle)
        self.artefact = select(self.manifest, artefact or self.manifest.default, str(bundle))
        tokenizer = self.manifest.tokenizer
        width = min(tokenizer.max_length, self.artefact.length or tokenizer.max_length)
        self.encoder = Encoder(inside(bundle, tokenizer.file), width)
        self.runner = open_model(inside(bundle, self.artefact.file), self.artefact.runtime, threads)

    def predict(self, texts: Sequence[tuple[str, str | None]]) -> list[Answer]:
        """One answer for each text, or pair of texts, in their order."""
        return list(self.stream(texts))

    def stream(self, texts: Sequence[tuple[str, str | None]]) -> Iterator[Answer]:
        """The same, each answer as soon as it is there."""
        task = self.manifest.task
        for text, other in texts:
            if (other is not None) != task.pair:
                wanted = "pairs of texts" if task.pair else "single texts"
                raise UsageError(f"this model reads {wanted}", where=self.manifest.name)
            (row,) = self.encoder.encode([(text, other)])
            arrays = collate([row], self.manifest.tokenizer.pad_id, self.artefact.length)
            logits = self.runner.run(arrays)[0]
            if task.kind == "regression":
                yield Answer(text, other, row.truncated, value=float(logits[0]))
                continue
            shares = softmax(logits)
            order = np.argsort(-shares, kind="stable")
            ranked = tuple((task.labels[number], float(shares[number])) for number in order)
            yield Answer(text, other, row.truncated, label=ranked[0][0], probabilities=ranked)


def select(manifest: Manifest, file: str, where: str = "") -> Artefact:
    """The artefact of that file, in the first runtime listed whose package is installed, else in the first."""
    found = [one for one in manifest.artefacts if one.file == file]
    if not found:
        fix = nearest(file, {one.file for one in manifest.artefacts})
        raise UsageError(f"the bundle has no artefact {file!r}", where=where, fix=fix)
    return next((one for one in found if installed(one.runtime)), found[0])


def read_texts(name: str, pair: bool) -> list[tuple[str, str | None]]:
    """Texts of a file, or of stdin (`-`), one a line, pairs with a tab between; empty lines are left out."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        rows = [row.removesuffix("\r") for row in data.decode("utf-8-sig").split("\n")]  # no text ends at U+2028
    except OSError as error:
        raise UsageError(error.strerror or "cannot be read", where=name) from None
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=name) from None
    texts: list[tuple[str, str | None]] = []
    for number, row in enumerate(rows, 1):
        first, tab, second = row.partition("\t")
        if pair and row.strip() and not tab:
            raise UsageError("a pair needs a tab between its texts", where=f"{name}:{number}")
        if row.strip():
            texts.append((first, second) if pair else (row, None))
    return texts


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of shape (outputs,), computed in float64 and without overflow."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    shares: npt.NDArray[np.float64] = powers / powers.sum()
    return shares

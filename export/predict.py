"""Answers from a bundle, as the phone gives them.

- One sequence at a time: dynamic int8 takes its scale from the whole batch, so a batch would answer differently.
- A file that two runtimes load answers in the first one listed whose package is installed.
- Where the bundle has its default also in a form for this kind of processor, that form answers; see `processors`.
- Texts are cut as in training (`max_length`), or to the fixed length of the artefact; the answer says when.
- Only the light core is needed; the manifest says everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import AttarError, UsageError, nearest
from ..files import inside
from ..tasks.encoding import Encoder, Features, collate
from . import answers
from . import manifest as manifests
from .answers import Answer, Asked
from .bundle import installed
from .manifest import Artefact, Manifest, TaskCard
from .processors import Processor, kind_here
from .runtimes import open_model, unpadded

Words = Asked | tuple[str, str | None]


class Predictor:
    """A loaded bundle."""

    def __init__(self, bundle: Path, artefact: str | None = None, threads: int = 1) -> None:
        self.manifest = manifests.load(bundle)
        if self.manifest.task.head == "lm":
            raise UsageError("the bundle goes on with texts, and answers none", where=str(bundle))
        self.artefact = select(self.manifest, artefact, str(bundle))
        self.form = answers.form(self.manifest.task)
        tokenizer = self.manifest.tokenizer
        width = min(tokenizer.max_length, self.artefact.length or tokenizer.max_length)
        self.encoder = Encoder(inside(bundle, tokenizer.file), width)
        self.runner = open_model(inside(bundle, self.artefact.file), self.artefact.runtime, threads)

    def predict(self, rows: Sequence[Words]) -> list[Answer]:
        """One answer for each row, in their order: a text, a pair of texts, or what the task's form asks for."""
        return list(self.stream(rows))

    def stream(self, rows: Sequence[Words]) -> Iterator[Answer]:
        """The same, each answer as soon as it is there."""
        for row in rows:
            try:
                posed = self.form.pose(Asked(*row), self.encoder)
            except AttarError as error:
                raise type(error)(error.what, where=error.where or self.manifest.name, fix=error.fix) from None
            yield posed.answer([self.logits(features) for features in posed.features])

    def logits(self, row: Features) -> npt.NDArray[np.float32]:
        """The logits of one sequence, (outputs,) or (pieces, outputs), by itself as on the phone."""
        found = self.runner.run(collate([row], self.manifest.tokenizer.pad_id, self.artefact.length))
        logits, wanted = unpadded(found, len(row.input_ids)), self.manifest.task.shape(len(row.input_ids))
        if logits.shape != wanted:
            what = f"answers of shape {logits.shape}, and the manifest's task has {wanted}"
            raise AttarError(what, where=self.artefact.file)
        return logits


def select(manifest: Manifest, file: str | None = None, where: str = "") -> Artefact:
    """The artefact of that file, in the first runtime listed whose package is installed, else in the first.

    Without a file: the default, or its form for this machine's kind of processor.
    """
    file = file or for_processor(manifest, kind_here())
    found = [one for one in manifest.artefacts if one.file == file]
    if not found:
        fix = nearest(file, {one.file for one in manifest.artefacts})
        raise UsageError(f"the bundle has no artefact {file!r}", where=where, fix=fix)
    return next((one for one in found if installed(one.runtime)), found[0])


def for_processor(manifest: Manifest, kind: Processor | None) -> str:
    """The file of the default artefact's form for that kind of processor; the default's own where there is none."""

    def form(one: Artefact) -> tuple[str, str, int | None, str]:
        return one.runtime, one.precision, one.length, Path(one.file).suffix

    wanted = {form(one) for one in manifest.artefacts if one.file == manifest.default}
    alike = [one for one in manifest.artefacts if form(one) in wanted]
    made_for = (one.file for one in alike if kind in one.processors)
    for_all = (one.file for one in alike if not one.processors)
    return next(made_for, None) or next(for_all, manifest.default)


def read_texts(name: str, card: TaskCard, ask: str = "") -> list[Asked]:
    """Rows of a file, or of stdin (`-`), one a line with tabs between a pair, or a question and its candidates.

    Empty lines are left out; in the line of a model that reads single texts a tab is a blank as any other.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        rows = [row.removesuffix("\r") for row in data.decode("utf-8-sig").split("\n")]  # no text ends at U+2028
    except OSError as error:
        raise UsageError(error.strerror or "cannot be read", where=name) from None
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=name) from None
    return [_line(row, card, ask, f"{name}:{number}") for number, row in enumerate(rows, 1) if row.strip()]


def _line(row: str, card: TaskCard, ask: str, where: str) -> Asked:
    first, tab, second = row.partition("\t")
    if ask or card.head == "embedding":
        return Asked(first, second if tab else None, ask=ask)
    if card.head == "choice":
        return Asked(first, None, tuple(second.split("\t")) if tab else ())
    if not card.pair:
        return Asked(row)
    if not tab:
        raise UsageError("a pair needs a tab between its texts", where=where)
    return Asked(first, second)

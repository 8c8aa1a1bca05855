"""The bundle: written whole or not at all, and proved on the machine that received it.

- `build` copies into a folder beside the target and renames it; the digests are taken from the copies.
- `verify` trusts nothing: names stay inside the folder, sizes and digests are right, no stray file, the
  tokenizer gives the golden pieces, and every artefact the golden logits in its own runtime and process.
- A damaged file is never loaded. Damage is one line for each thing that is wrong, and the other checks go on.
- A runtime that is not installed is a skipped check with its name, not a failure.
- Lines end at `\n` alone: JSON strings may hold U+2028 and other ends of line as they are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from ..benchmarks.machine import version
from ..benchmarks.record import Check
from ..errors import AttarError
from ..files import explain_os_errors, file_digest, inside, replace_folder, write_json
from ..tasks.encoding import Encoder, Features, collate
from . import manifest as manifests
from .manifest import Artefact, FileCard, Manifest
from .runtimes.isolated import run_isolated

DISTRIBUTIONS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


def installed(runtime: str) -> str | None:
    """The version of a runtime's distribution; None where it is not installed."""
    return version(DISTRIBUTIONS[runtime])


Piece = Annotated[int, Field(ge=0, lt=2**31)]  # what every runtime's integers hold


class Golden(BaseModel):
    """One golden example: what the PyTorch student answered."""

    text: str
    text_pair: str | None = None
    input_ids: list[Piece]
    token_type_ids: list[Piece]
    logits: list[float]

    @model_validator(mode="after")
    def _even(self) -> Golden:
        if not len(self.input_ids) == len(self.token_type_ids) > 0:
            raise ValueError("input_ids and token_type_ids differ in length")
        return self


def build(folder: Path, manifest: Manifest, sources: Mapping[str, Path]) -> Manifest:
    """Write the bundle `folder` from `sources` (name in it -> file); gives the manifest with its files."""
    if missing := sorted({*_named(manifest), manifest.default} - set(sources)):
        raise AttarError(f"files of the manifest are not given: {', '.join(missing)}", where=str(folder))
    with explain_os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as space:
            partial = Path(space) / "bundle"  # its own mode, not the private one of a temporary folder
            partial.mkdir()
            for name, source in sources.items():
                if name == manifests.NAME:
                    raise AttarError(f"{name} is written by the bundle itself", where=str(source))
                target = inside(partial, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            cards = {name: _card(partial / name) for name in sorted(sources)}
            whole = manifest.model_copy(update={"files": cards})
            write_json(partial / manifests.NAME, whole.model_dump(mode="json"))
            replace_folder(partial, folder)
    return whole


def golden_examples(bundle: Path, manifest: Manifest) -> list[Golden]:
    """The golden examples of a bundle; a bad line is named."""
    path = inside(bundle, manifest.golden)
    examples: list[Golden] = []
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        raise AttarError("cannot be read as UTF-8 text", where=manifest.golden) from None
    if lines == [""]:
        raise AttarError("holds no example", where=manifest.golden)
    for number, line in enumerate(lines, 1):
        try:
            examples.append(Golden.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"]) or "example"
            raise AttarError(f"{place}: {problem['msg']}", where=f"{manifest.golden}:{number}") from None
    return examples


def titles(artefacts: Sequence[Artefact]) -> list[str]:
    """A name for each artefact: its file, and the runtime too where the file stands for several."""
    files = [one.file for one in artefacts]
    return [one.file if files.count(one.file) == 1 else f"{one.file} in {one.runtime}" for one in artefacts]


def verify(bundle: Path) -> list[Check]:
    """Every check of a bundle; a damaged bundle is a failed check, never an exception."""
    try:
        manifest = manifests.load(bundle)
    except AttarError as error:
        return [Check(name="manifest", passed=False, detail=error.line())]
    detail = f"{manifest.name}, written by attar {manifest.attar}"
    return [Check(name="manifest", passed=True, detail=detail), *_checks(bundle, manifest)]


class _Skip(Exception):  # noqa: N818 - not an error
    """The check cannot be made here; the text says why."""


def _checks(bundle: Path, manifest: Manifest) -> Iterator[Check]:
    whole = set()
    for name, card in manifest.files.items():
        check = _check(name, _file, bundle, name, card)
        whole |= {name} if check.passed else set()
        yield check
    yield _check("no stray file", _stray, bundle, manifest)
    yield _check("names", _names, manifest)
    if manifest.golden not in whole:
        yield Check(name="golden examples", passed=False, detail=f"{manifest.golden} is missing or damaged")
        return
    try:
        examples = golden_examples(bundle, manifest)
    except AttarError as error:
        yield Check(name="golden examples", passed=False, detail=error.line())
        return
    if manifest.tokenizer.file in whole:
        yield _check("tokenizer", _tokenizer, bundle, manifest, examples)
    for artefact, title in zip(manifest.artefacts, titles(manifest.artefacts), strict=True):
        if artefact.file in whole:
            yield _check(f"{title} answers", _artefact, bundle, manifest, artefact, examples)


def _check(name: str, function: Callable[..., str], *values: object) -> Check:
    """Make one check: the function gives the detail of a success, or raises."""
    try:
        return Check(name=name, passed=True, detail=function(*values))
    except _Skip as skip:
        return Check(name=name, passed=True, skipped=True, detail=f"skipped: {skip}")
    except AttarError as error:
        return Check(name=name, passed=False, detail=error.line())
    except OSError as error:
        return Check(name=name, passed=False, detail=error.strerror or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - a damaged file makes libraries raise whatever they like
        return Check(name=name, passed=False, detail=" ".join(f"{type(error).__name__}: {error}".split())[:300])


def _file(bundle: Path, name: str, card: FileCard) -> str:
    path = inside(bundle, name)
    if not path.is_file():
        raise AttarError("the file is missing")
    size = path.stat().st_size
    if size != card.bytes:
        raise AttarError(f"{size:,} bytes, the manifest says {card.bytes:,}")
    if file_digest(path) != card.sha256:
        raise AttarError("the content differs from the manifest's sha256")
    return f"{size:,} bytes, sha256 {card.sha256[:12]}…"


def _stray(bundle: Path, manifest: Manifest) -> str:
    found = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if not path.is_dir()}
    if stray := sorted(found - set(manifest.files) - {manifests.NAME}):
        raise AttarError(f"not named in the manifest: {', '.join(stray)}")
    return f"{len(found)} files, all named"


def _names(manifest: Manifest) -> str:
    if unknown := sorted(_named(manifest) - set(manifest.files)):
        raise AttarError(f"used but not among the files: {', '.join(unknown)}")
    if manifest.default not in {artefact.file for artefact in manifest.artefacts}:
        raise AttarError(f"the default {manifest.default!r} is none of the artefacts")
    return f"default {manifest.default}"


def _tokenizer(bundle: Path, manifest: Manifest, examples: list[Golden]) -> str:
    encoder = Encoder(inside(bundle, manifest.tokenizer.file), manifest.tokenizer.max_length)
    rows = encoder.encode([(example.text, example.text_pair) for example in examples])
    for number, (row, example) in enumerate(zip(rows, examples, strict=True), 1):
        if (row.input_ids, row.token_type_ids) != (example.input_ids, example.token_type_ids):
            raise AttarError("other pieces than the golden example's", where=f"{manifest.golden}:{number}")
    return f"the same pieces on {len(examples)} golden texts"


def _artefact(bundle: Path, manifest: Manifest, artefact: Artefact, examples: list[Golden]) -> str:
    """Golden logits within the tolerance; for a fixed length on those examples that fit."""
    if installed(artefact.runtime) is None:
        raise _Skip(f"{artefact.runtime} is not installed")
    fitting = [one for one in examples if len(one.input_ids) <= (artefact.length or len(one.input_ids))]
    if not fitting:
        raise _Skip(f"no golden text fits length {artefact.length}")
    rows = [Features(example.input_ids, example.token_type_ids) for example in fitting]
    batches = [collate([row], manifest.tokenizer.pad_id, artefact.length) for row in rows]
    errors, same = [], 0
    answers = run_isolated(inside(bundle, artefact.file), artefact.runtime, batches)
    for example, logits in zip(fitting, answers, strict=True):
        wanted = np.asarray(example.logits, np.float32)
        if logits.shape != (1, len(wanted)):
            raise AttarError(f"answers of shape {logits.shape}, expected (1, {len(wanted)})")
        errors.append(float(np.abs(logits[0] - wanted).max()))
        same += int(logits[0].argmax() == wanted.argmax())
    worst = float(np.max(errors))  # NaN where any answer is NaN
    agreement = f", same label on {same} of {len(fitting)}" if manifest.task.kind == "classification" else ""
    detail = f"largest error {worst:.2g}, tolerance {artefact.golden_tolerance:.2g}{agreement}"
    if not worst <= artefact.golden_tolerance:
        raise AttarError(detail)
    return detail


def _named(manifest: Manifest) -> set[str]:
    """Every file the manifest speaks of."""
    return {manifest.tokenizer.file, manifest.golden, *(artefact.file for artefact in manifest.artefacts)}


def _card(path: Path) -> FileCard:
    return FileCard(bytes=path.stat().st_size, sha256=file_digest(path))

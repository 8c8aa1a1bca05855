"""The bundle: written whole or not at all, and proved on the machine that received it.

- `build` copies into a folder beside the target and renames it; the digests are taken from the copies.
- `verify` trusts nothing: names stay inside the folder, sizes and digests are right, no stray file, the
  tokenizer gives the golden pieces, and every artefact the golden logits in its own runtime and process.
- A damaged file is never loaded. Damage is one line for each thing that is wrong, and the other checks go on.
- A runtime that is not installed is a skipped check with its name, not a failure.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..benchmarks.machine import version
from ..benchmarks.record import Check
from ..errors import AttarError
from ..files import explain_os_errors, file_digest, inside, replace_folder, write_json
from ..tasks.encoding import Encoder
from . import answers, golden, golden_text, parity
from . import manifest as manifests
from .answers import Posed
from .golden import Golden
from .golden_text import GoldenText
from .manifest import Artefact, FileCard, Manifest
from .processors import kind_here
from .runtimes import DISTRIBUTIONS


def installed(runtime: str) -> str | None:
    """The version of a runtime's distribution; None where it is not installed."""
    return version(DISTRIBUTIONS[runtime])


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


def golden_examples(bundle: Path, manifest: Manifest) -> list[Golden] | list[GoldenText]:
    """The golden examples of a bundle; a bad line is named."""
    path = inside(bundle, manifest.golden)
    return golden_text.read(path) if manifest.task.head == "lm" else golden.read(path)


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
    language = manifest.task.head == "lm"
    if manifest.tokenizer.file in whole:
        yield _check("tokenizer", golden_text.check_pieces if language else _tokenizer, bundle, manifest, examples)
    for artefact, title in zip(manifest.artefacts, titles(manifest.artefacts), strict=True):
        if artefact.file in whole:
            function = golden_text.check_answers if language else _artefact
            yield _check(f"{title} answers", _suited, function, bundle, manifest, artefact, examples)


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
    for number, (posed, example) in enumerate(zip(_posed(bundle, manifest, examples), examples, strict=True), 1):
        found = [(row.input_ids, row.token_type_ids) for row in posed.features]
        if found != [(one.input_ids, one.token_type_ids) for one in example.sequences]:
            raise AttarError("other pieces than the golden example's", where=f"{manifest.golden}:{number}")
    return f"the same pieces on {len(examples)} golden texts"


def _posed(bundle: Path, manifest: Manifest, examples: list[Golden]) -> list[Posed]:
    """The golden words as the bundle's tokenizer reads them."""
    encoder = Encoder(inside(bundle, manifest.tokenizer.file), manifest.tokenizer.max_length)
    form = answers.form(manifest.task)
    return [form.pose(example.asked, encoder) for example in examples]


def _suited(
    function: Callable[..., str], bundle: Path, manifest: Manifest, artefact: Artefact, examples: list[Any]
) -> str:
    """The check of an artefact that is meant for this kind of processor; on others its products may saturate."""
    kind = kind_here()
    if artefact.processors and kind not in artefact.processors:
        raise _Skip(f"the file is for {', '.join(artefact.processors)}, and this processor is {kind or 'unknown'}")
    return function(bundle, manifest, artefact, examples)


def _artefact(bundle: Path, manifest: Manifest, artefact: Artefact, examples: list[Golden]) -> str:
    """Golden logits within the tolerance; for a fixed length on those examples that fit."""
    if installed(artefact.runtime) is None:
        raise _Skip(f"{artefact.runtime} is not installed")
    fitting = [one for one in examples if one.fits(artefact.length)]
    if not fitting:
        raise _Skip(f"no golden text fits length {artefact.length}")
    fed = [one for example in fitting for one in example.sequences]
    path, pad_id = inside(bundle, artefact.file), manifest.tokenizer.pad_id
    found = parity.score_outputs(path, artefact.runtime, [one.features for one in fed], pad_id, artefact.length)
    wanted = [one.answer for one in fed]
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape:
            raise AttarError(f"answers of shape {one.shape}, expected {other.shape}")
    worst = float(np.max([np.abs(one - other).max() for one, other in zip(found, wanted, strict=True)]))  # NaN stays
    tolerance = artefact.golden_tolerance
    detail = f"largest error {worst:.2g}, tolerance {tolerance:.2g}"
    if not worst <= tolerance:
        raise AttarError(detail)
    posed = _posed(bundle, manifest, fitting)
    share = parity.agreement(answers.said(posed, found), answers.said(posed, wanted), tolerance)
    return f"{detail}, same answer on {round(share * len(fitting))} of {len(fitting)}"


def _named(manifest: Manifest) -> set[str]:
    """Every file the manifest speaks of."""
    return {manifest.tokenizer.file, manifest.golden, *(artefact.file for artefact in manifest.artefacts)}


def _card(path: Path) -> FileCard:
    return FileCard(bytes=path.stat().st_size, sha256=file_digest(path))

"""What a browser shows of a phone app: the form of `python -m attar.demo.bench`'s record, and its table."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt

from ..benchmarks.cells import Cell, Row, Table
from ..files import read_document


class Entry(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="forbid")


class Wire(Entry):
    """Bytes of the files that a first visit fetches, each compressed by gzip -9, as servers send them."""

    page: PositiveInt  # HTML, CSS, modules, icons and the two libraries' code
    runtime: PositiveInt  # onnxruntime-web's wasm
    model: PositiveInt
    tokenizer: PositiveInt
    golden: PositiveInt


class Typing(Entry):
    """Sentences typed into the page, a key each 120 ms."""

    keys: PositiveInt
    ms: list[NonNegativeFloat]  # from a key to the frame that shows its answer
    shifts: NonNegativeFloat  # layout shifts of what one sees, as the web's CLS counts them; 0 where nothing jumps
    long_frames_ms: list[NonNegativeFloat]  # of the page's frames, those over 50 ms


class Strings(Entry):
    """Texts that tokenizers find hard, read and answered in the page and in Python by the same file."""

    texts: PositiveInt
    pieces: NonNegativeInt  # texts that became the same pieces and segments
    logits: NonNegativeInt  # texts whose logits are within the tolerance
    answers: NonNegativeInt  # texts with the same answer
    error: NonNegativeFloat  # largest |logit - Python's logit|
    tolerance: float  # of the artefact's golden examples
    differing: list[str] = []  # the first texts that are not alike


class Package(Entry):
    """The same as an Android package."""

    id: str
    bytes: PositiveInt
    files: PositiveInt  # that are the app's, byte for byte
    permissions: Literal[0] = 0  # another number is an error of the command
    alignment: str  # zipalign's last line
    signature: list[str]  # apksigner's lines on the schemes


class Shown(Entry):
    """One app on one machine."""

    format: Literal["attar-app/1"] = "attar-app/1"
    attar: str
    created: str  # ISO 8601, UTC
    command: str
    name: str  # of the bundle
    artefact: str
    scores: dict[str, dict[str, float]]  # of the artefact, by split
    machine: dict[str, Any]
    browser: str
    profile: str  # of the phone that the browser plays
    wire: Wire
    requests: PositiveInt
    foreign_requests: NonNegativeInt  # to another origin than the app's own
    first_ready_ms: NonNegativeFloat  # from an empty browser and a server on this machine to a model that can answer
    ready_ms: list[NonNegativeFloat]  # the same from the browser's own cache, visit after visit
    typing: Typing
    golden: dict[str, Any]  # `golden` of a saved result
    strings: Strings | None = None
    checks: dict[str, list[str]] | None = None  # by check what it complains of; nothing is good
    package: Package | None = None
    pictures: list[str] = []  # files beside the record


def load(path: Path) -> Shown:
    """Read a record."""
    return read_document(Shown, path, "record of the phone app")


def table(found: Shown) -> Table:
    """What the record says, a figure a line."""

    def line(name: str, text: str, path: str) -> Row:
        return Row([Cell(name), Cell(text, path=path)])

    wire, typed, golden = found.wire, found.typing, found.golden
    keys = sorted(typed.ms)
    late = keys[min(len(keys) - 1, round(0.9 * len(keys)))]
    rows = [
        line("page, libraries and runtime, gzipped", f"{(wire.page + wire.runtime) / 1e6:.2f} MB", "wire"),
        line("model and tokenizer, gzipped", f"{(wire.model + wire.tokenizer) / 1e6:.2f} MB", "wire"),
        line("ready to answer, first visit", f"{found.first_ready_ms:.0f} ms", "first_ready_ms"),
        line("ready to answer, from the cache", _spread(found.ready_ms), "ready_ms"),
        line("from a key to its answer on the screen", f"p50 {median(keys):.0f} ms, p90 {late:.0f} ms", "typing.ms"),
        line("layout shifts while typing", f"{typed.shifts:.3f}", "typing.shifts"),
        line("frames over 50 ms while typing", f"{len(typed.long_frames_ms)}", "typing.long_frames_ms"),
        line("requests to other origins", f"{found.foreign_requests} of {found.requests}", "foreign_requests"),
        line(
            "golden examples with Python's pieces and answer",
            f"{min(golden['pieces'], golden['answers'])} of {golden['rows']}",
            "golden",
        ),
    ]
    if found.strings:
        rows.append(line("hard texts with Python's pieces and logits", _read(found.strings), "strings"))
    if found.checks:
        rows.append(line("checks by a script", _checked(found.checks), "checks"))
    if found.package:
        said = f"{found.package.bytes / 1e6:.2f} MB, no permission, {found.package.files} files alike"
        rows.append(line("Android package", said, "package"))
    where = f"{found.browser} with the profile of a {found.profile}, on {found.machine.get('processor')}"
    caption = f"{found.artefact} of `{found.name}`, in {where}. A computer that plays a phone is not a phone."
    return Table(f"app-{found.name}", f"The phone app of {found.name}", caption, [("", "", ""), ("", "", "")], rows)


def _read(found: Strings) -> str:
    alike = min(found.pieces, found.logits)
    near = f"largest difference {found.error:.2g} (allowed {found.tolerance:g}), same answer on {found.answers}"
    return f"{alike} of {found.texts}, {near}"


def _checked(found: dict[str, list[str]]) -> str:
    bad = [f"{name} ({len(complaints)})" for name, complaints in found.items() if complaints]
    return f"failed: {', '.join(bad)}" if bad else f"passed: {', '.join(found)}"


def _spread(values: list[float]) -> str:
    return f"{median(values):.0f} ms ({min(values):.0f} to {max(values):.0f} in {len(values)} visits)"

"""What the app's measure screen saves: latency, memory and correctness on the phone it ran on.

The page writes it (`web/screens/measure.js`, `web/measuring.js`, `web/golden.js`); this is its form, for who reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from ..benchmarks import compare
from ..benchmarks.record import Cost, Latency, Outputs, Placed, Site, load_bench
from ..errors import AttarError
from ..files import read_document, read_json


class Entry(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="ignore")


class PhoneLatency(Entry):
    """Time of single inferences in the page's worker, after warm-up, in turns with the other model."""

    length: PositiveInt  # pieces, without padding
    threads: PositiveInt
    queries: PositiveInt
    repeats: PositiveInt = 1  # inferences of a query, whose mean is its time: a coarse clock sees many better than one
    p50_ms: NonNegativeFloat
    p90_ms: NonNegativeFloat
    mean_ms: NonNegativeFloat
    min_ms: NonNegativeFloat
    ratio: float | None = None  # median over rounds of the first model's time / this one's; None for the first


class PhoneModel(Entry):
    """One model file."""

    name: str  # of its bundle
    file: str
    bytes: PositiveInt
    load_ms: NonNegativeFloat  # from its bytes to a session and a tokenizer; the first opens the runtime too
    latencies: list[PhoneLatency]


class PhoneGolden(Entry):
    """The golden examples of the first model, on this phone."""

    rows: PositiveInt
    pieces: int  # rows whose pieces are those of the golden example
    answers: int  # rows with the same answer
    error: NonNegativeFloat  # largest |logit - PyTorch logit|; nats a piece of a language model
    tolerance: float
    passed: bool


class PhoneMachine(Entry):
    """What a browser tells of the machine."""

    user_agent: str
    cores: int | None = None
    memory_gb: float | None = None  # rounded by the browser
    isolated: bool  # cross-origin isolated: threads and memory are to be had


class Phone(Entry):
    """A whole result."""

    format: Literal["attar-phone/1"]
    attar: str
    version: str  # of the app
    created: str  # ISO 8601, UTC
    target: Literal["this phone"]
    machine: PhoneMachine
    runtime: str
    warmup: int
    threads: PositiveInt
    first_ms: NonNegativeFloat  # the first inference
    ready_ms: NonNegativeFloat  # from the beginning of the visit to a model that can answer
    page_memory: int | None = None  # bytes, where the browser tells
    golden: PhoneGolden
    models: list[PhoneModel] = Field(min_length=1)


def site(phone: Phone) -> Site:
    """The same as a target of a bench, for a report."""
    models = [
        Placed(
            name=f"{one.name}/{one.file}",
            runtime=phone.runtime,
            bytes=one.bytes,
            cost=Cost(
                load_s=one.load_ms / 1e3,
                first_ms=None if number else phone.first_ms,
                latencies=[Latency(**latency.model_dump()) for latency in one.latencies],
            ),
            outputs=None if number else _outputs(phone.golden),
        )
        for number, one in enumerate(phone.models)
    ]
    words = {"processor": phone.machine.user_agent, "cores": phone.machine.cores}
    return Site(target=phone.target, measures="time", machine=words, reference=models[0].name, models=models)


def _outputs(golden: PhoneGolden) -> Outputs:
    share = golden.answers / golden.rows
    return Outputs(golden_error=golden.error, golden_tolerance=golden.tolerance, golden_agreement=share)


def sites(path: Path) -> list[Site]:
    """The targets of a saved result, or of what `attar bench … --json` printed; each says where it stands."""
    values = read_json(path)
    form = str(values.get("format", "")) if isinstance(values, dict) else ""
    as_bench = f"{path.name} (read as a bench): targets[0]."
    if form.startswith("attar-phone/"):
        return [site(load(path)).model_copy(update={"place": as_bench})]
    if form.startswith(compare.FORMAT):
        return [compare.site(path).model_copy(update={"place": as_bench})]
    if not form.startswith("attar-bench/"):
        fix = "`attar bench BUNDLE --json`, with or without --target, or the phone app's *Save result*"
        raise AttarError("no measurement of a target", where=str(path), fix=fix)
    return load_bench(path).targets


def load(path: Path) -> Phone:
    """Read a saved result."""
    return read_document(Phone, path, "result of the phone app")

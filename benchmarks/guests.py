"""Models that are no file of a bundle, beside those that are: a PyTorch folder, or what another program made.

- A guest gets the golden texts of the bundle that it stands beside, at the lengths of that bundle's own models, and
  takes turns with them: what differs is the model's form and its runtime alone.
- Its answers are held to the golden ones where it is the bundle's model. A teacher's are its own: they are scored on
  rows, and compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import UsageError
from ..export import answers, golden, parity
from ..export import manifest as manifests
from ..files import inside, read_json
from ..tasks.encoding import Features
from . import compare, outputs
from .latency import Contender

TORCH = ("torch", "torch-compiled")
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def folders(places: Sequence[Path], bundle: Path) -> list[Contender]:
    """Hugging Face folders in PyTorch, eager and compiled. Raises `UsageError` for a folder that is none."""
    found = []
    for place, label in zip(places, compare.labels(places) if places else [], strict=True):
        needed = [place / name for name in (WEIGHTS, CONFIG, "tokenizer.json")]
        if missing := [file.name for file in needed if not file.is_file()]:
            fix = "name a model's folder, such as runs/NAME/student"
            raise UsageError(f"the folder has no {missing[0]}", where=str(place), fix=fix)
        alike = (bundle / CONFIG).is_file() and read_json(bundle / CONFIG) == read_json(place / CONFIG)
        tolerance = parity.FP32_TOLERANCE if alike else None
        for runtime in TORCH:
            name = f"{label} in {runtime}"
            found.append(Contender(name, place / WEIGHTS, runtime, tolerance=tolerance, tokenizer=needed[2]))
    return found


def of_bundle(guest: Contender, bundle: Path) -> Contender:
    """The bundle's model in another form: its answers may differ as those of an artefact of that precision may."""
    found = [one.answer for row in golden.read(_golden(bundle), golden.Golden) for one in row.sequences]
    return replace(guest, tolerance=parity.tolerance(guest.precision, found))


def seated(guest: Contender, bundle: Path, models: Sequence[Contender]) -> Contender:
    """The guest with the bundle's texts, in its own pieces, at the lengths of these models."""
    card = manifests.load(bundle)
    lengths = sorted({length for model in models for length in model.queries or {}})
    given = compare.queries(_texts(guest, bundle), card, guest.length, [n for n in lengths if _fits(guest, n)])
    return replace(guest, bundle=bundle, queries=given, whole=card.task.head in compare.WHOLE)


def files(model: Contender) -> list[Path]:
    """What the model is on disk: OpenVINO's weights stand beside its graph."""
    weights = model.path.with_suffix(".bin")
    return [model.path, weights] if model.runtime == "openvino" and weights.is_file() else [model.path]


def _texts(guest: Contender, bundle: Path) -> list[Features]:
    if guest.tokenizer is None:
        return compare.sequences(bundle)
    read, form = outputs.encoder(bundle, guest), answers.form(manifests.load(bundle).task)
    asked = [row.asked for row in golden.read(_golden(bundle), golden.Golden)]
    return [one for words in asked for one in form.pose(words, read).features]


def _fits(guest: Contender, length: int) -> bool:
    return guest.length is None or length <= guest.length


def _golden(bundle: Path) -> Path:
    return inside(bundle, manifests.load(bundle).golden)

"""Where the parameters and the bytes of a model are: `attar inspect`.

- It reads a Hugging Face folder, an `.onnx`, `.ort` or `.tflite` file, a bundle, or a run folder.
- Scales and zero points count as bytes of the weight they belong to, and not as parameters.
- MACs are of one text of the length asked for, a static file's of its own; weights alone, with no operators, have none.
- What the file holds beside its constants (the graph, names, padding) is a row of its own, so the rows add up
  to the file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..export import manifest as manifests
from ..files import inside, read_json
from . import compare, graphs, macs, record
from .parts import OTHER, SCALES, Place, Resolver
from .record import Share

LENGTH = 64  # pieces of the text whose MACs are counted
PACKED = {"MatMulNBits": 1, "GatherBlockQuantized": 0}  # the input that has two weights in a byte


class Held(NamedTuple):
    """What a part of a model holds."""

    parameters: int
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """What was found; `models` has the parts of each model by its name."""

    kind: str
    facts: dict[str, str]
    models: dict[str, list[Share]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        models = {name: [share.model_dump() for share in shares] for name, shares in self.models.items()}
        return {"kind": self.kind, "facts": self.facts, "models": models}


def inspect(path: Path, length: int = LENGTH) -> Inspection:
    """Inspect a model folder, a model file, a bundle or a run folder; MACs are of a text of `length` pieces."""
    if not path.exists():
        raise UsageError("no such file or folder", where=str(path))
    if path.is_file():
        return Inspection(f"{path.suffix} file", {}, {path.name: shares(path, length)})
    if (path / manifests.NAME).is_file():
        return _bundle(path, length)
    if (path / "run.json").is_file():
        return _run(path, length)
    if (path / "config.json").is_file():
        return _folder(path)
    fix = "name a Hugging Face folder, a bundle, a run folder, or a file ending in " + ", ".join(graphs.READERS)
    raise UsageError("nothing here that can be inspected", where=str(path), fix=fix)


def shares(path: Path, length: int = LENGTH, whole: bool = False) -> list[Share]:
    """The parts of a model file, or of a folder's `.safetensors` files, largest first.

    Their bytes add up to those of the file or files. MACs are of `length` pieces, or of the file's own length where it
    has one; `whole` says that the head reads all pieces (`macs.count`), which most files say themselves.
    """
    files = _weights(path) if path.is_dir() else [path]
    parameters: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for file in files:
        for place, own in held(file).items():
            parameters[place.part] += own.parameters
            sizes[place.part] += own.bytes
    work = _work(path, length, whole)
    found = [
        Share(part=part, parameters=parameters[part], bytes=size, macs=work.get(part, 0) if work else None)
        for part, size in sizes.items()
    ]
    return sorted((share for share in found if share.bytes), key=lambda share: -share.bytes)


def reads_all(head: str | None) -> bool:
    """Whether a head reads all pieces of a text."""
    return head in (*compare.WHOLE, "lm")


def _work(path: Path, length: int, whole: bool) -> dict[str, int]:
    """MACs by part; none of weights alone."""
    if path.is_dir() or path.suffix == ".safetensors":
        return {}
    graph = graphs.read(path)
    return macs.count(path, graph.length or length, whole=whole or graph.whole)


def held(file: Path) -> dict[Place, Held]:
    """What each place of a model file holds; the bytes add up to the file's."""
    graph = graphs.read(file)
    resolve = Resolver(graph)
    packed = {node.inputs[PACKED[node.op]] for node in graph.nodes if node.op in PACKED}
    found: dict[Place, Held] = defaultdict(lambda: Held(0, 0))
    for constant in graph.constants:
        place = resolve(constant)
        weights = place.part != OTHER and not SCALES.search(constant.name)
        halves = constant.name in packed and constant.bytes == constant.elements
        count = constant.elements * (2 if halves else 1) if weights else 0
        taken = found[place].bytes + constant.bytes + constant.scales
        found[place] = Held(found[place].parameters + count, taken)
    rest = Place("header" if file.suffix == ".safetensors" else "graph and names")
    found[rest] = Held(0, max(0, file.stat().st_size - sum(own.bytes for own in found.values())))
    return dict(found)


def _weights(folder: Path) -> list[Path]:
    if files := sorted(folder.glob("*.safetensors")):
        return files
    fix = "save it with safetensors; other formats may run code"
    raise UsageError("this model folder has no .safetensors file", where=str(folder), fix=fix)


def _folder(path: Path) -> Inspection:
    parts = shares(path)
    config = read_json(path / "config.json")
    names = ("model_type", "num_hidden_layers", "n_layers", "hidden_size", "dim", "vocab_size")
    facts = {name: str(config[name]) for name in names if name in config}
    return Inspection("Hugging Face folder", facts, {path.resolve().name: parts})


def _bundle(path: Path, length: int) -> Inspection:
    manifest = manifests.load(path)
    facts = {
        "name": manifest.name,
        "task": manifest.task.kind + (", pairs of texts" if manifest.task.pair else ""),
        "labels": ", ".join(manifest.task.labels) or "none",
        "longest text": f"{manifest.tokenizer.max_length} pieces",
        "default": manifest.default,
        "bytes of all files": f"{sum(card.bytes for card in manifest.files.values()):,}",
    }
    whole = reads_all(manifest.task.head)
    models = {artefact.file: shares(inside(path, artefact.file), length, whole) for artefact in manifest.artefacts}
    return Inspection("bundle", facts, models)


def _run(path: Path, length: int) -> Inspection:
    """What its record says; of files that are still there the MACs are counted anew."""
    run = record.load(path)
    whole = reads_all(manifests.HEADS.get(run.task["kind"]))
    facts = {"name": run.name, "created": run.created, "choice": run.choice or "none"}
    for model in run.models:
        size = f"{model.bytes:,} bytes" if model.bytes else "size unknown"
        state = "" if model.status == "ok" else f", rejected: {model.reason}"
        facts[model.name] = f"{model.precision}, {model.runtime}, {size}{state}"
    files = {model.name: inside(path, model.file) for model in run.models if model.file}
    models = {
        name: shares(files[name], length, whole) if name in files and files[name].is_file() else found
        for name, found in run.shares.items()
    }
    return Inspection("run", facts, models)

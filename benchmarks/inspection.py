"""Where the parameters and the bytes of a model are: `attar inspect`.

- It reads a Hugging Face folder, an `.onnx`, `.ort` or `.tflite` file, a bundle, or a run folder.
- Exporters fold and rename weights. A constant whose name says nothing belongs to the part of the first named
  thing that its result meets (`val_83` → MatMul → Add of `…attention.self.query.bias`: attention).
- Scales and zero points count as bytes of the weight they belong to, and not as parameters.
- What the file holds beside its constants (the graph, names, padding) is a row of its own, so the rows add up
  to the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..export import manifest as manifests
from ..files import inside, read_json
from . import graphs, record
from .graphs import Constant, Graph, Node
from .record import Share

PARTS = {  # the first pattern that is found in a name decides
    "embeddings": r"embed|\bwte\b|\bwpe\b",
    "head": r"pooler|classifier|lm_head|\bscore\b|\bcls\b|qa_outputs|predictions",
    "feed-forward": r"intermediate|ffn|\bmlp\b|\blin[12]\b|feed.?forward|(?<!attention)[./]output[./]"
    r"|bertoutput|(?<!sa_)output_layer_norm|full_layer_layer_norm",
    "attention": r"attention|attn|[qkv]_lin|out_lin|sa_layer_norm",
}
SCALES = re.compile(r"_(scale|zero_point|scales|zp)$")
OTHER = "other constants"
HOPS = 6  # int8 matrix product, cast, two multiplications, addition: further away a name says nothing


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


def inspect(path: Path) -> Inspection:
    """Inspect a model folder, a model file, a bundle or a run folder."""
    if not path.exists():
        raise UsageError("no such file or folder", where=str(path))
    if path.is_file():
        return Inspection(f"{path.suffix} file", {}, {path.name: shares(path)})
    if (path / manifests.NAME).is_file():
        return _bundle(path)
    if (path / "run.json").is_file():
        return _run(path)
    if (path / "config.json").is_file():
        return _folder(path)
    fix = "name a Hugging Face folder, a bundle, a run folder, or a file ending in " + ", ".join(graphs.READERS)
    raise UsageError("nothing here that can be inspected", where=str(path), fix=fix)


def shares(path: Path) -> list[Share]:
    """The parts of a model file, or of a folder's `.safetensors` files, largest first.

    Their bytes add up to those of the file or files.
    """
    files = _weights(path) if path.is_dir() else [path]
    parameters: dict[str, int] = defaultdict(int)
    sizes: dict[str, int] = defaultdict(int)
    for file in files:
        graph = graphs.read(file)
        resolve = _Resolver(graph)
        for constant in graph.constants:
            part = resolve(constant)
            sizes[part] += constant.bytes
            if part != OTHER and not SCALES.search(constant.name):
                parameters[part] += constant.elements
        rest = "header" if file.suffix == ".safetensors" else "graph and names"
        sizes[rest] += max(0, file.stat().st_size - sum(constant.bytes for constant in graph.constants))
    found = [Share(part=part, parameters=parameters[part], bytes=size) for part, size in sizes.items()]
    return sorted((share for share in found if share.bytes), key=lambda share: -share.bytes)


def _weights(folder: Path) -> list[Path]:
    if files := sorted(folder.glob("*.safetensors")):
        return files
    fix = "save it with safetensors; other formats may run code"
    raise UsageError("this model folder has no .safetensors file", where=str(folder), fix=fix)


class _Resolver:
    """Gives each constant of a graph its part."""

    def __init__(self, graph: Graph) -> None:
        self.constants = {constant.name for constant in graph.constants}
        self.users: dict[str, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self.users[name].append(node)

    def __call__(self, constant: Constant) -> str:
        if named := part_of(constant.name):
            return named
        if constant.elements <= 8 and not SCALES.search(constant.name):
            return OTHER  # shapes, axes, the mask's value
        front = [constant.name]
        for _ in range(HOPS):
            nodes = [node for name in front for node in self.users[name]]
            for node in nodes:
                if node.op.upper() in ("GATHER", "EMBEDDING_LOOKUP") and constant.elements > 64:
                    return "embeddings"
                others = [name for name in node.inputs if name in self.constants and name not in front]
                for name in [node.name, *others]:
                    if part := part_of(name):
                        return part
            front = [name for node in nodes for name in node.outputs]
        return OTHER


def part_of(name: str) -> str | None:
    """The part that a tensor's name speaks of, None where it says nothing."""
    own = name.rstrip(";").rsplit(";", 1)[-1].lower()  # a .tflite name lists its sources, its own last
    return next((part for part, pattern in PARTS.items() if re.search(pattern, own)), None)


def _folder(path: Path) -> Inspection:
    parts = shares(path)
    config = read_json(path / "config.json")
    names = ("model_type", "num_hidden_layers", "n_layers", "hidden_size", "dim", "vocab_size")
    facts = {name: str(config[name]) for name in names if name in config}
    return Inspection("Hugging Face folder", facts, {path.resolve().name: parts})


def _bundle(path: Path) -> Inspection:
    manifest = manifests.load(path)
    facts = {
        "name": manifest.name,
        "task": manifest.task.kind + (", pairs of texts" if manifest.task.pair else ""),
        "labels": ", ".join(manifest.task.labels) or "none",
        "longest text": f"{manifest.tokenizer.max_length} pieces",
        "default": manifest.default,
        "bytes of all files": f"{sum(card.bytes for card in manifest.files.values()):,}",
    }
    models = {artefact.file: shares(inside(path, artefact.file)) for artefact in manifest.artefacts}
    return Inspection("bundle", facts, models)


def _run(path: Path) -> Inspection:
    run = record.load(path)
    facts = {"name": run.name, "created": run.created, "choice": run.choice or "none"}
    for model in run.models:
        size = f"{model.bytes:,} bytes" if model.bytes else "size unknown"
        state = "" if model.status == "ok" else f", rejected: {model.reason}"
        facts[model.name] = f"{model.precision}, {model.runtime}, {size}{state}"
    return Inspection("run", facts, dict(run.shares))

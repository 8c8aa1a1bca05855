"""The stage `bundle`: what a device needs, from the artefacts that passed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..benchmarks.record import Model
from ..errors import AttarError
from ..files import write_text
from . import bundle, golden, manifest, processors

README = "README.md"  # the model card, where the Hub looks for it


def pack(
    name: str,
    task: manifest.TaskCard,
    table: Sequence[Model],
    choice: Model | None,
    cards: Sequence[dict[str, Any]],
    max_length: int,
    pad_id: int,
    provenance: dict[str, Any],
    out: Path,
    student: Path,
    folder: Path,
    readme: str = "",
) -> dict[str, Any]:
    """Write the bundle `folder` from the run `out`, with its model card; rejected artefacts are not in it."""
    passed = [m for m in table if m.role == "artefact" and m.of == "student" and m.status == "ok"]
    if not passed:
        raise AttarError("no artefact passed its checks", where=str(out), fix="see the reasons in report.html")
    if choice is None:
        what = f"no artefact that reads {max_length} pieces passed its checks"
        raise AttarError(what, where=str(out), fix="see the reasons in report.html, or export a longer length")
    passed.sort(key=lambda model: model.name != choice.name)  # of two runtimes of the default file, the chosen first
    inputs = {(card["file"], card["runtime"]): card["inputs"] for card in cards}
    artefacts = [
        manifest.Artefact(
            file=Path(str(model.file)).name,
            runtime=model.runtime,
            precision=model.precision,
            processors=processors.suited(model.processor),
            length=model.length,
            inputs=inputs[Path(str(model.file)).name, model.runtime],
            scores=model.scores,
            golden_error=model.golden_error or 0.0,
            golden_tolerance=model.golden_tolerance or 0.0,
        )
        for model in passed
    ]
    card = manifest.Manifest(
        name=name,
        attar=__version__,
        task=task,
        tokenizer=manifest.TokenizerCard(max_length=max_length, pad_id=pad_id),
        golden=golden.NAME,
        artefacts=artefacts,
        default=Path(str(choice.file)).name,
        files={},
        figures=_figures(table, passed),
        provenance=provenance,
    )
    sources = {artefact.file: out / "artefacts" / artefact.file for artefact in artefacts}
    sources[golden.NAME] = out / "artefacts" / golden.NAME
    names = ("tokenizer.json", "config.json")  # Hugging Face's loaders want the latter
    sources |= {name: student / name for name in names}
    with tempfile.TemporaryDirectory() as space:
        if readme:
            sources[README] = Path(space) / README
            write_text(sources[README], readme)
        written = bundle.build(folder, card, sources)
    return {"files": len(written.files) + 1, "default": written.default}


def _figures(table: Sequence[Model], passed: Sequence[Model]) -> dict[str, Any]:
    """Size and scores of teacher and student; size, load time, memory and latencies of the bundle's artefacts."""
    models = {
        model.name: {"bytes": model.bytes, "parameters": model.parameters, "scores": model.scores}
        for model in table
        if model.role != "artefact"
    }
    return models | {model.name: {"bytes": model.bytes, **model.cost.model_dump()} for model in passed}

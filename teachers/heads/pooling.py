"""How a sentence encoder's folder says that its states are pooled: the files of sentence-transformers.

- `modules.json` lists the modules, each with its type and folder; the folder of `Pooling` holds a config.json. A folder
  without them is pooled by the mean, as most of these models are.
- A module or a pooling that is not known here is refused: leaving it out would give other vectors than the model's.
- `write` leaves the same files beside a student, so that `SentenceTransformer(folder)` reads it too.
- In memory, and from a teacher to its student, the mode travels in the configuration (`attar_pooling`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

from transformers import PreTrainedModel

from ...errors import AttarError
from ...files import read_json, write_json

Mode = Literal["mean", "cls"]
FIELD = "attar_pooling"
MODULES = "modules.json"
FOLDER = "1_Pooling"
KNOWN = ("Transformer", "Pooling", "Normalize")
FLAGS = {  # of the pooling's configuration, which may have several
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def of(model: PreTrainedModel) -> Mode:
    """How a loaded model's states are pooled."""
    return cast(Mode, getattr(model.config, FIELD, "mean"))


def read(source: Path) -> Mode | None:
    """How a folder says that it is pooled; None where it says nothing.

    Raises `AttarError` for modules and poolings that are not known.
    """
    listed = _document(source, MODULES)
    modules = listed if isinstance(listed, list) else [] if listed is None else [listed]
    names = [str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else "" for module in modules]
    strange = next((name for name in names if name not in KNOWN), None)
    if strange is not None:
        what = f"the model has a module {strange!r}, and attar knows {', '.join(KNOWN)}"
        raise AttarError(what, where=f"{source}/{MODULES}")
    folders = [str(module.get("path")) for module, name in zip(modules, names, strict=True) if name == "Pooling"]
    name = f"{(*folders, FOLDER)[0]}/config.json"
    found = _document(source, name)
    if found is None:
        return None
    modes = _modes(found if isinstance(found, dict) else {})
    if len(modes) != 1 or modes[0] not in get_args(Mode):
        stated, known = " and ".join(modes) or "nothing", ", ".join(get_args(Mode))
        what = f"the states are pooled by {stated}, and attar knows {known}"
        raise AttarError(what, where=f"{source}/{name}")
    return cast(Mode, modes[0])


def _modes(config: dict[str, Any]) -> list[str]:
    """A mode by its name, or each whose flag is set; that of the mean is, unless it is false."""
    if isinstance(config.get("pooling_mode"), str):
        return [str(config["pooling_mode"])]
    return [mode for mode, flag in FLAGS.items() if config.get(flag, mode == "mean")]


def _document(source: Path, name: str) -> Any:
    """A JSON file of a folder; None where it is not there."""
    return read_json(source / name) if (source / name).is_file() else None


def write(model: PreTrainedModel, folder: Path, max_length: int) -> None:
    """Write what sentence-transformers reads beside a saved model; it cuts texts to `max_length` pieces."""
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{name}" if number else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for number, name in enumerate(KNOWN)
    ]
    flags = {flag: mode == of(model) for mode, flag in FLAGS.items()}
    write_json(folder / MODULES, modules)
    write_json(folder / FOLDER / "config.json", {"word_embedding_dimension": model.config.hidden_size} | flags)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})

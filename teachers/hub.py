"""Models of the Hugging Face Hub: their files on this machine, in the library's own cache.

- What the cache holds is taken from there without a question to the network, so that a run which goes on tomorrow has
  the same weights; `hf download OWNER/NAME` brings a newer revision.
- Only weights in safetensors and texts are fetched: no pickle, no code, no other program's form of the model.
"""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

from huggingface_hub import snapshot_download

from ..errors import AttarError
from ..files import read_json

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors$")
WANTED = ["*.json", "model*.safetensors", "*.txt", "*.model", "README.md", "LICENSE*"]
OTHERS = ["onnx/*", "openvino/*", "coreml/*"]


@cache
def snapshot(model: str) -> Path:
    """The folder of the files of `owner/name`; they are fetched where the cache has not all that a model needs.

    Raises `AttarError` where neither the cache nor the hub has it.
    """
    fetch = partial(snapshot_download, model, allow_patterns=WANTED, ignore_patterns=OTHERS)
    try:
        found = Path(fetch(local_files_only=True))
        if _whole(found):
            return found
    except OSError:  # the cache has nothing of it
        pass
    try:
        return Path(fetch())
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        why = str(error).strip().partition("\n")[0]
        what = f"no folder here, and the hub does not give it: {why}"
        raise AttarError(what, where=model, fix="name a folder, an id `owner/name` of the hub, or `minilm`") from None


def revision(folder: Path) -> str | None:
    """The commit of the hub that a folder of its cache holds, None of any other folder."""
    kept = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
    return folder.name if kept else None


def _whole(folder: Path) -> bool:
    """Whether configuration and weights are there; an index names the parts that large weights come in."""
    index = folder / "model.safetensors.index.json"
    parts = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else {"model.safetensors"}
    return all((folder / name).is_file() for name in ("config.json", *parts))

"""What a file should weigh, and where the weights of a model are.

- Shared and tied weights are easily written twice (ALBERT 45 -> 340 MB). A file is compared with what its unique
  parameters need: the tolerance leaves room for what is not 8 bits in an int8 file, none for a table stored twice.
- Parameters are counted from the header of `model.safetensors`, which is plain JSON: no library, no weights read.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import AttarError

TOLERANCE = 0.05  # biases and layer norms stay float32 in an int8 file
# Operators, names, and the scales of narrow layers grow with the layers, not with the weights.
GRAPH_BYTES = 256 * 1024

HEAD = {"classifier", "pre_classifier", "pooler", "qa_outputs", "score", "sequence_summary"}
ATTENTION = {"attention", "sa_layer_norm"}
EMBEDDINGS = {"embeddings", "embeddings_project", "embedding_hidden_mapping_in"}
FEED_FORWARD = {
    "intermediate", "output", "ffn", "ffn_output", "output_layer_norm", "full_layer_layer_norm",
}  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Unique parameters by part; their sum is the model's."""

    embeddings: int = 0
    attention: int = 0
    feed_forward: int = 0
    head: int = 0  # pooler and classifier
    other: int = 0

    @property
    def total(self) -> int:
        """All unique parameters."""
        return sum(asdict(self).values())

    def parts(self) -> dict[str, int]:
        """Part names as a reader knows them, without empty parts."""
        return {name.replace("_", "-"): count for name, count in asdict(self).items() if count}


def check(file_bytes: int, parameters: int, width_bits: float) -> tuple[bool, str]:
    """Whether a file is no larger than its unique parameters need at `width_bits` each, and the figures in words."""
    needed = int(parameters * width_bits / 8)
    limit = int(needed * (1 + TOLERANCE)) + GRAPH_BYTES
    figures = f"{file_bytes:,} bytes for {parameters:,} parameters of {width_bits:.3g} bits ({needed:,} bytes)"
    if file_bytes > limit:
        return False, f"{figures}, more than {limit:,}: some weights are stored twice or wider"
    return True, figures


def count_parameters(model_folder: Path) -> Counts:
    """Count the parameters of a saved BERT, DistilBERT, ELECTRA, RoBERTa or ALBERT by part."""
    counts: dict[str, int] = {}
    for name, (dtype, elements) in _header(model_folder / "model.safetensors").items():
        if dtype.startswith(("F", "BF")):  # integer tensors are buffers, such as position numbers
            part = _part(name)
            counts[part] = counts.get(part, 0) + elements
    return Counts(**counts)


def _part(name: str) -> str:
    """The part a parameter belongs to, by the Hugging Face name of its module."""
    modules = set(name.split("."))
    # Order matters: BERT's attention has an `output` of its own, ALBERT keeps its attention's layer norm inside it.
    for part, known in (
        ("head", HEAD), ("attention", ATTENTION), ("embeddings", EMBEDDINGS), ("feed_forward", FEED_FORWARD),
    ):  # fmt: skip
        if modules & known:
            return part
    return "other"


def _header(file: Path) -> dict[str, tuple[str, int]]:
    """Type and number of elements of each tensor, from the file's header: 8 bytes of length, then JSON."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > file.stat().st_size - 8:
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return {name: (str(tensor["dtype"]), math.prod(map(int, tensor["shape"]))) for name, tensor in header.items()}
    except FileNotFoundError:
        raise AttarError("no such file", where=str(file), fix="name a saved model folder") from None
    except (ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        raise AttarError(f"not a safetensors file: {error}", where=str(file)) from None

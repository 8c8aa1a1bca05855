"""What a file should weigh, and where the weights of a model are.

- Shared and tied weights are easily written twice (ALBERT 45 -> 340 MB). A file is compared with what its unique
  parameters need (`total`), with room for what is not 8 bits in an int8 file. That room could hide a small matrix:
  the matrices are compared too, and what is beside the weights with the operators that there are. Biases, norms and
  scales are of 32 bits in files of every precision.
- Parameters are counted from the header of `model.safetensors`, which is plain JSON: no library, no weights read.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

from ..benchmarks import graphs
from ..errors import AttarError

TOLERANCE = 0.05  # of the file: biases and layer norms stay float32 in an int8 file
# Operators, names, and the scales of narrow layers grow with the layers, not with the weights.
GRAPH_BYTES = 256 * 1024
MATRICES = 0.01  # of the matrices: shapes and masks, which are none
# Measured on files of all formats and precisions: 70 to 200 bytes for each operator, 500 to 800 in `.ort`.
NODE_BYTES, HEADER_BYTES = 1000, 16 * 1024

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


def total(file_bytes: int, parameters: int, width_bits: float, scales: int = 0) -> tuple[bool, str]:
    """Whether a file is no larger than its unique parameters need at `width_bits` each, and the figures in words.

    `scales` are the bytes of those that the file keeps beside its weights.
    """
    needed = int(parameters * width_bits / 8) + scales
    limit = int(needed * (1 + TOLERANCE)) + GRAPH_BYTES
    figures = f"{file_bytes:,} bytes for {parameters:,} parameters of {width_bits:.3g} bits ({needed:,} bytes)"
    if file_bytes > limit:
        return False, f"{figures}, more than {limit:,}: some weights are stored twice or wider"
    return True, figures


def check(file: Path, parameters: int, width_bits: float) -> tuple[bool, str]:
    """Whether a file, its matrices and what is beside its weights are no more than they need; the figures in words.

    Raises `AttarError` for a file that cannot be read.
    """
    graph, size, scales = graphs.read(file), file.stat().st_size, scales_of(file)
    small_enough, figures = total(size, parameters, width_bits, scales)
    if not small_enough:
        return False, figures
    matrices = [one for one in graph.constants if _is_matrix(one)]
    held, limit = sum(one.bytes for one in matrices), int(parameters * width_bits / 8 * (1 + MATRICES))
    if held > limit:
        return False, f"{figures}; its matrices take {held:,}, more than {limit:,}: some are stored twice or wider"
    rest = size - sum(one.bytes for one in graph.constants) - scales
    limit = HEADER_BYTES + NODE_BYTES * len(graph.nodes)
    if rest > limit:
        return False, f"{figures}; what is beside its constants takes {rest:,}, more than {limit:,}"
    return True, figures


def scales_of(file: Path) -> int:
    """Bytes of the scales that a `.tflite` file keeps with its tensors; 0 for others, in which they are constants."""
    return sum(one.scales for one in graphs.read(file).constants) if file.suffix == ".tflite" else 0


def _is_matrix(constant: graphs.Constant) -> bool:
    """Whether it is weights of the file's precision; neither a vector nor added to a batch.

    Static files hold the position embeddings of their length so, (1, length, hidden), which quantizers leave alone.
    """
    return len(constant.shape) > 1 and constant.shape[0] > 1


def mean_bits(fp32: Path, dense: float, table: float) -> float:
    """The bits of a weight of a `.tflite` file, over its matrices, where products and tables have these.

    `fp32` is the float32 file that it is made from. Raises `AttarError` for one that cannot be read.
    """
    graph = graphs.read(fp32)
    widths = {"FULLY_CONNECTED": dense, "EMBEDDING_LOOKUP": table}
    known = {node.inputs[1]: widths[node.op] for node in graph.nodes if node.op in widths}
    found = [(one.elements, known[one.name]) for one in graph.constants if one.name in known]
    return sum(count * width for count, width in found) / (sum(count for count, _ in found) or 1)


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

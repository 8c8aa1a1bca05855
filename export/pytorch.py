"""A Hugging Face folder as a runner: the stock model in PyTorch, with the attention that transformers chooses.

- This is the model before it is exported, as its user would run it: its own mask, SDPA, no wrapper of ours.
- Compiled, the whole model is one graph (`fullgraph`): a part that fell back to Python would be timed as if it were
  compiled. Lengths that change make PyTorch compile once more, for any length.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from ..errors import AttarError
from ..files import read_json
from ..tasks.task import Head
from ..teachers import checkpoint, heads
from .runtimes import Arrays
from .wrapper import first_line


class TorchRunner:
    """A model of a folder; see `Runner`."""

    length: int | None = None

    def __init__(self, folder: Path, threads: int, *, compiled: bool = False) -> None:
        torch.set_num_threads(threads)
        if compiled:  # what was compiled for another model counts against this one's limit
            torch.compiler.reset()
        head = head_of(folder)
        self._model = heads.load(head, checkpoint.locate(str(folder))).eval()
        self.inputs = [str(name) for name in checkpoint.takes(self._model)]
        answer = partial(heads.HEADS[head].logits, self._model)
        self._answer = torch.compile(answer, fullgraph=True) if compiled else answer

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Logits of shape (batch, outputs) or (batch, length, outputs)."""
        if missing := [name for name in self.inputs if name not in arrays]:
            raise AttarError(f"the model needs the input {missing[0]}")
        fed = {name: torch.from_numpy(np.ascontiguousarray(arrays[name], np.int64)) for name in self.inputs}
        try:
            with torch.inference_mode():
                return cast("npt.NDArray[np.float32]", self._answer(fed).numpy())
        except Exception as error:  # noqa: BLE001 - PyTorch and its compiler raise many kinds
            raise AttarError(f"PyTorch failed: {first_line(error)}") from None


def head_of(folder: Path) -> Head:
    """The head that a folder's weights were saved with, by `architectures` of its config.json."""
    found = read_json(folder / "config.json").get("architectures") or [""]
    for head, one in heads.HEADS.items():
        name = one.stock.__name__.removeprefix("AutoModel")  # `ForSequenceClassification`; of a bare encoder empty
        if found[0].endswith(name or "Model"):
            return head
    known = ", ".join(one.stock.__name__ for one in heads.HEADS.values())
    raise AttarError(f"{found[0] or 'no architecture'} is not timed", where=str(folder), fix=f"known: {known}")

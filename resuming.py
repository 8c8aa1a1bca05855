"""Checkpoints of a training: a run that is killed continues from one to the same bytes as a run that was not.

One safetensors file holds weights, their average, optimizer moments, the best weights so far, the random state and the
position. A finished phase keeps its weights only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from .errors import AttarError
from .files import write_bytes
from .recipe import Optimization

NAME = "checkpoint.safetensors"


@dataclass
class State:
    """The position of a training; everything of a checkpoint that is not a tensor."""

    epoch: int = 0  # epochs that are done
    batch: int = 0  # batches of this epoch that are done
    step: int = 0
    seconds: float = 0.0  # since the last evaluation, as `sums` and `rows`
    sums: dict[str, float] = field(default_factory=dict)  # losses x rows
    rows: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)  # one entry an evaluation
    best: float | None = None
    kept: float | None = None
    done: bool = False


@dataclass(frozen=True)
class Held:
    """All that a checkpoint is of; `average` are the averaged weights, none where the plan asks for none."""

    folder: Path
    model: nn.Module
    plan: Optimization
    optimizers: Sequence[torch.optim.Optimizer]
    average: dict[str, Tensor]

    def write(self, state: State, best: dict[str, Tensor]) -> None:
        """Write the checkpoint with the best weights so far; a finished phase keeps its weights only."""
        found = {f"model/{name}": tensor.detach() for name, tensor in tensors(self.model).items()}
        if not state.done:
            found |= {f"best/{name}": tensor for name, tensor in best.items()}
            found |= {f"average/{name}": tensor for name, tensor in self.average.items()}
            for number, (optimizer, weight) in enumerate(self._moved()):
                for name, value in optimizer.state.get(weight, {}).items():
                    found[f"optimizer/{number}/{name}"] = value
            found |= {f"random/{kind}": chance for kind, chance in random_state().items()}
        metadata = {"state": json.dumps(vars(state)), "plan": self.plan.model_dump_json()}
        contiguous = {name: tensor.contiguous().cpu() for name, tensor in found.items()}
        write_bytes(self.folder / NAME, save(contiguous, metadata))

    def read(self) -> tuple[State, dict[str, Tensor]]:
        """The state and the best weights, with all else put back where it was; a new state where there is none."""
        path = self.folder / NAME
        if not path.is_file():
            return State(), {}
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata()
            if not same_plan(metadata["plan"], self.plan):
                raise AttarError("the checkpoint belongs to another plan", where=str(path), fix="delete it")
            parts: dict[str, dict[str, Tensor]] = {
                name: {} for name in ("model", "best", "average", "optimizer", "random")
            }
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, _, rest = name.partition("/")
                parts[part][rest] = file.get_tensor(name)
        state = State(**json.loads(metadata["state"]))
        load(self.model, parts["model"])
        for name, tensor in parts["average"].items():
            self.average[name].copy_(tensor)
        self._put_back(parts["optimizer"])
        set_random_state(parts["random"])
        device = next(self.model.parameters()).device
        return state, {name: tensor.to(device) for name, tensor in parts["best"].items()}

    def _put_back(self, moments: dict[str, Tensor]) -> None:
        """Give the optimizers their moments."""
        moved = list(self._moved())
        for place, value in moments.items():
            number, _, name = place.partition("/")
            optimizer, weight = moved[int(number)]
            optimizer.state[weight][name] = value.to(weight.device)

    def _moved(self) -> Iterator[tuple[torch.optim.Optimizer, Tensor]]:
        """Every weight that learns, in a fixed order, with its optimizer."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    yield optimizer, weight


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once (tied ones too) and the buffers."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def load(model: nn.Module, found: dict[str, Tensor]) -> None:
    """Put tensors, by their names in `tensors`, into the model."""
    with torch.no_grad():
        there = tensors(model)
        for name, tensor in found.items():
            there[name].copy_(tensor)


def random_state() -> dict[str, Tensor]:
    """Torch's random states."""
    found = {"cpu": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def set_random_state(chance: dict[str, Tensor]) -> None:
    """Put them back."""
    if "cpu" in chance:
        torch.set_rng_state(chance["cpu"])
    if "cuda" in chance and torch.cuda.is_available():
        torch.cuda.set_rng_state(chance["cuda"])


def same_plan(written: str, plan: Optimization) -> bool:
    """Is this the plan of a checkpoint? One that is older than a field has the field's default."""
    try:
        return type(plan).model_validate_json(written) == plan
    except ValidationError:
        return False

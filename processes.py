"""The processes that train together (`torchrun`, `accelerate launch`), through accelerate; one alone pays nothing.

- Data parallel: each process holds the whole model, prepares the same global batch and takes its own rows of it. Losses
  and gradients are averaged over the processes before each step, so all hold the same weights: those that one process
  with the whole batch would get, but for rounding.
- The first process is the run. It alone takes locks, decides what is reused, writes models and speaks. The others wait
  for its calls, learn with it in its folder, and leave; stages that do not learn are its own. So locks and slots need
  no rule for several processes, and nothing can be built twice.
- A loss over a task's answers is computed by all from the answers of all, which are few numbers (`gather`); of a mean
  over large states each computes its rows' part (`part`). Both are the loss of the whole batch.
- What is drawn by chance for a batch the first process draws and tells. Dropout is each process's own: the first one's
  comes from the generator that a checkpoint keeps, the others' from the seed, their rank and the step, so that a killed
  run goes on with any of them as it would have.
- All processes see one file system. Nothing here imports torch before there is something to exchange.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import AttarError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = TypeVar("Array")  # of torch or numpy

LOST = ("Connection", "Broken pipe", "Timed out")  # words of gloo's errors, which have no type of their own
PATIENCE = timedelta(days=7)  # the first process may encode a large corpus while the others wait


class Processes:
    """This process among those that were started together; `Processes()` is one alone."""

    def __init__(self, count: int = 1, rank: int = 0) -> None:
        self.count, self.rank = count, rank
        self._waiting = False  # the others wait for the first one's call

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """In touch with the other processes; where the first one has not called them by the end, it lets them leave."""
        if self.count > 1:
            self._join()
        try:
            yield
        finally:
            self._dismiss()

    def _join(self) -> None:
        """Find the others: gloo between CPUs, NCCL between GPUs, one process to each."""
        import torch
        from accelerate import PartialState

        gpus = torch.cuda.device_count()
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        if 0 < gpus < here:
            raise UsageError(f"{here} processes and {gpus} GPU{'s' * (gpus > 1)}", fix="start one process for each GPU")
        with _contact():
            PartialState(cpu=not gpus, timeout=PATIENCE)
        self._waiting = self.first

    @contextlib.contextmanager
    def together(self, work: int) -> Iterator[None]:
        """The first process: let the others, who wait in `called`, take part in the work of this number, from 1.

        The others do nothing here. They are called again, or dismissed, only after work that ended well.
        """
        waiting, self._waiting = self._waiting, False
        if waiting:
            self.agree(work)
        yield
        self._waiting = waiting

    def called(self) -> int:
        """The other processes: wait for the first one; the number of the work they take part in, 0 to leave."""
        return self.agree(0)

    def _dismiss(self) -> None:
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(AttarError):  # who is gone needs no leave
                self.agree(0)

    def leave(self) -> None:
        """Part: what follows is done alone."""
        self._dismiss()
        if self.count > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            from accelerate import PartialState

            with _contact():
                PartialState().wait_for_everyone()

    def agree(self, number: int) -> int:
        """The number that the first process has."""
        if self.count == 1:
            return number
        import torch
        from accelerate import PartialState
        from accelerate.utils import broadcast

        with _contact():
            return int(broadcast(torch.tensor(number, device=PartialState().device)))

    @contextlib.contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """Where this process may write what the first one writes into the folder: others have a passing one."""
        if self.first:
            yield folder
            return
        with tempfile.TemporaryDirectory() as passing:
            yield Path(passing)

    def rows(self, size: int) -> tuple[slice, float]:
        """Which of so many rows are this process's, every `count`-th one, and their weight.

        Where there are fewer rows than processes, one that has none gets the first row with the weight 0: it computes
        what all compute, for nothing, and stays in step.
        """
        idle = self.rank >= size
        return slice(0, 1) if idle else slice(self.rank, None, self.count), float(not idle)

    def share(self, batch: Mapping[str, Array]) -> tuple[dict[str, Array], float]:
        """This process's rows of a batch, and their weight (`rows`)."""
        found: Mapping[str, Any] = batch
        rows, weight = self.rows(len(next(iter(found.values()))))
        return {name: array[rows] for name, array in found.items()}, weight

    def gather(self, own: Tensor, size: int) -> Tensor:
        """What all processes computed for their rows (`rows`), (size, ...), in the order of the batch.

        A loss of it is the whole batch's in every process; averaged over them its gradients are those of one process.
        """
        if self.count == 1:
            return own
        import torch
        from accelerate.utils import gather
        from torch.nn import functional as F

        each = -(-size // self.count)
        padding = [0, 0] * (own.dim() - 1) + [0, each - len(own)]
        with _contact():
            every: Tensor = gather(F.pad(own.detach(), padding)).view(self.count, each, *own.shape[1:])
        whole = every.transpose(0, 1).flatten(0, 1)[:size]  # row n is the process n % count's
        rows, weight = self.rows(size)
        if not weight:
            return whole + 0 * own.sum()  # its own row is another's: it has a gradient, of zeros
        learning = own + (own - own.detach()) * (self.count - 1)  # the same numbers, with `count` times their gradient
        return whole.index_copy(0, torch.arange(size, device=own.device)[rows], learning)

    def part(self, mean: Tensor, count: Tensor, weight: float) -> Tensor:
        """A mean over `count` things in this process's rows as its part of the mean over those of all processes."""
        if self.count == 1:
            return mean
        count = weight * count.float()
        return mean * (count / self.mean(count).clamp(min=1e-9))

    def same(self, number: int, what: str) -> None:
        """Raise `AttarError` where a process has another number than the first one has."""
        if self.count > 1:
            import torch
            from accelerate import PartialState

            apart = torch.tensor(float(number != self.agree(number)), device=PartialState().device)
            if float(self.mean(apart)) > 0:
                raise AttarError(f"the processes have different {what}", fix="start one process")

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, of the same shape."""
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        with _contact():
            found: Tensor = reduce(values, "mean")
        return found

    def losses(self, own: Mapping[str, Tensor]) -> dict[str, float]:
        """The losses of the whole batch as numbers, from this process's."""
        if self.count == 1:
            return {name: float(value.detach()) for name, value in own.items()}
        import torch

        values = self.mean(torch.stack([value.detach().float() for value in own.values()]))
        return dict(zip(own, values.tolist(), strict=True))

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's numbers: what each computes on a GPU may differ in its last bits."""
        if self.count == 1:
            return
        import torch
        from accelerate.utils import broadcast

        with _contact(), torch.no_grad():
            for tensor in tensors:
                tensor.copy_(broadcast(tensor.detach().clone()))

    def average_gradients(self, weights: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes, in one exchange.

        A weight without one, such as a pooler that no loss reads, has none in any process and stays so.
        """
        if self.count == 1:
            return
        import torch

        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        means = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    def reseed(self, seed: int, step: int) -> None:
        """Give a process that is not the first its own chance for one step."""
        if not self.first:
            import numpy as np
            import torch

            torch.manual_seed(int(np.random.SeedSequence((seed, self.rank, step)).generate_state(1)[0]))


ALONE = Processes()


def launched() -> Processes:
    """The processes that a launcher started, told from the environment that `torchrun` sets."""
    count, rank = (os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    together = count.isdecimal() and rank.isdecimal() and int(count) > 1
    return Processes(int(count), int(rank)) if together else Processes()


@contextlib.contextmanager
def _contact() -> Iterator[None]:
    """A process that ends, by an error or a kill, leaves the others without an answer: no bug of theirs."""
    from torch.distributed import DistError

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, DistError) and not any(word in str(error) for word in LOST):
            raise
        raise AttarError(
            "another process that trains with this one is gone",
            fix="see what it said; the same command goes on where this one stopped",
        ) from error

"""One training loop for everything that learns: fine-tuning and every phase of distillation.

- The learning rate of AdamW or Muon (`optimizers`) rises and falls linearly.
- The order of batches follows from the seed and the epoch alone (`tasks.batching`): a position is two numbers.
- Where the plan asks for it, a running average of the weights is what is scored and kept (Polyak and Juditsky, 1992):
  it forgets the noise of single batches, as a lower learning rate would.
- In bfloat16 only what the loss computes is rounded (autocast): weights, gradients, moments and dev scores are float32.
- In bfloat16 on a CPU attention over short rows is learnt through plain products, whose gradient takes less time there
  than that of torch's fused kernel (`python -m attar.compress.attention_cost` measures both).
- Several processes (`processes`) take the same steps; the first alone writes checkpoints, and all read them.
- A run that is killed continues from its last checkpoint (`resuming`) to the same bytes as a run that was not.
- A loss or a gradient that is no number ends the training before it touches the weights: the checkpoint then holds the
  state before that batch, and the error names the batch.
- The dev score is taken at the end of each epoch, or several times within it (`evaluations`); at the end the model
  holds the weights that scored best, or the last.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from . import optimizers
from .errors import AttarError
from .processes import ALONE, Processes
from .recipe import Optimization
from .resuming import NAME, Held, load, random_state, set_random_state, tensors
from .resuming import State as State
from .tasks import batching

Losses = dict[str, Tensor]
Scores = dict[str, float]
Progress = Callable[[str, float, str], None]  # what, share done, a short remark
Watch = Callable[[str, Scores], None]  # phase, dev scores; what it raises ends the training

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)

CHECKPOINT_SECONDS = 120.0
NAMED = 64  # rows of a batch that an error names
PLAIN = 128  # pieces up to which plain attention learns faster on a CPU in bfloat16
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class DivergedError(AttarError):
    """A loss or a gradient is no number."""


@dataclass
class Job:
    """What `fit` needs to know: which weights, which loss, over which rows."""

    phase: str
    model: nn.Module  # all weights that learn
    loss: Callable[[npt.NDArray[np.int64]], Losses]  # rows of a batch -> weighted losses, which are summed
    lengths: Sequence[int]  # pieces of each training row
    plan: Optimization
    seed: int
    folder: Path  # where checkpoints live
    metric: str = ""
    evaluate: Callable[[], Scores] | None = None
    progress: Progress = lambda what, done, remark: None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    where: Callable[[int], str] = lambda row: ""  # where a training row was read, as far as known
    processes: Processes = ALONE  # `loss` gives this one's part: averaged over all, the whole batch's


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Within it every dev score of every phase is told to `watch`, which may end it by an error of its own."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def fit(job: Job) -> State:
    """Train; continue from the checkpoint in `job.folder` where there is one.

    The model ends with the kept weights. Raises `DivergedError` where the loss or its gradient stops being a number;
    the model and the checkpoint then hold the state before that step.
    """
    with _attention(job):
        return _fit(job)


def _fit(job: Job) -> State:
    torch.manual_seed(job.seed)
    forget_peak()
    movers = optimizers.build(job.model, job.plan)
    average = _Average(job.model, job.plan.average)
    job.processes.same(sum(weight.numel() for weight in job.model.parameters()), "weights")
    held = Held(job.folder, job.model, job.plan, movers, average.weights)
    state, best = held.read()
    job.processes.spread(tensors(job.model).values())
    total = job.plan.epochs * -(-len(job.lengths) // job.plan.batch_size)
    saved = time.monotonic()
    while state.epoch < job.plan.epochs and not state.done:
        batches = batching.shuffled(job.lengths, job.plan.batch_size, job.seed, state.epoch)
        parts = {-(-len(batches) * part // job.plan.evaluations) for part in range(1, job.plan.evaluations + 1)}
        for rows in batches[state.batch :]:
            job.model.train()
            started, chance = time.monotonic(), random_state()
            try:
                _step(job, movers, state, rows, total)
            except DivergedError:
                set_random_state(chance)
                _save(job, held, state, best)
                raise
            average.follow(state.step)
            state.seconds += time.monotonic() - started
            job.progress(job.phase, state.step / total, _remark(state, total))
            due = state.batch in parts
            if due:
                with average.in_place():
                    best = _evaluate(job, state, best, len(batches))
            if due or time.monotonic() - saved > job.checkpoint_seconds:
                _save(job, held, state, best)
                saved = time.monotonic()
    if not state.done:
        load(job.model, best or average.weights)
        state.done = True
        _save(job, held, state, {})
    job.processes.spread(tensors(job.model).values())
    job.model.eval()
    return state


class _Average:
    """An exponential moving average of the weights that learn; with a decay of 0 it does nothing."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.learning = {name: w for name, w in model.named_parameters() if decay and w.requires_grad}
        self.weights = {name: weight.detach().clone() for name, weight in self.learning.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the weights after step `step` (from 1); over the first steps faster, to forget the start."""
        if self.weights:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self.weights.values()), list(self.learning.values()), 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the average in it; afterwards it learns on from its own weights."""
        own = {name: weight.detach().clone() for name, weight in self.learning.items()}
        self._write(self.weights)
        yield
        self._write(own)

    @torch.no_grad()
    def _write(self, weights: dict[str, Tensor]) -> None:
        for name, weight in self.learning.items():
            weight.copy_(weights[name])


def _step(
    job: Job, movers: Sequence[torch.optim.Optimizer], state: State, rows: npt.NDArray[np.int64], total: int
) -> None:
    """One step of the optimizers over one batch."""
    rate = job.plan.learning_rate * _schedule(state.step, total, job.plan.warmup)
    for mover in movers:
        for group in mover.param_groups:
            group["lr"] = rate
    job.processes.reseed(job.seed, state.step)
    with _precision(job):
        own = job.loss(rows)
    losses = job.processes.losses(own)
    loss = sum(losses.values())
    if not math.isfinite(loss):
        raise _diverged(job, f"the loss is {loss}", state, rows)
    job.model.zero_grad(set_to_none=True)
    torch.stack(list(own.values())).sum().backward()  # type: ignore[no-untyped-call]
    weights = [weight for weight in job.model.parameters() if weight.grad is not None]
    job.processes.average_gradients(weights)
    norm = _clip(weights, job.plan.max_grad_norm)
    if not math.isfinite(norm):
        raise _diverged(job, f"the loss is {loss:g} and its gradient {norm}", state, rows)
    for mover in movers:
        mover.step()
    state.step += 1
    state.batch += 1
    state.rows += len(rows)
    for name, value in losses.items():
        state.sums[name] = state.sums.get(name, 0.0) + value * len(rows)


def _precision(job: Job) -> contextlib.AbstractContextManager[Any]:
    """Compute in bfloat16 where the plan says so, or leaves it to the hardware and that can."""
    return torch.autocast(_kind(job), torch.bfloat16) if _rounded(job) else contextlib.nullcontext()


def _kind(job: Job) -> str:
    return next(job.model.parameters()).device.type


def _rounded(job: Job) -> bool:
    return job.plan.precision == "bfloat16" or (job.plan.precision == "auto" and _rounds(_kind(job)))


def _plain(job: Job) -> bool:
    return _rounded(job) and _kind(job) == "cpu" and max(job.lengths, default=0) <= PLAIN


@contextlib.contextmanager
def _attention(job: Job) -> Iterator[None]:
    """Let the models that learn compute attention in the way that learns faster; afterwards they have their own."""
    changed: list[Any] = []
    for module in job.model.modules() if _plain(job) else ():
        if getattr(getattr(module, "config", None), "_attn_implementation", "") == "sdpa":
            changed.append(module)
            module.set_attn_implementation("eager")  # type: ignore[operator] # of the models inside it too
    try:
        yield
    finally:
        for module in changed:
            module.set_attn_implementation("sdpa")


def _rounds(kind: str) -> bool:
    """Does the hardware multiply in bfloat16?"""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _diverged(job: Job, what: str, state: State, rows: npt.NDArray[np.int64]) -> DivergedError:
    """The error that names the phase, the step and the batch."""
    return DivergedError(
        f"{what} at step {state.step + 1}, on the training rows {_named(job, sorted(rows.tolist()))}",
        where=job.phase,
        fix="lower its learning_rate, or look at those rows; until the recipe is changed the state before them is in "
        f"{job.folder / NAME}",
    )


def _named(job: Job, numbers: Sequence[int]) -> str:
    """Rows by where they were read, `rows.tsv:3, 17`, or by their numbers."""
    more = f" and {len(numbers) - NAMED} more" if numbers[NAMED:] else ""
    places = [job.where(number) for number in numbers[:NAMED]]
    if not all(places):
        return f"{', '.join(map(str, numbers[:NAMED]))}{more} (the first is 0)"
    lines: dict[str, list[int]] = {}
    for place in places:
        file, _, line = place.rpartition(":")
        if line.isdecimal():
            lines.setdefault(file, []).append(int(line))
        else:
            lines[place] = []
    named = (f"{file}:{', '.join(map(str, sorted(found)))}" if found else file for file, found in lines.items())
    return "; ".join(named) + more


def _clip(weights: list[nn.Parameter], limit: float) -> float:
    """Clip the gradients' norm, and give it as it was.

    Unlike torch's own, it touches them only where it is too large (a pass over all memory).
    """
    norm = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    if float(norm) > limit:
        nn.utils.clip_grads_with_norm_(weights, limit, norm)
    return float(norm)


def _evaluate(job: Job, state: State, best: dict[str, Tensor], batches: int) -> dict[str, Tensor]:
    """Score the model, write it down, and keep the weights where they are the best so far; maybe end the epoch."""
    scores = {}
    if job.evaluate is not None:
        job.model.eval()
        with torch.inference_mode():
            scores = job.evaluate()
    place: float = state.epoch + state.batch / batches
    if state.batch == batches:
        state.epoch, state.batch = state.epoch + 1, 0
        place = state.epoch
    value = scores.get(job.metric)
    if job.plan.keep == "best" and value is not None:
        if state.best is None or value > state.best:
            state.best, state.kept = value, place
            best = {name: tensor.detach().clone() for name, tensor in tensors(job.model).items()}
    else:
        state.kept = place
    state.epochs.append(
        {
            "epoch": place,
            "losses": {name: total / state.rows for name, total in state.sums.items()},
            "scores": scores,
            "seconds": state.seconds,
            "examples_per_second": state.rows / max(state.seconds, 1e-9),
        }
    )
    state.rows, state.sums, state.seconds = 0, {}, 0.0
    if scores and (watch := _watch.get()):
        watch(job.phase, scores)
    return best


def _schedule(step: int, total: int, warmup: float) -> float:
    """Linear rise over the first `warmup` of the steps, then linear fall to zero."""
    rise = max(1, round(warmup * total))
    return min((step + 1) / rise, (total - step) / max(1, total - rise))


def _save(job: Job, held: Held, state: State, best: dict[str, Tensor]) -> None:
    """The first process writes the checkpoint."""
    if job.processes.first:
        held.write(state, best)


def _remark(state: State, total: int) -> str:
    loss = sum(state.sums.values()) / max(1, state.rows)
    rate = state.rows / max(state.seconds, 1e-9)
    return f"loss {loss:.4f}, {rate:.0f} examples/s, step {state.step}/{total}"


def forget_peak() -> None:
    """Start a new count of `peak_memory`, where the system can (Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees (glibc), up to its peak.

    By default a large block goes back to the system when a tensor dies and comes back page by page with the next one,
    in every step: 6 % of the processor time of a distillation on one core.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def peak_memory() -> int:
    """Largest memory since `forget_peak` in bytes: resident in this process, or on the GPU where that is used."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")

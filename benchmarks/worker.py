"""One model in a process of its own, and the pipe that drives it.

- Why a process for each model: an old runtime may abort on a file it cannot read, and two runtimes in one
  process share thread pools and allocators. A model that dies takes no other along; its last words are kept.
- The process may be on another machine, or emulated: a host says how it is started; see `targets`.
- Time is taken inside the child, around the inference alone; the pipe carries JSON lines.
- The garbage collector is off while a model answers.
- After each timed inference the child waits until its own threads rest (`settle`). Runtimes let their threads
  spin for a while after an inference; they would steal the cores from the model whose turn is next.
- `python -m attar.benchmarks.worker` is the child; it imports no torch.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AttarError
from ..export import runtimes
from ..export.runtimes import Arrays, Runner
from . import machine
from .targets.host import HERE, Host

LAST_S = 10.0  # how long a child that said its last may take to end
REST_S, REST_LIMIT_S = 0.0005, 0.05  # how long the child looks at its own processor time, and gives up after


class Worker:
    """A child process that holds one model, on this machine or on another host; a context manager."""

    def __init__(self, path: Path, runtime: str, host: Host = HERE) -> None:
        self.path, self.runtime, self.host = path, runtime, host
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._child = subprocess.Popen(
            list(host.command()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=dict(host.environment()),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream and stream.close()

    def load(self, threads: int) -> None:
        """Load the model anew with so many threads."""
        self._ask("load", path=self.host.path(self.path), runtime=self.runtime, threads=threads)

    def keep(self, queries: Iterable[Arrays]) -> None:
        """Hand over the inputs that `time` runs, so that no timed call waits for the pipe."""
        self._ask("keep", queries=[{name: rows.tolist() for name, rows in query.items()} for query in queries])

    def time(self, index: int) -> int:
        """Nanoseconds of one inference of the kept inputs number `index` (modulo their count)."""
        return int(self._ask("time", index=index))

    def answer(self, index: int) -> npt.NDArray[np.float32]:
        """What the model answers to the kept inputs number `index`, as a runner gives it."""
        return np.asarray(self._ask("answer", index=index), np.float32)

    def between_marks(self, index: int, repeats: int) -> None:
        """So many inferences of the kept inputs, each between two calls of `getppid`, which an emulator can see."""
        self._ask("between_marks", index=index, repeats=repeats)

    def describe(self) -> dict[str, Any]:
        """The machine that the child runs on; see `machine.describe`."""
        return dict(self._ask("describe"))

    def cost(self, threads: int) -> dict[str, float]:
        """`load_s`, `first_ms`, `peak_memory` (bytes) of this process, fresh but for the inputs it keeps."""
        found = self._ask("cost", path=self.host.path(self.path), runtime=self.runtime, threads=threads)
        return {name: float(value) for name, value in found.items()}

    def _ask(self, do: str, **words: Any) -> Any:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):  # a lost connection may leave half of one
            raise AttarError(self._last_words(), where=self.path.name)
        answer = json.loads(line)
        if "error" in answer:
            raise AttarError(answer["error"], where=self.path.name)
        return answer["value"]

    def _last_words(self) -> str:
        """Why the child is gone: the signal, and the last line it wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=LAST_S)
        self._child.kill()
        code = self._child.wait()
        if lost := self.host.ended(code, self._said()):
            return f"{lost}{self._said()}"
        number = -code if code < 0 else code - 128  # of the signal; a shell gives 128 and it
        how = (
            f"was killed by {signal.Signals(number).name}"
            if number in set(signal.Signals)
            else f"ended with code {code}"
        )
        return f"{self.runtime} {how}{self._said()}"

    def _said(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1].strip()[:200]}" if lines else ""


class _Child:
    """What the child process does, one method a command."""

    runner: Runner
    queries: list[dict[str, npt.NDArray[np.int64]]]

    def load(self, path: str, runtime: str, threads: int) -> None:
        self.__dict__.pop("runner", None)  # free the old model before the new one is read
        gc.collect()
        self.runner = runtimes.open_model(Path(path), runtime, threads)

    def keep(self, queries: list[dict[str, Any]]) -> None:
        self.queries = [{name: np.asarray(row, np.int64) for name, row in query.items()} for query in queries]

    def time(self, index: int) -> int:
        arrays = self.queries[index % len(self.queries)]
        gc.disable()
        start = time.perf_counter_ns()
        self.runner.run(arrays)
        spent = time.perf_counter_ns() - start
        gc.enable()
        settle()
        return spent

    def answer(self, index: int) -> list[Any]:
        answer: list[Any] = self.runner.run(self.queries[index]).tolist()
        return answer

    def between_marks(self, index: int, repeats: int) -> None:
        arrays = self.queries[index]
        gc.collect()
        gc.disable()
        for _ in range(repeats):
            os.getppid()
            self.runner.run(arrays)
            os.getppid()
        gc.enable()

    def describe(self) -> dict[str, Any]:
        names = ("numpy", *runtimes.DISTRIBUTIONS.values(), *runtimes.OTHERS)
        named = {name: machine.version(name) for name in names}
        return machine.describe() | {"versions": {name: found for name, found in named.items() if found}}

    def cost(self, path: str, runtime: str, threads: int) -> dict[str, float]:
        with contextlib.suppress(ImportError):  # `load` says better what is missing
            importlib.import_module(runtimes.library(runtime), runtimes.__name__)
        before = _resident("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
        start = time.perf_counter_ns()
        self.load(path, runtime, threads)
        loaded = time.perf_counter_ns()
        self.runner.run(self.queries[0])
        ended = time.perf_counter_ns()
        peak = max(0, _resident("VmHWM") - before)
        return {"load_s": (loaded - start) / 1e9, "first_ms": (ended - loaded) / 1e6, "peak_memory": peak}


def settle() -> None:
    """Wait until the threads of this process rest, at most `REST_LIMIT_S` seconds."""
    deadline = time.perf_counter() + REST_LIMIT_S
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(REST_S)
        if time.process_time() - before < REST_S / 4:
            return


def _resident(field: str) -> int:
    """`VmRSS` or `VmHWM` of this process in bytes."""
    match = re.search(rf"^{field}:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    if match is None:
        raise AttarError(f"this system does not say {field}")
    return int(match.group(1)) * 1024


def main() -> None:
    """Answer commands on stdin until it closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    child = _Child()
    for line in sys.stdin:
        words = json.loads(line)
        try:
            answer = {"value": getattr(child, words.pop("do"))(**words)}
        except AttarError as error:
            answer = {"error": error.line()}
        except Exception as error:  # noqa: BLE001 - runtimes raise whatever they like; the parent tells the user
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    main()

"""What else the machine did while models were timed: other programs, the processor's pace.

- Load of others is the processors' busy time (`/proc/stat`, kernel and stolen time included) less that of this process
  and of its children that have ended, per second: 0.4 is two fifths of one core.
- Pace is the time of a fixed piece of work of this process, the least of several, taken before and after each session;
  its drift is the slowest over the fastest. It sees frequency changes where a virtual machine hides them.
- Everything is Linux's; elsewhere it is None, and says nothing.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import BaseModel

NOISY_LOAD, NOISY_DRIFT = 0.2, 1.1


class Conditions(BaseModel):
    """How quiet the machine was."""

    others: float | None = None  # cores that others kept busy, on average
    stolen: float | None = None  # of these, cores that the hypervisor gave to somebody else
    drift: float | None = None  # slowest pace / fastest pace
    seconds: float = 0.0  # how long it was watched

    def said(self) -> str:
        """What was seen and is none of the `problems`, in words; nothing where nothing was watched."""
        found = []
        if self.others is not None and self.others <= NOISY_LOAD:
            found.append(f"other programs kept {self.others:.2f} cores busy")
        if self.drift is not None and self.drift <= NOISY_DRIFT:
            found.append(f"the processor's pace changed by {self.drift - 1:.1%}")
        return ", ".join(found)

    def problems(self) -> list[str]:
        """What makes the figures doubtful, in words."""
        found = []
        if self.others is not None and self.others > NOISY_LOAD:
            found.append(f"other programs kept {self.others:.2f} cores busy while models were timed")
        if self.drift is not None and self.drift > NOISY_DRIFT:
            found.append(f"the processor's pace changed by {self.drift - 1:.0%}")
        return found


class Watch:
    """Watches from its making until `conditions`; `look` takes the pace, and is called while no model runs."""

    def __init__(self) -> None:
        self._start, self._busy, self._own = time.perf_counter(), _busy(), _own()
        self._paces: list[float] = []
        self.look()

    def look(self) -> None:
        """Time the fixed work once more."""
        self._paces.append(min(_pace() for _ in range(5)))

    def conditions(self) -> Conditions:
        """What was seen; every child must have ended."""
        self.look()
        seconds = time.perf_counter() - self._start
        drift = max(self._paces) / min(self._paces)
        after = _busy()
        if self._busy is None or after is None:
            return Conditions(drift=drift, seconds=seconds)
        busy, stolen = ((new - old) / seconds for new, old in zip(after, self._busy, strict=True))
        others = max(0.0, busy - (_own() - self._own) / seconds)
        return Conditions(others=others, stolen=stolen, drift=drift, seconds=seconds)


def _own() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _busy() -> tuple[float, float] | None:
    """Seconds that all processors were not idle, and those stolen, since the machine started."""
    try:
        first = Path("/proc/stat").read_text("ascii").partition("\n")[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = (int(word) / os.sysconf("SC_CLK_TCK") for word in first)
    return user + nice + system + irq + soft + steal, steal


def _pace() -> float:
    """Seconds of a fixed piece of arithmetic that touches no memory to speak of."""
    start, value = time.perf_counter(), 1
    for _ in range(40_000):
        value = (value * 1103515245 + 12345) % 2147483648
    return time.perf_counter() - start

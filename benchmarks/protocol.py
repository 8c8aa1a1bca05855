"""How long models are timed: in the manner of MLPerf's single stream, in turns, in several sessions.

- A *session* is a fresh process for each model. What a process draws by chance (where its memory lies, which pages it
  gets) moves a latency by several percent and stays until it ends, so that a thousand queries of one process agree
  with each other and not with tomorrow's (Kalibera and Jones, Rigorous benchmarking in reasonable time, 2013).
  Intervals are therefore taken over sessions.
- 1,024 queries and 10 seconds are the least that MLPerf Inference asks of a single stream (min_query_count; the
  duration was 10 s in its mobile rules). The seconds are of all models' turns together.
- The quick protocol is one session: figures without an interval, and it says so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """The least that is timed at one length and number of threads, over all sessions; a warm-up opens each."""

    queries: int = 1024  # of each model
    seconds: float = 10.0
    sessions: int = 8
    warmup: int = 10  # queries of each session that do not count

    @property
    def quick(self) -> bool:
        """One session: nothing is known of the next."""
        return self.sessions == 1

    def said(self) -> str:
        """How much is timed, in words."""
        if self.quick:
            return f"quick: {self.queries} queries in one session, no intervals"
        few = f" (the full protocol asks for {Protocol().queries:,})" if self.queries < Protocol().queries else ""
        return f"{self.queries:,} queries{few} and {self.seconds:g} s at the least, in {self.sessions} sessions"

    @property
    def share(self) -> int:
        """Queries of a model in one session, rounded up."""
        return -(-self.queries // self.sessions)


def quick(queries: int, warmup: int = 10) -> Protocol:
    """One session of so many queries."""
    return Protocol(queries, 0.0, 1, warmup)

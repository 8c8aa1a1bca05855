"""What a user is told when something is wrong.

- One class, `AttarError`: it says *what* was wrong, *where* (file and line, option, stage) and *how to fix it*.
- The command line prints it as one line and exits with `code`; anything else that escapes is our own bug.
- Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the budget was missed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FAILED, USAGE, BUDGET_MISSED = 1, 2, 3


class AttarError(Exception):
    """A problem the user can understand and mend."""

    code = FAILED

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self.line())

    def line(self) -> str:
        """Everything in one line: `where: what; fix`."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text}; {self.fix}" if self.fix else text
        return " ".join(text.split())


class DiskFullError(AttarError):
    """No space is left; unlike other failures of a stage, it stops everything."""

    def __init__(self, where: str = "") -> None:
        super().__init__("the disk is full", where=where, fix="free some space and repeat")


class UsageError(AttarError):
    """The words of the command or of the recipe are wrong."""

    code = USAGE


def not_installed(library: str) -> AttarError:
    """A library is missing that training needs."""
    return AttarError(f"{library} is not installed", fix='pip install "attar[compress]"')


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean …?` for a mistyped word, or the list of known words where nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(names)

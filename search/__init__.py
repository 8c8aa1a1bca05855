"""Search: students are tried until one meets the budget, and the best is trained in full."""

from .own import asked, within
from .run import run

__all__ = ["asked", "run", "within"]

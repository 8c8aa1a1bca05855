"""Search: students are tried until one meets the budget, and the best is trained in full."""

from .run import run

__all__ = ["run"]

"""The command line: parse, call, print.

- Commands import what they need when they run: `attar --help` is quick, and a light installation works.
- Results go to stdout, everything else to stderr; `--json` prints one JSON document and nothing more.
- Every failure is one line, `attar: where: what; fix`. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 budget
  missed, 130 interrupted. `ATTAR_DEBUG=1` adds the traceback of what is our own mistake.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import cyclopts

from ..errors import FAILED, USAGE, AttarError
from . import about, apps, bundles, models, roads  # noqa: F401 - importing them adds their commands
from .common import app, fail

__all__ = ["app", "main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    words = sys.argv[1:] if words is None else list(words)
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except AttarError as error:
        return fail(error.line(), error.code)
    except cyclopts.CycloptsError as error:
        return fail(" ".join(str(error).split()), USAGE)
    except KeyboardInterrupt as stop:
        return fail("; ".join(["interrupted", *map(str, stop.args)]), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has enough; no complaint at exit
        return 0
    except OSError as error:
        from ..files import os_error

        if os.environ.get("ATTAR_DEBUG"):
            traceback.print_exc()
        return fail(os_error(error).line(), FAILED)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if os.environ.get("ATTAR_DEBUG"):
            traceback.print_exc()
        hint = "repeat with ATTAR_DEBUG=1 and report what it prints"
        return fail(f"this is a bug in attar: {type(error).__name__}: {error}; {hint}", FAILED)

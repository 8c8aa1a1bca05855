"""What the commands share: the application, the kinds of their options, how they print and how they fail."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, Token, validators

from .. import __version__
from ..errors import not_installed

app = App(
    name="attar",
    help="From a BERT teacher, data and a budget to a small, measured model that runs on a phone.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` says what happened
)


def _numbers(kind: Any, tokens: Sequence[Token], *, words: tuple[str, ...] = ()) -> tuple[int, ...]:  # noqa: ARG001
    """`16,64` as numbers, each once, in their order; one of `words` is 0."""
    given = [word.strip() for token in tokens for word in token.value.split(",")]
    if not all(word in words or (word.isdecimal() and int(word) > 0) for word in given):
        known = "".join(f" or `{word}`" for word in words)
        raise ValueError(f"{','.join(given)!r} is not a list of whole numbers{known}, such as 16,64")
    return tuple(dict.fromkeys(0 if word in words else int(word) for word in given))


Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Numbers = Annotated[tuple[int, ...], Parameter(converter=_numbers, n_tokens=1, negative="", show_default=False)]
Lengths = Annotated[
    tuple[int, ...],
    Parameter(converter=partial(_numbers, words=("own",)), n_tokens=1, negative="", show_default=False),
]
Names = Annotated[list[str], Parameter(negative="", show_default=False)]
Seeds = Annotated[list[int], Parameter(negative="", show_default=False)]
Paths = Annotated[list[Path], Parameter(negative="")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Settings = Annotated[list[str], Parameter(name="--set", negative="", show_default=False)]
Out = Annotated[Path | None, Parameter(show_default=False)]


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Tell how a stopped run goes on, and which library is missing."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where this one stopped") from None
    except ModuleNotFoundError as error:  # a library that one stage needs, such as a converter
        if (error.name or "attar").split(".")[0] == "attar":
            raise
        raise not_installed(error.name or "a library") from error


def need_training_libraries() -> None:
    """Tell before anything is made that this is the light installation; nothing is imported for it."""
    for name in ("torch", "transformers", "safetensors", "onnx"):
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise not_installed(name)


def fail(line: str, code: int) -> int:
    """Say on stderr what went wrong, and which process says it where there are several; gives the exit code."""
    from ..processes import launched

    process = launched()
    who = "" if process.first else f"process {process.rank}: "
    print(f"attar: {who}{line}", file=sys.stderr)
    return code


def set_up(folder: Path, make: Callable[[Path, Callable[[str], None]], dict[str, Any]], json: bool, quiet: bool) -> int:
    """Let `make` fill the folder, say on stderr what it fetches, and print where it is."""
    found = make(folder, lambda line: None if quiet else print(line, file=sys.stderr))
    if json:
        return print_json({"folder": str(folder), **found})
    print(folder)
    return 0


def print_json(value: Any) -> int:
    """Print one JSON document; gives the exit code 0."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0

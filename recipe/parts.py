"""What the parts of a recipe share: their base, the kinds of their fields, paths and quantities."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import UsageError

T = TypeVar("T")


def _distinct(values: list[T]) -> list[T]:
    """Refuse what stands twice: a file would be made, or timed, twice under one name."""
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands twice")
    return values


Columns = Annotated[Annotated[list[str], Field(min_length=1)] | str, Field(union_mode="left_to_right")]
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Distinct = Annotated[list[T], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})]
Some = Annotated[Distinct[T], Field(min_length=1)]


class Part(BaseModel):
    """A part of a recipe: no unknown keys, no infinite numbers, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def expand(path: str) -> Path:
    """The path with `$NAME` taken from the environment."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in os.environ:
            raise UsageError(
                f"the environment variable {name} is not set",
                where=path,
                fix=f"export {name}=FOLDER, or set the path itself with --set",
            )
        return os.environ[name]

    return Path(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, path)).expanduser()


def _quantity(units: dict[str, float], example: str) -> BeforeValidator:
    """Read `12MB` or `15 ms` as a number of the smallest unit; plain numbers are already in it."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]*)\s*", value)
        if not match or match.group(2).lower() not in units:
            raise ValueError(f"{value!r} is not a quantity such as {example}")
        return float(match.group(1)) * units[match.group(2).lower()]

    return BeforeValidator(read)


SIZES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
Bytes = Annotated[float, _quantity(SIZES, "12MB"), Field(gt=0)]
Milliseconds = Annotated[float, _quantity({"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}, "15ms"), Field(gt=0)]

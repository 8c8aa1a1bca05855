"""Kinds of processors, as integer products tell them apart, and which file is meant for which.

- x86 without VNNI adds products of uint8 and int8 in pairs into 16 bits, which saturate. A file for `any-cpu` has
  weights in 7 bits and is right there, too; one for `dot-product` has all 8, which VNNI and every ARM compute exactly
  (ARM without dot products is slower, and no less right).
- The kind is read from /proc/cpuinfo; where that tells nothing it is unknown, and the file for all answers.
"""

from __future__ import annotations

import platform
from typing import Literal

from ..benchmarks import machine

Processor = Literal["x86", "x86-vnni", "arm", "arm-dotprod"]
EXACT: list[Processor] = ["x86-vnni", "arm", "arm-dotprod"]


def suited(preset: str | None) -> list[Processor]:
    """The kinds of processors that a file of a preset is meant for; empty: all."""
    return list(EXACT) if preset == "dot-product" else []


def kind_of(architecture: str, features: list[str]) -> Processor | None:
    """The kind of a processor with these features (`machine.features`); None where it is neither x86 nor ARM."""
    if architecture.lower() in ("x86_64", "amd64", "i686"):
        return "x86-vnni" if {"vnni", "amx"} & set(features) else "x86"
    if architecture.lower().startswith(("aarch64", "arm")):
        return "arm-dotprod" if "dotprod" in features else "arm"
    return None


def kind_here() -> Processor | None:
    """The kind of this machine's processor."""
    return kind_of(platform.machine(), machine.features())

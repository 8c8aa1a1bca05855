"""Layer maps: which teacher layer each student layer learns from.

- `uniform` is g(m) = round(m * N / M) for m = 1..M (TinyBERT, arXiv 1909.10351, section 4.2), so the last student layer
  learns from the last teacher layer, and 3 of 6 gives every second layer.
- `top` and `bottom` take the last and the first M layers; a list names them, counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError


def resolve(spec: str | Sequence[int], student_layers: int, teacher_layers: int) -> list[int]:
    """Teacher layer (1..N) for each student layer, rising."""
    if student_layers > teacher_layers:
        raise UsageError(
            f"the student has {student_layers} layers and its teacher {teacher_layers}", where="student.layers"
        )
    if spec == "uniform":
        return [(2 * m * teacher_layers + student_layers) // (2 * student_layers) for m in range(1, student_layers + 1)]
    if spec == "bottom":
        return list(range(1, student_layers + 1))
    if spec == "top":
        return list(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    layers = [int(number) for number in spec]
    if len(layers) != student_layers:
        raise UsageError(f"{len(layers)} layers are named for {student_layers}", where="student.layer_map")
    if layers != sorted(set(layers)) or layers[0] < 1 or layers[-1] > teacher_layers:
        raise UsageError(
            f"{layers} must rise within 1..{teacher_layers}", where="student.layer_map", fix="for example [2, 4, 6]"
        )
    return layers

"""Students that keep their teacher's width: they leave layers out, and nothing else."""

from __future__ import annotations

from .. import recipe
from ..errors import UsageError

NARROWER = {"distilbert": ", or set student.kind: tinybert"}  # the kind that may be narrower


def check(spec: recipe.Student, *, hidden_size: int, heads: int, intermediate_size: int) -> None:
    """Refuse a recipe that asks for another size than the teacher's, or for a way to narrow it."""
    if spec.start == "activations":
        raise UsageError(
            f"a {spec.kind} student is not narrowed, so there is nothing to choose by activations",
            where="student.start",
            fix=f"set student.start: teacher{NARROWER.get(spec.kind, '')}",
        )
    sizes = {"hidden_size": hidden_size, "heads": heads, "intermediate_size": intermediate_size}
    for name, given in sizes.items():
        wanted = getattr(spec, name)
        if wanted not in (None, given):
            raise UsageError(
                f"a {spec.kind} student keeps its teacher's {name} ({given}), not {wanted}",
                where=f"student.{name}",
                fix=f"leave it out{NARROWER.get(spec.kind, '')}",
            )

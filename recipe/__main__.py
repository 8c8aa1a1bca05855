"""`python -m attar.recipe`: the JSON Schema of a recipe."""

from . import schema

print(schema(), end="")

"""`python -m attar.recipe`: the JSON Schema of a recipe."""

from . import schema

if __name__ == "__main__":
    print(schema(), end="")

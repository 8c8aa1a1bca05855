"""What turns tables and sentences into HTML and Markdown: the templates' environment and its rules of escaping."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .cells import Table

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """HTML escapes by jinja's own rule, Markdown by ours."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["md"] = plain
    made.filters["breakable"] = breakable
    made.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    return made


def breakable(text: str) -> Markup:
    """A name that a narrow column may break after its dots and slashes."""
    return Markup("<wbr>").join(re.split(r"(?<=[./_])", text))


def plain(value: Any) -> str:
    """Text that Markdown shows as it is, on one line and inside a table's cell."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def grid(table: Table) -> str:
    """One table as Markdown, with its caption before it and its remarks below."""
    made: Any = environment().get_template("grid.md.j2").module
    return tidy(str(made.grid(table)))


def tidy(text: str) -> str:
    """No blanks at the ends of lines, and one empty line at most."""
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

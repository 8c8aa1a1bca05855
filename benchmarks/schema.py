"""The documented schema of run.json, written from the types and comments of `record.py`.

    python -m attar.benchmarks.schema > docs/run-json.md

- A field's meaning is the comment on its line, so the code and the page cannot say different things.
"""

from __future__ import annotations

import inspect
import re
from types import ModuleType

from pydantic import BaseModel

from . import record

FIELD = re.compile(r"^    (?P<name>\w+): (?P<type>[^=#]+?)(?: = (?P<default>[^#]+?))?(?:  # (?P<comment>.*))?$")
INTRO = """<!-- Written by `python -m attar.benchmarks.schema` from benchmarks/record.py; do not edit. -->

# run.json

The record of one run: the interface for scripts, and all that the report is made from. `format` is
`{format}`; it is raised when a field changes its meaning. Fields may be added, so a reader ignores those it
does not know. Times are in seconds unless a name ends in `_ms`; sizes are in bytes; scores are fractions, and
a *point* is 0.01 of a score. A value that was not measured is `null`, or left out of its list.

```python
from attar.benchmarks.record import load

run = load(Path("runs/NAME"))  # a run folder, or a run.json
print(run.choice, run.models[0].scores["dev"])
```

The types are those of Python; `Model` and the like are objects of the sections below.
"""


def page() -> str:
    """The page, `Run` first and then its parts in the order of the code."""
    return INTRO.format(format=record.FORMAT) + sections(record, record.Run)


def sections(module: ModuleType, first: type[BaseModel]) -> str:
    """A section for each `Entry` of a module with a `FORMAT`, the whole document first."""
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, module.Entry)]
    ordered: list[type[BaseModel]] = [first]
    ordered += [kind for kind in kinds if kind not in (first, module.Entry)]
    return "".join(_section(kind, module.FORMAT) for kind in ordered)


def _section(kind: type[BaseModel], form: str) -> str:
    rows = ["", f"## {kind.__name__}", "", inspect.getdoc(kind) or "", ""]
    rows += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    seen, stored = [], [name for name, field in kind.model_fields.items() if not field.exclude]
    for line in inspect.getsource(kind).splitlines():
        if (found := FIELD.match(line)) and found["name"] in stored:
            seen.append(found["name"])
            comment = (found["comment"] or "").removeprefix("type: ignore[assignment]").strip()
            default = f"`{_default(found['default'], form)}`" if found["default"] else "required"
            rows.append(f"| `{found['name']}` | `{_cell(found['type'])}` | {default} | {_cell(comment)} |")
    missed = [name for name in stored if name not in seen]
    if missed:
        raise ValueError(f"{kind.__name__}: write {missed} on one line each, so that the page can show them")
    return "\n".join(rows) + "\n"


def _default(text: str, form: str) -> str:
    return _cell(f'"{form}"' if text == "FORMAT" else text.replace("None", "null"))


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")

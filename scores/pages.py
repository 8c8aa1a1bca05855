"""The pages on scores: written from types and from documents, never typed.

python -m attar.scores.pages        docs/scores.md, and what docs/decoding.md shows of a measurement
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from ..benchmarks import schema
from ..benchmarks.rendering import plain
from ..errors import AttarError
from ..files import write_text
from ..recipe import Part
from ..tasks.decoding import Decoding
from . import record, sheet, tables
from .record import Scores

PAGE, DECODING, MEASURED = Path("docs/scores.md"), Path("docs/decoding.md"), Path("docs/scores/decoding.json")
INTRO = """<!-- Written by `python -m attar.scores.pages` from scores/sheet.py and scores/record.py; do not edit. -->

# Scores

`attar score MODEL SHEET.yaml` asks models, as they are, what a score sheet lists. A sheet has a `name`, a `seed` (0
where not given) and `scores`, a list of the kinds below. `attar score TEACHER recipes/x.yaml` scores a fine-tuned
checkpoint, or a student, on a recipe's dev and test rows instead. Several models stand side by side; `--limit 50` makes
a first look quick. Ready sheets: {ready}.

`--out FILE.json` keeps the document described below; plots of scores by prompt are written beside it.

# The sheet
"""
DOCUMENT = """
# The document

`format` is `{format}`; it is raised when a field changes its meaning. Fields may be added, so a reader ignores those it
does not know. Scores are fractions, times are seconds.

```python
from attar.scores.record import load

for score in load(Path("scores.json")).scores:
    print(score.name, [(result.model, result.condition, result.metrics) for result in score.results])
```
"""
MARK = "<!-- Written by `python -m attar.scores.pages` from docs/scores/decoding.json; do not edit below. -->\n"
UNMEASURED = """
No measurement is kept here yet; this command makes one:
`attar score MODEL recipes/scores/decoding.yaml --out docs/scores/decoding.json`.
"""


def page() -> str:
    """docs/scores.md: the kinds of score, then the document."""
    kinds: list[type[Part]] = [*get_args(get_args(sheet.Entry)[0]), sheet.Triples, Decoding]
    names = ", ".join(f"`recipes/scores/{name}.yaml`" for name in sheet.ready())
    form = DOCUMENT.format(format=record.FORMAT) + schema.sections(record, record.Scores)
    return INTRO.format(ready=names) + "".join(_kind(kind) for kind in kinds) + form


def decoding_page(text: str, found: Scores | None) -> str:
    """docs/decoding.md: its own words down to the mark, and behind it what was measured."""
    own, mark, _ = text.partition(MARK)
    if not mark:
        raise AttarError("the mark is gone behind which the measurement stands", where=str(DECODING), fix=MARK)
    return own + mark + (UNMEASURED if found is None else _measured(found))


def _measured(found: Scores) -> str:
    where = f"{found.machine['processor']}, {found.device}, {found.threads} threads"
    models = ", ".join(f"{model.name} ({model.family}, {model.parameters:,} parameters)" for model in found.models)
    text = f"\n{plain(models)}, on {plain(where)}.\n"
    for score, grid in zip(found.scores, tables.grids(found), strict=True):
        if score.kind == "decoding":
            settings = f"Prompts of {score.settings['prompt']} pieces, {score.settings['length']} pieces after each:"
            text += f"\n{settings}\n\n{tables.markdown(grid)}"
            text += "".join(f"\n{plain(note)}.\n" for note in grid.notes)
    return text


def _kind(kind: type[Part]) -> str:
    """A part of the sheet as a table of its keys."""
    word = next(iter(get_args(kind.model_fields["kind"].annotation)), "") if "kind" in kind.model_fields else ""
    lines = ["", f"## {f'kind: {word}' if word else kind.__name__}", "", (kind.__doc__ or "").strip(), ""]
    lines += ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, found in kind.model_fields.items():
        if name != "kind":
            default = (
                "required" if found.is_required() else f"`{_default(found.get_default(call_default_factory=True))}`"
            )
            lines.append(f"| `{name}` | {default} | {(found.description or '').replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Decoding):
        return ", ".join(one.name for one in value)
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Write both pages."""
    write_text(PAGE, page())
    found = record.load(MEASURED) if MEASURED.is_file() else None
    write_text(DECODING, decoding_page(DECODING.read_text("utf-8"), found))


if __name__ == "__main__":
    main()

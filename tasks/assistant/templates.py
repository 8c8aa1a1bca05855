"""Reading ``templates.yaml``: intents with templates, slots with values, each in three splits.

- Every mistake a writer of templates can make is a ValueError that names the intent and the
  template: an unknown slot, an empty group, a template in two splits or under two intents.
- A group is a YAML list, or a block of text with one entry per line; the file uses blocks for
  templates, where braces and question marks need no quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import yaml

Split = Literal["train", "dev", "test"]
Groups = dict[Split, list[str]]

SPLITS: tuple[Split, ...] = get_args(Split)
SLOT = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Templates:
    """The checked content of the file: name -> split -> lines."""

    slots: dict[str, Groups]
    intents: dict[str, Groups]


def parse(source: str) -> Templates:
    """Read and check the YAML text; a ValueError names the intent or slot and the line at fault."""
    try:
        raw = yaml.safe_load(source)
    except yaml.YAMLError as error:
        raise ValueError(f"the templates are not valid YAML: {error}") from error
    slots = {name: _groups(f"slot {name}", group, {}) for name, group in _section(raw, "slots")}
    # Intents share one memory: a template under two of them would have two right answers.
    seen: dict[str, str] = {}
    found = _section(raw, "intents")
    intents = {name: _groups(f"intent {name}", group, seen) for name, group in found}
    _check_slots(slots, intents)
    return Templates(slots, intents)


def _section(raw: object, name: str) -> list[tuple[str, object]]:
    section = raw.get(name) if isinstance(raw, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"the templates need a section {name!r}")
    return [(str(key), group) for key, group in section.items()]


def _groups(owner: str, raw: object, seen: dict[str, str]) -> Groups:
    """The lines of one slot or intent by split; ``seen`` maps each line to where it stands."""
    if not isinstance(raw, dict) or set(raw) != set(SPLITS):
        raise ValueError(f"{owner}: needs the groups {', '.join(SPLITS)} and no others")
    groups: Groups = {}
    for split in SPLITS:
        group = raw[split].splitlines() if isinstance(raw[split], str) else raw[split]
        if not isinstance(group, list) or not group:
            raise ValueError(f"{owner}: the group {split} is empty")
        for line in group:
            if not isinstance(line, str) or not line.strip():
                raise ValueError(f"{owner}: {line!r} in {split} is not text; put it in quotes")
            key = line.casefold()
            if key in seen:
                raise ValueError(f"{owner}: {line!r} in {split} is already in {seen[key]}")
            seen[key] = f"{split} of {owner}"
        groups[split] = group
    return groups


def _check_slots(slots: dict[str, Groups], intents: dict[str, Groups]) -> None:
    """Every slot that a template names is listed, and every slot listed is named by a template."""
    unused = set(slots)
    for intent, groups in intents.items():
        for template in (line for group in groups.values() for line in group):
            for slot in SLOT.findall(template):
                if slot not in slots:
                    raise ValueError(f"intent {intent}: unknown slot {slot!r} in {template!r}")
                unused.discard(slot)
    if unused:
        raise ValueError(f"no template uses the slot {', '.join(sorted(unused))}")

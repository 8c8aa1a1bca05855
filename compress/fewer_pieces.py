"""`tokenizer.json` with fewer pieces: a text whose pieces are all kept is encoded as before, with the new numbers.

- The file is rewritten as data, so that what it says beside the vocabulary (normalizer, templates, decoder) stays.
- WordPiece takes the longest piece at each place, and Unigram the likeliest path: what was the best of all pieces is
  the best of those that are kept, wherever it is among them.
- BPE reaches a piece by merges, in the order of their ranks. With a piece all pieces that it is merged from are kept,
  so every merge on the way is still there, and the one of the lowest rank among all is the lowest among those left.
- What every text may need is kept: special pieces, the unknown piece, bytes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from typing import Any

from ..errors import AttarError

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
Document = dict[str, Any]


def pieces(document: Document) -> list[str]:
    """The pieces of a tokenizer's vocabulary, by number; a number that no piece has is an empty string."""
    vocabulary = document["model"].get("vocab")
    if isinstance(vocabulary, list):  # Unigram: [piece, score] in the order of their numbers
        numbered = {number: piece for number, (piece, _) in enumerate(vocabulary)}
    elif isinstance(vocabulary, dict):
        numbered = {number: piece for piece, number in vocabulary.items()}
    else:
        kind = document["model"].get("type")
        raise AttarError(f"a vocabulary of the kind {kind} cannot be trimmed", where="tokenizer.json")
    numbered |= {added["id"]: added["content"] for added in document.get("added_tokens") or []}
    return [numbered.get(number, "") for number in range(max(numbered) + 1)]


def needed(document: Document) -> set[int]:
    """The numbers of the pieces that no text can do without."""
    model, names = document["model"], pieces(document)
    kept = {added["id"] for added in document.get("added_tokens") or []}
    kept |= {number for number, name in enumerate(names) if BYTE.fullmatch(name)}
    if isinstance(model.get("unk_id"), int):
        kept.add(model["unk_id"])
    if model.get("unk_token") in names:
        kept.add(names.index(model["unk_token"]))
    if _byte_level(document):
        kept |= {number for number, name in enumerate(names) if len(name) == 1}
    return kept


def closed(document: Document, wanted: Collection[int]) -> set[int]:
    """These pieces, and for BPE those that they are merged from."""
    found = set(wanted)
    if document["model"].get("type") != "BPE":
        return found
    number = document["model"]["vocab"]
    parts: dict[int, list[int]] = {}
    for left, right in _merges(document):
        if left + right in number:
            parts.setdefault(number[left + right], []).extend((number[left], number[right]))
    todo = list(found)
    while todo:
        new = [part for part in parts.get(todo.pop(), []) if part not in found]
        found.update(new)
        todo.extend(new)
    return found


def rewrite(document: Document, kept: Collection[int]) -> tuple[Document, list[int]]:
    """The tokenizer with only these pieces, numbered anew in their old order, and the old number of each.

    What `needed` and `closed` name is kept with them.
    """
    names = pieces(document)
    order = sorted(closed(document, {*kept, *needed(document)}))
    new = {old: number for number, old in enumerate(order)}
    made = copy.deepcopy(document)
    model = made["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [model["vocab"][old] for old in order if old < len(model["vocab"])]
        if isinstance(model.get("unk_id"), int):
            model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
    if model.get("type") == "BPE":
        here = {names[old] for old in order}
        chosen = [pair for pair in _merges(document) if {*pair, "".join(pair)} <= here]
        spaced = any(isinstance(merge, str) for merge in document["model"]["merges"])
        model["merges"] = [" ".join(pair) if spaced else list(pair) for pair in chosen]
    for added in made.get("added_tokens") or []:
        added["id"] = new[added["id"]]
    if made.get("padding"):
        made["padding"]["pad_id"] = new[made["padding"]["pad_id"]]
    _renumber(made.get("post_processor"), new)
    return made, order


def _merges(document: Document) -> list[tuple[str, str]]:
    """The pairs, which older files write as one string."""
    found = (merge.split(" ") if isinstance(merge, str) else merge for merge in document["model"]["merges"])
    return [(left, right) for left, right in found]


def _byte_level(document: Document) -> bool:
    """Whether texts are read byte by byte, each byte a character."""
    steps = [document.get("pre_tokenizer") or {}]
    while steps:
        step = steps.pop()
        if step.get("type") == "ByteLevel":
            return True
        steps.extend(step.get("pretokenizers", []))
    return False


def _renumber(step: Any, new: dict[int, int]) -> None:
    """The numbers of special pieces in the templates that put them around a text."""
    if not step:
        return
    for inner in step.get("processors", []):
        _renumber(inner, new)
    for special in (step.get("special_tokens") or {}).values():
        special["ids"] = [new[old] for old in special["ids"]]
    for name in ("cls", "sep"):  # [piece, number] in BertProcessing and RobertaProcessing
        if isinstance(step.get(name), list):
            step[name] = [step[name][0], new[step[name][1]]]

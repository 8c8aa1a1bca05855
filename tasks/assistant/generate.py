"""Phone-assistant sentences, made from the templates and slot values in ``templates.yaml``.

- The same sentences on every machine: each intent and split has its own ``random.Random``, seeded
  with their names. Python turns a text seed into a number with SHA-512, never with ``hash()``,
  which differs from process to process.
- Nothing leaks: templates and slot values belong to one split, and no two sentences of the whole
  corpus differ only in case or punctuation. A score is about new wording, not about memory.
- Balanced: every intent has the same number of sentences, and its templates take turns, so one with
  a thousand fillings does not crowd out the others.
- Noisy as phones are: mostly what a speech recogniser gives (lower case, no punctuation), sometimes
  typed text, with a few lost apostrophes and slips of the finger, at the same rates in every split.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

from .templates import SLOT, SPLITS, Groups, Split, Templates, parse

PER_INTENT: dict[Split, int] = {"train": 100, "dev": 19, "test": 19}
PATIENCE = 50  # turns per wanted sentence before an intent counts as too small

# The share of sentences that ...
KEEP_CAPITALS = 0.15  # ... are cased as in a letter,
KEEP_MARKS = 0.15  # ... carry their commas, question mark or full stop,
LOSE_APOSTROPHES = 0.2  # ... say "dont",
SWAP_LETTERS = 0.03  # ... have a "remidner".

MARKS = re.compile(r"[,.?!]+(?=\s|$)")  # not the point in "4.5" nor the colon in "6:45"


@cache
def load() -> Templates:
    """The templates that ship with the package."""
    path = Path(__file__).with_name("templates.yaml")
    return parse(path.read_text(encoding="utf-8"))


def labels() -> list[str]:
    """The intents in the order of the file: a label's place is its class index."""
    return list(load().intents)


def examples(split: Split) -> list[tuple[str, str]]:
    """All (label, text) pairs of a split, shuffled once and for all: any slice is a fair sample."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return list(_corpus()[split])  # a copy, so that a caller who sorts it leaves the cache alone


@cache
def _corpus() -> dict[Split, list[tuple[str, str]]]:
    return generate(load())


def generate(templates: Templates) -> dict[Split, list[tuple[str, str]]]:
    """Every split, training first: a sentence that two could make stays out of the later one."""
    seen: set[str] = set()
    corpus: dict[Split, list[tuple[str, str]]] = {}
    for split in SPLITS:
        pairs = [(intent, text) for intent in templates.intents for text in _sentences(templates, intent, split, seen)]
        random.Random(split).shuffle(pairs)
        corpus[split] = pairs
    return corpus


def _sentences(templates: Templates, intent: str, split: Split, seen: set[str]) -> list[str]:
    """The sentences of one intent in one split, none of which is in ``seen``; adds them to it."""
    rng = random.Random(f"{split}/{intent}")
    group, wanted = templates.intents[intent][split], PER_INTENT[split]
    found: list[str] = []
    for turn in range(PATIENCE * wanted):
        sentence = _fill(group[turn % len(group)], templates.slots, split, rng)
        key = re.sub(r"[^\w\s]", "", sentence.casefold())
        if key not in seen:
            seen.add(key)
            found.append(_surface(sentence, rng))
        if len(found) == wanted:
            return found
    raise ValueError(
        f"intent {intent}: only {len(found)} different {split} sentences of {wanted}; "
        f"add templates, or slots to {group[0]!r}"
    )


def _fill(template: str, slots: dict[str, Groups], split: Split, rng: random.Random) -> str:
    """Draw a value for each slot; a slot named twice gets two ("from {city} to {city}")."""
    pools: dict[str, list[str]] = {}

    def draw(slot: re.Match[str]) -> str:
        values = slots[slot[1]][split]
        return pools.setdefault(slot[1], rng.sample(values, len(values))).pop()

    return SLOT.sub(draw, template)


def _surface(sentence: str, rng: random.Random) -> str:
    """One way in which the sentence may reach the phone, at the rates above."""
    capitals, marks, apostrophes, letters = (rng.random() for _ in range(4))
    text = MARKS.sub("", sentence)
    if marks < KEEP_MARKS:
        text = sentence if sentence.endswith("?") else sentence + "."
    text = text[0].upper() + text[1:] if capitals < KEEP_CAPITALS else text.lower()
    if apostrophes < LOSE_APOSTROPHES:
        text = text.replace("'", "")
    return _swap_letters(text, rng) if letters < SWAP_LETTERS else text


def _swap_letters(text: str, rng: random.Random) -> str:
    """Exchange two letters inside one longer word, if there is one; its first and last stay."""
    words = list(re.finditer(r"[a-z]{6,}", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 2)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

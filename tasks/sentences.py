"""Sentences: one stated rule, the same for every corpus, that loses no character.

- A sentence ends with `.`, `!`, `?` or `…` (and what closes quotes and brackets behind it) where a space follows and
  the next word does not begin with a small letter; and with `。`, `！` or `？`, space or not.
- A full stop ends nothing behind a title (`Dr.`), a common abbreviation (`e.g.`), one capital letter (`J. Smith`), or
  the number or letter that opens a list item (`1. First`).
- What is longer than LONGEST_SENTENCE characters (a table, prose without full stops) is cut at a space.
- The space before a sentence stays with it, so that the sentences joined are the passage again, and byte-level pieces
  of the sentences are those of the passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST_SENTENCE = 1000
END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?= )|[。！？]+[」』”’）\"']*")
ABBREVIATIONS = re.compile(
    "mr|mrs|ms|dr|prof|st|gen|col|capt|lt|sgt|rev|hon|jr|sr|vs|e[.]g|i[.]e|cf|figs?|no|vol|pp|eds?|al", re.IGNORECASE
)
OPENING = "\"'“‘«(["
LIST_MARK = re.compile(r" ?\(?(\d{1,3}|[A-Za-z])$")


def sentences(passage: str) -> list[str]:
    """The sentences of a passage with single spaces; joined by nothing they are the passage."""
    found, start = [], 0
    for match in END.finditer(passage):
        place = match.end()
        if place < len(passage) and _ends(passage, start, match.start(), place):
            found.append(passage[start:place])
            start = place
    found.append(passage[start:])
    return [part for sentence in found for part in cut(sentence, LONGEST_SENTENCE)]


def _ends(passage: str, start: int, mark: int, place: int) -> bool:
    """Whether the sentence from `start` ends at `place`, its mark standing at `mark`."""
    if passage[place] == " " and passage[place + 1 : place + 2].islower():
        return False
    if passage[mark:place] != ".":
        return True
    word = passage[max(start, passage.rfind(" ", start, mark) + 1) : mark].lstrip(OPENING)
    initial = len(word) == 1 and word.isupper()
    return not (initial or ABBREVIATIONS.fullmatch(word) or LIST_MARK.fullmatch(passage, start, mark))


def cut(text: str, longest: int) -> Iterator[str]:
    """Parts of at most `longest` characters, each but the first beginning with its space; joined they are the text.

    A stretch without a space is not cut, however long it is.
    """
    start = 0
    while len(text) - start > longest:
        place = text.rfind(" ", start + 1, start + longest + 1)
        place = place if place >= 0 else text.find(" ", start + longest + 1)
        if place < 0:
            break
        yield text[start:place]
        start = place
    yield text[start:]

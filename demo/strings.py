"""Texts that tokenizers find hard, and whether the page reads and answers them as Python does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..export.answers import Asked
from ..export.predict import Predictor
from . import browser
from .shown import Strings

HARD = (
    "", " ", "\n\t", "a", "naïve café", "cafe\u0301", "ΟΔΥΣΣΕΥΣ", "İstanbul ı", "straße",
    "日本語 テキスト", "漢字かな交じり文", "한국어 문장입니다", "각각 ㄱㄴㄷ",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈", "مرحبا بالعالم", "שָׁלוֹם", "हिन्दी", "ไทย",
    "[CLS] a [SEP] b", "a\u200bb\u00adc", "\ufeffturn on", "x" * 101, "lights " * 400, "𠀀𪜀 𝔘𝔫𝔦",
    "\u0000a\ufffdb", "1,000.50€ — “ok”…", "\u202eabc\u202c", "e\u0301\u0323",
)  # fmt: skip
RANGES = (
    (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x590, 0x6FF), (0x900, 0x97F), (0x1100, 0x11FF),
    (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF),
    (0x61, 0x7A), (0x61, 0x7A), (0x1, 0xD7FF), (0xE000, 0x10FFFF),
)  # fmt: skip
# Pieces, segments and logits of each text.
READ = """
const found = [];
for (const text of words) {
  const { features: [one], logits: [values] } = await engine.call("logits", { asked: { text } });
  found.push([one.input_ids, one.token_type_ids, values]);
}
return found;
"""


def hard(count: int, sentences: Sequence[str]) -> list[str]:
    """So many texts, the same ones each time: those above, then characters of all scripts among words of sentences."""
    draw = random.Random(7)
    known = [word for sentence in sentences for word in sentence.split()]

    def one() -> str:
        parts = [chr(draw.randint(*draw.choice(RANGES))) for _ in range(draw.randint(0, 40))]
        parts += draw.choices([*known, " ", "  "], k=draw.randint(0, 12))
        draw.shuffle(parts)
        return "".join(parts)

    return [*HARD, *(one() for _ in range(count - len(HARD)))][:count]


def compared(page: Any, bundle: Path, file: str, texts: Sequence[str]) -> Strings:
    """The texts in the page and in Python, by the same file of a model that reads one text."""
    model = Predictor(bundle, file)
    found = browser.run(page, browser.ENGINE + READ, list(texts))
    tolerance = model.artefact.golden_tolerance
    pieces, near, alike, error, differing = 0, 0, 0, 0.0, list[str]()
    for text, (ids, types, values) in zip(texts, found, strict=True):
        (features,) = model.form.pose(Asked(text), model.encoder).features
        wanted = model.logits(features).ravel()
        right = ids == features.input_ids and types == features.token_type_ids
        distance = float(np.abs(np.array(values, np.float32) - wanted).max()) if right else float("inf")
        pieces += right
        near += distance <= tolerance
        alike += right and int(np.argmax(values)) == int(np.argmax(wanted))
        error = max(error, distance if right else 0.0)
        if distance > tolerance:
            differing.append(text[:80])
    return Strings(
        texts=len(texts), pieces=pieces, logits=near, answers=alike, error=error, tolerance=tolerance,
        differing=differing[:10],
    )  # fmt: skip

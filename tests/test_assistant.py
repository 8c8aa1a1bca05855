"""The embedded task: its size, its splits that share nothing, the mistakes its reader catches."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from attar.tasks.assistant import examples, labels
from attar.tasks.assistant.generate import PER_INTENT, generate, load
from attar.tasks.assistant.templates import SLOT, SPLITS, Groups, Split, parse

SIZES: dict[Split, int] = {"train": 3200, "dev": 608, "test": 608}

DIGEST = """
import hashlib
from attar.tasks.assistant import examples
corpus = [examples(split) for split in ("train", "dev", "test")]
print(hashlib.sha256(repr(corpus).encode()).hexdigest())
"""

GOOD = """
slots:
  time: {train: [seven, eight], dev: [noon], test: [six]}
intents:
  set_alarm:
    train: |
      wake me at {time}
      up at {time}
    dev: ["alarm, {time}"]
    test: ["{time} please"]
  other: {train: [hello], dev: [thanks], test: [good night]}
"""


def everything() -> list[tuple[Split, str, str]]:
    return [(split, label, text) for split in SPLITS for label, text in examples(split)]


def templates() -> list[str]:
    return [t for groups in load().intents.values() for group in groups.values() for t in group]


def digest() -> str:
    return hashlib.sha256(repr([examples(split) for split in SPLITS]).encode()).hexdigest()


# --- size and balance -----------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_has_its_size_and_is_balanced(split: Split) -> None:
    assert len(examples(split)) == SIZES[split]
    counts = Counter(label for label, _ in examples(split))
    assert counts == dict.fromkeys(labels(), PER_INTENT[split])


def test_there_are_many_intents_each_with_many_templates() -> None:
    assert len(labels()) >= 24
    assert "other" in labels()
    for intent, groups in load().intents.items():
        assert sum(map(len, groups.values())) >= 40, intent
        assert min(map(len, groups.values())) >= 7, intent


def test_every_slot_has_twenty_values_or_more() -> None:
    for slot, groups in load().slots.items():
        assert sum(map(len, groups.values())) >= 20, slot


def test_no_key_of_the_file_is_written_twice() -> None:
    # YAML keeps the last of two equal keys and says nothing: the first would be lost.
    path = Path(sys.modules["attar.tasks.assistant"].__path__[0]) / "templates.yaml"
    keys = re.findall(r"(?m)^  (\w+):", path.read_text(encoding="utf-8"))
    assert len(keys) == len(set(keys)) == len(load().slots) + len(load().intents)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'validation'.*train, dev, test"):
        examples("validation")  # type: ignore[arg-type]


# --- nothing leaks --------------------------------------------------------------------------------


def plain(text: str) -> str:
    return re.sub(r"[^\w\s]", "", text.casefold())


def overlaps(groups: Groups) -> set[str]:
    train, dev, test = ({plain(line) for line in groups[split]} for split in SPLITS)
    return (train & dev) | (train & test) | (dev & test)


def test_templates_and_slot_values_belong_to_one_split() -> None:
    for name, groups in [*load().intents.items(), *load().slots.items()]:
        assert not overlaps(groups), name


def test_every_text_is_unique_whatever_its_case_and_punctuation() -> None:
    texts = [plain(text) for _, _, text in everything()]
    assert [text for text, times in Counter(texts).items() if times > 1] == []


def test_dev_and_test_ask_about_things_that_training_never_saw() -> None:
    train = " | ".join(plain(text) for _, text in examples("train"))
    for slot in ("contact", "city", "dish", "artist"):
        for split in ("dev", "test"):
            for value in load().slots[slot][split]:
                assert not re.search(rf"\b{re.escape(plain(value))}\b", train), value


# --- the surface ----------------------------------------------------------------------------------


def test_every_slot_is_filled_and_every_sentence_is_tidy() -> None:
    for _, _, text in everything():
        assert not set(text) & set("{}\n"), text
        assert text == " ".join(text.split()), text


def test_every_slot_used_exists_and_every_slot_listed_is_used() -> None:
    used = {slot for line in templates() for slot in SLOT.findall(line)}
    assert used == set(load().slots)


@pytest.mark.parametrize("split", SPLITS)
def test_most_sentences_look_spoken_and_a_few_look_typed(split: Split) -> None:
    texts = [text for _, text in examples(split)]
    lower = sum(text == text.lower() for text in texts) / len(texts)
    bare = sum(text[-1] not in ".?" for text in texts) / len(texts)
    assert 0.8 < lower < 0.92
    assert 0.8 < bare < 0.92


def test_noise_is_there_and_light() -> None:
    texts = [text for _, _, text in everything()]
    lost = sum(bool(re.search(r"\b([Ii]m|dont|whats|cant)\b", text)) for text in texts)
    kept = sum(bool(re.search(r"\b([Ii]'m|don't|what's|can't)\b", text.lower())) for text in texts)
    assert 0.1 < lost / (lost + kept) < 0.3


def test_templates_take_turns() -> None:
    # "music please" has one filling, "play {song} by {artist}" hundreds: neither may be lost.
    texts = {plain(text) for _, _, text in everything()}
    fixed = [line for line in templates() if not SLOT.search(line)]
    present = sum(plain(line) in texts for line in fixed) / len(fixed)
    assert present > 0.9  # the others have two letters swapped


# --- the same on every machine --------------------------------------------------------------------


def test_the_same_examples_twice() -> None:
    first = examples("dev")
    first.clear()
    assert len(examples("dev")) == SIZES["dev"], "a caller must not reach into the cache"
    assert generate(load())["dev"] == examples("dev")


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_the_same_examples_in_another_process(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    fresh = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == digest()


def test_the_corpus_is_pinned() -> None:
    # Scores are published for these very sentences: when this changes, they must be measured again.
    assert digest()[:16] == "be3d2395edf8da42"


# --- mistakes in the file -------------------------------------------------------------------------


def test_a_good_file_is_read_from_blocks_and_lists_alike() -> None:
    read = parse(GOOD)
    assert read.intents["set_alarm"]["train"] == ["wake me at {time}", "up at {time}"]
    assert read.intents["other"]["dev"] == ["thanks"]
    assert read.slots["time"]["test"] == ["six"]


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("up at {time}", "up at {hour}", r"intent set_alarm: unknown slot 'hour' in 'up at"),
        ("up at {time}", "up at {}", r"intent set_alarm: unknown slot '' in 'up at {}'"),
        ("dev: [thanks]", "dev: []", r"intent other: the group dev is empty"),
        ("dev: [thanks]", "dev: ", r"intent other: the group dev is empty"),
        ("dev: [thanks]", "dev: 7", r"intent other: the group dev is empty"),
        ("dev: [thanks], ", "", r"intent other: needs the groups train, dev, test"),
        ("dev: [thanks]", "dev: [Hello]", r"intent other: 'Hello' in dev is already in train of"),
        ("dev: [thanks]", "dev: ['{time} please']", r"please'.* in test of intent set_alarm"),
        ("dev: [thanks]", "dev: [off]", r"intent other: False in dev is not text; put it"),
        ("dev: [noon]", "dev: [seven]", r"slot time: 'seven' in dev is already in train of"),
        ("dev: [noon]", "dev: [5:50]", r"slot time: 350 in dev is not text; put it in quotes"),
        ("test: [six]}", "test: [six]}\n  day: {train: [a], dev: [b], test: [c]}", r"the slot day"),
        ("intents:", "intentions:", r"need a section 'intents'"),
        ("slots:", "slots: [", r"not valid YAML"),
    ],
)
def test_a_mistake_is_named(before: str, after: str, complaint: str) -> None:
    assert before in GOOD
    with pytest.raises(ValueError, match=complaint):
        parse(GOOD.replace(before, after, 1))


def test_a_file_that_is_only_text_is_refused() -> None:
    with pytest.raises(ValueError, match="need a section 'slots'"):
        parse("wake me up")


def test_too_few_templates_are_named_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"set_alarm: only 4 different train .* add templates"):
        generate(parse(GOOD))

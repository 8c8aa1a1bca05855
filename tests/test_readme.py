"""The README's commands are those that exist, and its recipe is one."""

import re
import shlex
from pathlib import Path

import yaml
from attar import recipe_file
from attar.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.S)


def test_every_command_parses() -> None:
    commands = [line for block in blocks("") for line in block.splitlines() if line.startswith("attar ")]
    assert len(commands) >= 6
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        command, bound, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
        assert command is not None
        assert bound is not None
        assert not ignored, line


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {line.split()[1] for block in blocks("") for line in block.splitlines() if line.startswith("make ")}
    assert named
    assert named <= targets


def test_the_recipe_in_it_is_whole() -> None:
    (text,) = blocks("yaml")
    found = recipe_file.parse(yaml.safe_load(text), text=text)
    assert found.student.hidden_size == 312


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"

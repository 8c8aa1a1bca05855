"""`attar doctor` says what is true of this machine, and what is missing with the command that adds it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from attar.benchmarks import doctor, machine
from attar.benchmarks.doctor import Diagnosis, Item
from packaging.requirements import Requirement


def test_what_is_installed_here() -> None:
    found = doctor.examine()
    core = {item.name: item for item in found.items if not item.group}
    assert {"numpy", "onnxruntime", "ai-edge-litert", "tokenizers"} <= set(core)
    for name, item in core.items():
        assert item.version == metadata.version(name) and not item.problem
    assert found.whole
    assert {item.group for item in found.items} == {"", *machine.EXTRAS} & {i.group for i in found.items}
    assert "torch" in {item.name for item in found.items if item.group == "compress"}


def test_requirements_are_read_from_the_package_and_without_tools_for_developers() -> None:
    names = {asked.name for group in machine.requirements().values() for asked in group}
    assert "pytest" not in names and "torch" in names


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ("numpy>=1", ""),
        ("numpy>=99", "attar needs >=99"),
        ("no-such-distribution-of-attar", "not installed"),
    ],
)
def test_one_library(asked: str, problem: str) -> None:
    item = doctor._item("compress", Requirement(asked))
    assert item.problem == problem


def test_an_installed_runtime_that_cannot_be_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('compiled for another numpy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    problem = doctor._broken("onnxruntime")
    assert problem.startswith("import fails") and "compiled for another numpy" in problem


def test_what_is_missing_comes_with_a_command() -> None:
    items = [
        Item("", "numpy", ">=1.26", "1.26.4"),
        Item("compress", "torch", ">=2.9", None, "not installed"),
        Item("compress", "onnx", ">=1.18", None, "not installed"),
    ]
    found = Diagnosis(items, {}, {})
    assert found.whole  # what compresses is not needed to run
    assert found.commands() == [doctor.install("compress")] and "[compress]" in found.commands()[0]
    broken = Diagnosis([Item("", "numpy", ">=1.26", None, "not installed")], {}, {})
    assert not broken.whole and not Diagnosis([], {}, {}).whole


def test_an_exit_code_for_scripts(tmp_path: Path) -> None:
    """A light core with a broken runtime: exit code 1, and the report is still whole."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken wheel')")
    done = subprocess.run(
        [sys.executable, "-m", "attar.cli", "doctor"],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "160", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "broken wheel" in done.stdout and "not whole" in done.stdout
    assert "Traceback" not in done.stderr

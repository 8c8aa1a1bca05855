"""The light core works where nothing heavy is installed.

A `sitecustomize` that refuses the heavy libraries is given to the interpreter; child processes obey it too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # mypy and import-linter need it there

ROOT = Path(__file__).parents[1]
HEAVY = [
    "torch",
    "transformers",
    "onnx",
    "onnxscript",
    "safetensors",
    "sklearn",
    "scipy",
    "datasets",
    "litert_torch",
]
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture()
def light(tmp_path: Path) -> dict[str, str]:
    """An environment without heavy libraries."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "COLUMNS": "120"}


def python(light: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], env=light, capture_output=True, text=True, check=False)


def test_the_blocker_blocks(light: dict[str, str]) -> None:
    for name in HEAVY:
        done = python(light, "-c", f"import {name}")
        assert done.returncode != 0 and "(blocked)" in done.stderr


def light_modules() -> list[str]:
    """Every module that the import contract calls light; of a package all that lies in it, so none is forgotten.

    The contract names the scripts that a peer's own interpreter runs.
    """
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one["name"] == "the light core needs no torch"]
    files: list[Path] = []
    for name in contract["source_modules"]:
        place = ROOT.joinpath(*name.split(".")[1:])
        files += place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    names = [".".join(["attar", *file.relative_to(ROOT).with_suffix("").parts]) for file in sorted(files)]
    scripts = {line.partition(" -> ")[0] for line in contract["ignore_imports"]}
    return [name.removesuffix(".__init__") for name in names if name not in scripts]


def test_modules_import(light: dict[str, str]) -> None:
    """Each by itself: what an earlier one had imported of attar is forgotten before the next."""
    modules = light_modules()
    assert {"attar.tasks.squad", "attar.tasks.assistant", "attar.export.runtimes.ort", "attar.cli"} < set(modules)
    code = f"""
import importlib, sys, traceback
for name in {modules}:
    for loaded in [module for module in sys.modules if module.split(".")[0] == "attar"]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ImportError:
        print(name, traceback.format_exc())
"""
    done = python(light, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_help_is_quick_because_it_imports_little(light: dict[str, str]) -> None:
    """`attar --help` must not wait for numpy or a runtime, not even where they are installed."""
    code = "import sys; from attar.cli import main; main(['--help']); sys.stderr.write(str(list(sys.modules)))"
    done = python(light, "-c", code)
    loaded = done.stderr
    assert "predict" in done.stdout
    for name in ("numpy", "onnxruntime", "ai_edge_litert", "tokenizers", "matplotlib", "jinja2"):
        assert f"'{name}'" not in loaded, name


def test_commands_run(light: dict[str, str], bundle_folder: Path, onnx_file: Path) -> None:
    done = python(light, "-m", "attar.cli", "predict", str(bundle_folder), "play some music", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["probabilities"]) == {"lights", "music", "weather"}
    done = python(light, "-m", "attar.cli", "verify", str(bundle_folder))
    assert done.returncode == 0, done.stdout + done.stderr
    done = python(
        light, "-m", "attar.cli", "bench", str(bundle_folder), "--quick", "--queries", "3", "--length", "8", "--json"
    )
    assert done.returncode == 0 and json.loads(done.stdout)["models"][0]["latencies"], done.stderr
    for model in (onnx_file, bundle_folder):
        done = python(light, "-m", "attar.cli", "inspect", str(model))
        assert done.returncode == 0 and "embeddings" in done.stdout, done.stderr


def test_a_teacher_folder_is_inspected(light: dict[str, str], teacher: Path) -> None:
    done = python(light, "-m", "attar.cli", "inspect", str(teacher))
    assert done.returncode == 0 and "attention" in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["compress", "teach", "distil", "export", "glue", "score"])
def test_training_says_what_to_install_and_makes_nothing(light: dict[str, str], tmp_path: Path, command: str) -> None:
    words = [command, *(["assistant"] if command != "glue" else [])]
    done = python(light, "-m", "attar.cli", *words, "--out", str(tmp_path / "runs" / "one"))
    assert done.returncode == 1
    assert done.stderr == 'attar: torch is not installed; pip install "attar[compress]"\n'
    assert not (tmp_path / "runs").exists()

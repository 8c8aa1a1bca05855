"""The wheel holds every package and what they read, and works from where it is installed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that nothing is left in the tree and nothing untracked helps."""
    space = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (space / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (space / "copy" / name).write_bytes((ROOT / name).read_bytes())
    words = ["wheel", ".", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(space)]
    subprocess.run([sys.executable, "-m", "pip", *words], cwd=space / "copy", check=True)
    (path,) = space.glob("attar-*.whl")
    return path


def test_every_package_is_in_it_and_tests_are_not(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = [p.parent.relative_to(ROOT) for p in ROOT.rglob("__init__.py")]
    packages = [p for p in packages if not {".venv", ".peers", ".build", "build"} & set(p.parts)]
    assert len(packages) > 8
    for package in packages:
        for module in (ROOT / package).glob("*.py"):
            assert f"attar/{(package / module.name).as_posix()}" in names, package
    assert not [name for name in names if "tests" in name.split("/")]
    for data in (
        "recipes/assistant.yaml",
        "recipes/schema.json",
        "benchmarks/published.json",
        "recipes/scores/language.yaml",
        "tasks/assistant/templates.yaml",
        "demo/web/index.html",
        "demo/android/AndroidManifest.xml",
        "demo/android/SiteActivity.java",
        "demo/web/screens/write.js",
        "py.typed",
    ):
        assert f"attar/{data}" in names
    for template in (ROOT / "benchmarks" / "templates").iterdir():
        assert f"attar/benchmarks/templates/{template.name}" in names


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    words = ["install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    code = (
        "import attar.cli, attar.recipe_file, attar.tasks.assistant as task\nfrom pathlib import Path\n"
        "print(attar.cli.__file__)\nassert attar.recipe_file.load(Path('assistant')).name == 'assistant'\n"
        "assert len(task.labels()) >= 20\nassert attar.cli.main(['recipes']) == 0"
    )
    # -S leaves out the editable installation of the tree; its libraries come back by path.
    site = Path(subprocess.__file__).parent
    libraries = next(p for p in sys.path if p.endswith("site-packages"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), libraries, str(site)])}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "site" / "attar" / "cli" / "__init__.py")
    assert "attar compress recipes/sst2.yaml" in done.stdout

"""Files: whole or not there, and what the system refuses is one clear line."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attar import files, recipe, recipe_file
from attar.cli import main
from attar.errors import AttarError
from attar.tasks import table

RECIPE = "name: small\ntask: {builtin: assistant, max_length: 32}\n"


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root may do everything, so here root is nobody for a while."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.fixture()
def private() -> Iterator[Path]:
    """A file below a folder; neither may be read or written by `nobody`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "file.tsv").write_text("label\ttext\n1\tx\n")
    (folder / "file.tsv").chmod(0)
    if os.geteuid() != 0:
        folder.chmod(0o555)
    yield folder / "file.tsv"
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_what_may_not_be_read_or_written(private: Path) -> None:
    task = recipe.Task.model_validate({"train": {"path": str(private)}})
    with nobody():
        for read in (
            lambda: recipe_file.load(private),
            lambda: table.read(task.files("train")[0], task),
            lambda: files.read_json(private),
        ):
            with pytest.raises(AttarError, match=r"file\.tsv: no permission to read this"):
                read()
        with pytest.raises(AttarError, match="no permission to write here; choose --out"):
            files.write_text(private.parent / "new.txt", "x")
        with pytest.raises(AttarError, match="no permission to write here"), files.locked(private.parent / "run"):
            pass


@pytest.mark.parametrize("below", ["", "run", "run/deeper"])
def test_a_run_folder_that_is_a_file(tmp_path: Path, below: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "recipe.yaml", tmp_path / "file"
    path.write_text(RECIPE)
    out.write_text("mine")
    assert main(["compress", str(path), "--out", str(out / below), "--quiet"]) == 1
    line = capsys.readouterr().err
    assert line == f"attar: {out / below}: a file stands where a folder is needed; choose --out\n"
    assert out.read_text() == "mine"


def test_a_folder_as_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "."]) == 1
    assert capsys.readouterr().err == "attar: .: is a directory\n"


def test_a_folder_where_a_file_should_be_written(tmp_path: Path) -> None:
    (tmp_path / "report.html" / "x").mkdir(parents=True)
    with pytest.raises(AttarError, match=r"report\.html: is a directory"):
        files.write_text(tmp_path / "report.html", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system here")
def test_a_copy_that_the_system_stops_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """From another file system, so that no link can be made, and where no file may grow above 1000 bytes."""
    code = (
        f"import resource\nfrom pathlib import Path\nfrom attar import files\nhome = Path({str(tmp_path)!r})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: files.copy_folder(home / 'source', home / 'target')\n"
        "except files.AttarError as error: print(error.line())"
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (Path(other) / "weights").write_bytes(bytes(5000))
        (tmp_path / "source").symlink_to(other)
        if tmp_path.stat().st_dev == Path(other).stat().st_dev:
            pytest.skip("no second file system here")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{tmp_path / 'target'}: "), done.stdout + done.stderr
    assert "File too large" in done.stdout and done.stdout.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_copy_on_a_full_disk(tmp_path: Path) -> None:
    """A real full disk: a small tmpfs of our own."""
    source, disk = tmp_path / "source", tmp_path / "disk"
    source.mkdir()
    disk.mkdir()
    (source / "weights").write_bytes(bytes(100_000))
    code = (
        f"from pathlib import Path; from attar import files\ntry: files.copy_folder(Path({str(source)!r}), "
        f"Path({str(disk)!r}) / 'run')\nexcept files.AttarError as error: print(error.line())"
    )
    script = 'mount -t tmpfs -o size=20k none "$1" && "$2" -c "$3"; ls -A "$1"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no tmpfs of our own here: {done.stderr.strip()}")
    assert done.stdout == f"{disk}/run: the disk is full; free some space and repeat\n", done.stderr


def test_words_of_the_system_without_a_number() -> None:
    """As `shutil` and the libraries give them."""
    full = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])
    assert files.os_error(full, "x").line().startswith("x: the disk is full")
    assert files.os_error(OSError("Can't load it"), "x").line() == "x: can't load it"
    assert files.os_error(FileNotFoundError(2, "No such file or directory", "y"), "x").line() == (
        "x: no such file or directory (y)"
    )


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), files.explain_os_errors(tmp_path):
        raise BrokenPipeError


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    with pytest.raises(AttarError):
        files.replace_folder(tmp_path / "missing", tmp_path / "target")
    assert (tmp_path / "target" / "old").exists()


def test_json_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content, words in (
        (b"{\n,", "x.json:2: not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 99999, "not valid"),
    ):
        path.write_bytes(content)
        with pytest.raises(AttarError, match=words):
            files.read_json(path)

"""Targets on other machines: a real sshd on loopback, and an adb that stands in for a phone's shell."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attar.benchmarks import protocol, record, sites, targets
from attar.benchmarks.targets import adb, remote, ssh
from attar.benchmarks.targets.host import HERE, START
from attar.benchmarks.worker import Worker
from attar.cli import main
from attar.errors import AttarError, UsageError
from conftest import tiny_teacher
from test_pipeline import write_data

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
need_sshd = pytest.mark.skipif(not (SSHD and shutil.which("ssh")), reason="sshd is not installed")


def plan(bundle: Path, **changes: object) -> sites.Plan:
    words: dict[str, object] = {"lengths": (8,), "threads": (1,), "protocol": protocol.quick(3, 1)}
    return sites.Plan([bundle], **(words | changes))  # type: ignore[arg-type]


def only(word: str) -> targets.Target:
    (target,) = targets.parse([word])
    return target


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture()
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The word of this machine by ssh: a daemon with keys of its own, on a free port."""
    keys = tmp_path / "ssh"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    shutil.copy(keys / "user.pub", keys / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    settings = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": keys / "host", "AuthorizedKeysFile": keys / "authorized",
        "PidFile": "none", "UsePAM": "no", "StrictModes": "no", "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
    }  # fmt: skip
    (keys / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()), "utf-8")
    known = f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text('utf-8')}"
    (keys / "known").write_text(known, "utf-8")
    own = f"Host *\nIdentityFile {keys / 'user'}\nIdentitiesOnly yes\nUserKnownHostsFile {keys / 'known'}\n"
    (keys / "config").write_text(own, "utf-8")
    (tmp_path / "bin").mkdir()
    script(tmp_path / "bin/ssh", f'exec {shutil.which("ssh")} -F {keys / "config"} "$@"')  # the user's own settings
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    daemon = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(keys / "sshd_config")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as trial:
                if not trial.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.05)
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}{sys.executable}"
    finally:
        daemon.terminate()
        daemon.wait()


@pytest.fixture()
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `adb` whose phone is a folder: /data/local/tmp is below it. The file `unplugged` takes it away."""
    device, found = tmp_path / "device", tmp_path / "bin"
    for folder in (device, found):
        folder.mkdir()
    script(
        found / "adb",
        f"""
[ "$1" = -s ] && [ "$2" = PHONE1 ] || {{ echo "adb: device '$2' not found" >&2; exit 1; }}
[ ! -e {device}/unplugged ] || {{ echo "adb: device '$2' not found" >&2; exit 1; }}
there() {{ printf '%s' "$1" | sed 's#/data/local/tmp#{device}#g'; }}
case "$3" in
push) cp "$4" "$(there "$5")" && echo "1 file pushed" ;;
shell) [ "$4" = -T ] || exit 64
  sed -u 's#/data/local/tmp#{device}#g' | sh -c "$(there "$5")" | sed -u 's#{device}/attar#/data/local/tmp/attar#' ;;
*) exit 64 ;;
esac""",
    )
    monkeypatch.setenv("PATH", f"{found}:{os.environ['PATH']}")
    return device


def test_words_that_name_targets() -> None:
    found = targets.parse(["local", "arm:cortex-a53", "ssh://pi@board:2222", "adb:192.168.0.7:5555", "local"])
    assert [one.kind for one in found] == ["local", "arm", "ssh", "adb"]
    assert [one.measures for one in found] == ["time", "instructions", "time", "time"]
    assert ssh.parse("//pi@board:2222/opt/py/bin/python") == ssh.Ssh("board", "pi", 2222, "/opt/py/bin/python")
    assert ssh.parse("//board/") == ssh.Ssh("board")
    assert ssh.parse("//[::1]:22").host == "::1"
    assert adb.parse("emulator-5554/data/local/tmp/bin/python3") == adb.Adb(
        "emulator-5554", "/data/local/tmp/bin/python3"
    )


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("remote", "unknown target"), ("loca", "did you mean 'local'"), ("local:x", "does not name a target"),
        ("arm", "does not name a target"), ("arm:", "does not name a target"), ("arm:cortex-a35x", "cortex-a35"),
        ("arm:max", "unknown processor"), ("ssh:board", "names no host"), ("ssh://-oProxyCommand=x", "names no host"),
        ("ssh://-l@board", "names no host"), ("ssh://board:99999", "names no host"), ("ssh://a b", "names no host"),
        ("adb:-s", "names no device"), ("adb:", "does not name a target"), ("adb:a;b", "names no device"),
    ],
)  # fmt: skip
def test_words_that_name_none(word: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        targets.parse([word])


def test_the_command_lines_of_links() -> None:
    command = ssh.Ssh("board", "pi", 2222).shell("uname -a")
    assert command[0] == "ssh" and command[-3:] == ["--", "board", "uname -a"]
    assert "BatchMode=yes" in command and command[command.index("-p") + 1] == "2222"
    assert command[command.index("-l") + 1] == "pi"
    assert ssh.Ssh("board").push(Path("a.onnx"), "/tmp/attar.x/0.onnx")[0][-1] == "cat > /tmp/attar.x/0.onnx"
    phone = adb.Adb("PHONE1")
    assert phone.shell("id") == ["adb", "-s", "PHONE1", "shell", "-T", "id"]
    pushed = ["adb", "-s", "PHONE1", "push", "/a b", "/data/local/tmp/0"]
    assert phone.push(Path("/a b"), "/data/local/tmp/0") == (pushed, False)


def test_a_files_name_is_no_word_of_the_shell_there() -> None:
    pushed: list[str] = []

    class Spy(remote.Remote):
        def push(self, file: Path, there: str) -> None:
            pushed.append(there)

    spy = Spy(ssh.Ssh("board"), "/tmp/attar.x")
    for name in ("model.onnx;touch pwned", "model.o x", "model.onnx"):
        spy.path(Path(name))
    assert pushed == ["/tmp/attar.x/0", "/tmp/attar.x/1", "/tmp/attar.x/2.onnx"]
    assert ssh.Ssh("board").push(Path("a"), "/tmp/a b")[0][-1] == "cat > '/tmp/a b'"


def test_adb_tells_a_lost_phone_from_a_worker_that_failed() -> None:
    link = adb.Adb("PHONE1")
    assert link.lost(1, "adb: device 'PHONE1' not found") and link.lost(1, "error: closed")
    assert not link.lost(1, "ModuleNotFoundError: No module named 'numpy'") and not link.lost(137, "")


def test_the_light_files_run_by_themselves(tmp_path: Path, onnx_file: Path) -> None:
    """What is pushed is enough for a worker, and nothing else of attar is found."""
    remote.pack(tmp_path / "light.tar.gz")
    with tarfile.open(tmp_path / "light.tar.gz") as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "there", filter="data")
    assert all(name.startswith("attar/") and name.endswith(".py") for name in names)

    class There:
        command = staticmethod(lambda: [sys.executable, "-S", "-c", START.format("attar.benchmarks.worker")])
        path = staticmethod(HERE.path)
        ended = staticmethod(HERE.ended)

        def environment(self) -> dict[str, str]:
            import numpy

            site = Path(numpy.__file__).parents[1]  # -S: the editable attar is not found
            return {**os.environ, "PYTHONPATH": f"{tmp_path / 'there'}:{site}"}

    with Worker(onnx_file, "onnxruntime", There()) as worker:
        assert worker.describe()["versions"]["onnxruntime"]
        worker.load(1)


@need_sshd
def test_a_host_by_ssh(loopback: str, bundle_folder: Path) -> None:
    site = sites.measure(only(loopback), plan(bundle_folder, every=True))
    assert site.problems == []
    assert [one.name for one in site.models] == ["model.onnx", "model.ort"]
    for one in site.models:
        assert one.cost and one.cost.peak_memory and [time.length for time in one.cost.latencies] == [8]
        assert one.cost.latencies[0].ratio is not None
        assert one.outputs and one.outputs.golden_error <= one.outputs.golden_tolerance
    assert site.machine["processor"] and site.machine["versions"]["onnxruntime"]


@need_sshd
def test_the_hosts_folder_is_removed(loopback: str, onnx_file: Path) -> None:
    with only(loopback).open() as host:
        assert isinstance(host, remote.Remote)
        there = Path(host.path(onnx_file))
        assert there.read_bytes() == onnx_file.read_bytes() and host.path(onnx_file) == str(there)
        with Worker(onnx_file, "onnxruntime", host) as worker:
            worker.load(1)
            (pid,) = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_worker(entry, there.parent)]
            os.kill(pid, 6)
            with pytest.raises(AttarError, match="killed by SIGABRT"):
                worker.load(1)
    assert not there.parent.exists()


def _is_worker(entry: Path, folder: Path) -> bool:
    """Whether a process is the Python of a worker in that folder, and not the shell that waits for it."""
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        return (entry / "cwd").readlink() == folder and words[1:3] == [b"-m", b"attar.benchmarks.worker"]
    except OSError:
        return False


@need_sshd
def test_a_host_without_runtimes_is_one_line(loopback: str, tmp_path: Path, bundle_folder: Path) -> None:
    bare = script(tmp_path / "bare", f'exec {sys.executable} -S -I "$@"')
    word = loopback.removesuffix(sys.executable) + str(bare)
    (problem,) = sites.measure(only(word), plan(bundle_folder)).problems
    assert "lacks" in problem and "numpy" in problem and "pip install" in problem
    word = loopback.removesuffix(sys.executable) + "/no/such/python"
    (problem,) = sites.measure(only(word), plan(bundle_folder)).problems
    assert "/no/such/python" in problem and "Python 3.10" in problem


def test_a_host_that_does_not_answer_is_one_line_and_the_others_are_kept(
    bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        word = f"ssh://127.0.0.1:{free.getsockname()[1]}"
    words = ["bench", str(bundle_folder), "--target", word, "--target", "local", "--length", "8", "--quick"]
    assert main([*words, "--json"]) == 1
    printed = capsys.readouterr()
    there, here = json.loads(printed.out)["targets"]
    assert there["models"] == [] and len(there["problems"]) == 1 and there["problems"][0].startswith(f"{word}: ")
    assert here["models"][0]["cost"]["latencies"] and here["models"][0]["outputs"]["golden_agreement"] == 1.0
    assert [line for line in printed.err.splitlines() if "noisy" not in line] == [f"attar: {there['problems'][0]}"]


def test_a_phone_with_python(phone: Path, bundle_folder: Path) -> None:
    site = sites.measure(only(f"adb:PHONE1{sys.executable}"), plan(bundle_folder))
    assert site.problems == []
    assert site.models[0].cost and site.models[0].cost.latencies and site.models[0].outputs
    assert list(phone.iterdir()) == []  # its folder is gone


def test_a_phone_that_is_not_there(phone: Path, bundle_folder: Path) -> None:
    (problem,) = sites.measure(only("adb:PHONE2"), plan(bundle_folder)).problems
    assert problem == "adb:PHONE2: PHONE2: adb: device 'PHONE2' not found"


def test_a_phone_that_is_unplugged_keeps_its_rows(phone: Path, bundle_folder: Path) -> None:
    """After the times of both models, while the second one's answers are asked for."""

    def moved(what: str, done: int, total: int) -> None:
        if what.endswith(": model.ort") and done == 1:
            (phone / "unplugged").touch()

    site = sites.measure(only(f"adb:PHONE1{sys.executable}"), plan(bundle_folder, every=True), moved)
    first, second = site.models
    assert first.name == "model.onnx" and first.cost and first.outputs
    assert second.name == "model.ort" and second.cost and second.outputs is None
    (problem,) = site.problems
    assert problem.startswith("adb:") and "model.ort" in problem and "not found" in problem


def test_without_adb_or_ssh(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for word, tool in (("adb:PHONE1", "adb"), ("ssh://board", "ssh")):
        (problem,) = sites.measure(only(word), plan(bundle_folder)).problems
        assert f"{tool} is not installed" in problem


@need_sshd
def test_a_budget_holds_on_its_target(loopback: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole road, measured by ssh; what cannot be reached is told before anything is trained."""
    tiny_teacher(tmp_path / "model", layers=2)
    write_data(tmp_path)
    phase = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    recipe = {
        "name": "there",
        "task": {
            "train": {"path": str(tmp_path / "train.tsv")},
            "dev": {"path": str(tmp_path / "dev.tsv")},
            "max_length": 32,
        },
        "teacher": {"model": str(tmp_path / "model"), "training": phase},
        "student": {"kind": "tinybert", "layers": 1},
        "distil": {"intermediate": phase, "prediction": phase},
        "export": {"onnx": ["int8"], "ort": [], "tflite": [], "lengths": [8], "tolerance": 40},
        "measure": {"lengths": [8], "threads": [1], "queries": 5, "warmup": 1},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    command = ["compress", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "--quiet"]
    capsys.readouterr()
    for word, code, said in (("ssh://127.0.0.1:1", 1, "127.0.0.1"), ("arm:cortex-a53", 2, "gives no time")):
        assert main([*command, "--target", word]) == code
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line and not (tmp_path / "run" / "teacher").exists()
    words = ["--target", "ssh://127.0.0.1:1", "--max-size", "1MB", "--trials", "2"]
    assert main([*command, *words]) == 1 and "127.0.0.1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "teacher").exists()
    assert main([*command, "--target", loopback, "--max-latency", "0.01ms", "--trials", "0"]) == 3
    run = record.load(tmp_path / "run")
    assert run.recipe["measure"]["target"] == loopback
    (limit,) = run.limits
    chosen = next(model for model in run.models if model.name == run.choice)
    assert limit.value == chosen.cost.latencies[0].p50_ms and chosen.cost.peak_memory
    assert not run.layer_times and run.machine["processor"]  # of another machine there are no operator times

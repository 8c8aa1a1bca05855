"""The emulated ARM processors: what is set up, what is counted, what is answered."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from attar import debian
from attar.benchmarks import compare, instructions, machine, outputs, sites, targets
from attar.benchmarks.targets import arm, arm_setup
from attar.benchmarks.targets.host import Host
from attar.cli import main
from attar.errors import AttarError
from attar.export.processors import kind_of
from test_remote_targets import plan

READY = arm_setup.whole(arm.home())  # before a test names another folder
need_arm = pytest.mark.skipif(not READY, reason="the emulated ARM is not set up (attar arm-setup)")
need_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
EXECUTED, MEMORY, DOT, INTEGER, FLOATING, VECTOR, BRANCH = range(7)
WORDS = {  # by GNU as
    MEMORY: [0x3DC00020, 0xA94007E0, 0xB9000020, 0x4C407020, 0xF8200041],  # ldr, ldp, str, ld1, ldadd
    DOT: [
        0x4E829420, 0x6FA2E020, 0x4FA5E883, 0x4E829C20, 0x4F02F020, 0x4E82A420,
    ],  # sdot, udot and sdot by element, usdot, sudot, smmla
    INTEGER: [
        0x0E228020, 0x6E628020, 0x0F722020, 0x0E22C020, 0x4EA29420, 0x4EA29C20, 0x4F528020, 0x6F520020,
    ],  # smlal, umlal2, smlal by element, smull, mla, mul, mul and mla by element
    FLOATING: [
        0x4E22CC20, 0x4F821820, 0x4E420C20, 0x4EA2CC20, 0x6E22DC20, 0x4FA29020, 0x1F020C20,
    ],  # fmla, by element, of halves; fmls; fmul, by element; fmadd
    VECTOR: [
        0x4E22D420, 0x4E606820, 0x4EA28420, 0x4E040420, 0x6E22FC20, 0x4E22F420, 0x6EA2B420, 0x0E611000, 0x6E022020,
        0x6E42FC20, 0x6E229C20, 0x4F000420, 0x4F225420, 0x0E0C3C20,
    ],  # fadd, sadalp, add, dup, fdiv, fmax, sqrdmulh, saddw, ext, bfdot, pmul, movi, shl, mov
    BRANCH: [0x14000000, 0x94000000, 0xB4000000, 0x36080000, 0x54000000, 0xD65F03C0, 0xD61F0020],
    EXECUTED: [0xD4000001, 0xD503201F, 0xD5380000, 0xD5033BBF, 0x8B020020, 0x9B020C20, 0xD2800020],  # no other class
}  # fmt: skip
STUBS = """
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t a, on_block b) {(void)a, (void)b;}
void qemu_plugin_register_vcpu_syscall_cb(uint64_t a, on_call b) {(void)a, (void)b;}
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *a, int b, void *c, uint64_t d)
{(void)a, (void)b, (void)c, (void)d;}
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *a) {(void)a; return 0;}
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *a, size_t b) {(void)a, (void)b; return 0;}
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *a) {(void)a; return 0;}
int classify(uint32_t word) {return class_of(word);}
"""


@need_gcc
def test_the_plugin_knows_the_class_of_an_instruction(tmp_path: Path) -> None:
    source, library = tmp_path / "classes.c", tmp_path / "classes.so"
    source.write_text(f'#include "{arm.SOURCE}"\n{STUBS}', "utf-8")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    classify = ctypes.CDLL(str(library)).classify
    classify.argtypes = [ctypes.c_uint32]
    assert {kind: [classify(word) for word in words] for kind, words in WORDS.items()} == {
        kind: [kind] * len(words) for kind, words in WORDS.items()
    }


@pytest.mark.parametrize("name", arm.CPUS)
def test_what_a_processor_tells_of_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = arm.CPUS[name].cpuinfo()
    monkeypatch.setattr(machine, "_read", lambda path: text)
    dotprod = name in ("cortex-a76", "neoverse-n1")
    assert "neon" in machine.features()
    assert kind_of("aarch64", machine.features()) == ("arm-dotprod" if dotprod else "arm")


def test_wheels_are_those_that_are_installed_here() -> None:
    found = arm_setup.pinned({"numpy": "1.26.4", "onnxruntime": None, "tflite-runtime": None})
    assert found == ["numpy==1.26.4", "onnxruntime"]


def test_without_the_tools_or_the_network_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AttarError, match="apt-get is not installed"):
        arm_setup.make(tmp_path / "arm", print)
    broken = "#!/bin/sh\necho 'E: Failed to fetch http://deb.debian.org/x  Could not resolve host' >&2\nexit 100\n"
    for name, text in (("apt-get", broken), ("dpkg-deb", ""), ("gcc", ""), ("dpkg", "#!/bin/sh\necho amd64\n")):
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "gcc")
    said: list[str] = []
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(AttarError, match=r"apt-get failed: .*resolve host; is there a network") as told:
        arm_setup.make(tmp_path / "arm", said.append)
    assert "\n" not in told.value.line() and said and not arm_setup.whole(tmp_path / "arm")


def test_apt_is_kept_from_this_system(tmp_path: Path) -> None:
    lines = debian.configuration(tmp_path, "arm64").splitlines()
    values = dict(line.removesuffix(";").split(" ", 1) for line in lines)
    for name in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert str(tmp_path) in values[name]
    assert values["APT::Architectures"] == '"arm64"'


def test_a_target_that_is_not_set_up_is_one_line(
    tmp_path: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATTAR_ARM", str(tmp_path / "none"))
    assert main(["bench", str(bundle_folder), "--target", "arm:cortex-a53"]) == 1
    assert capsys.readouterr().err.endswith("the emulated ARM is not set up; run: attar arm-setup\n")
    assert main(["bench", str(bundle_folder), "--target", "arm:max"]) == 2


def test_counts_are_the_least_of_the_pairs(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    lines = [[10 * n] * 7 for n in range(6)]
    lines[3] = [25] * 7  # the pairs spend 10, 5 and 10
    counts.write_text("".join(" ".join(map(str, line)) + "\n" for line in lines), "ascii")
    found = instructions._least(counts, 8, 3)
    assert (found.length, found.repeats, found.executed, found.branch) == (8, 3, 5, 5)
    with pytest.raises(AttarError, match="did not count"):
        instructions._least(counts, 8, 4)


def test_instructions_are_counted_under_emulation_only(bundle_folder: Path) -> None:
    (model,) = compare.contenders([bundle_folder], [8])
    with pytest.raises(AttarError, match="emulation only"):
        instructions.measure(model, [8])


@need_arm
def test_a_model_on_arm_answers_and_its_counts_repeat(bundle_folder: Path) -> None:
    """Two processes count the same, within a thousandth and what the call from Python varies by; products are there."""
    (target,) = targets.parse(["arm:cortex-a76"])
    with target.open() as host:
        (model,) = compare.contenders([bundle_folder], [16], host=host)
        (first,), (second,) = (instructions.measure(model, [16]) for _ in range(2))
        found = outputs.measure(model)
    assert abs(first.executed - second.executed) <= 1e-3 * second.executed + 2_500
    parts = (first.memory, first.dot, first.integer, first.floating, first.vector, first.branch)
    assert all(part >= 0 for part in parts) and sum(parts) < first.executed
    assert first.floating > 0 and first.dot == 0  # fp32
    assert found.golden_error <= found.golden_tolerance and found.golden_agreement == 1.0


@need_arm
def test_the_emulated_processor_has_what_it_tells(bundle_folder: Path) -> None:
    """AT_HWCAP, which runtimes ask, agrees with /proc/cpuinfo, which they ask too."""
    for name, dotprod in (("cortex-a53", False), ("cortex-a76", True)):
        (target,) = targets.parse([f"arm:{name}"])
        code = "import ctypes; print(ctypes.CDLL(None).getauxval(16) >> 20 & 1)"
        code += ";print(open('/proc/cpuinfo').read().count('asimddp'))"
        with target.open() as host:
            command = [*list(host.command())[:-2], "-c", code]
            done = subprocess.run(command, env=dict(host.environment()), capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(int(dotprod))] * 2


@need_arm
def test_a_model_that_fails_there_leaves_the_others(bundle_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle_folder, tmp_path / "copy"))
    (copy / "model.onnx").write_bytes(b"no model")
    (target,) = targets.parse(["arm:cortex-a53"])
    site = sites.measure(target, plan(copy, every=True))
    assert [one.name for one in site.models] == ["model.ort"] and site.models[0].instructions
    (problem,) = site.problems
    assert problem.startswith("arm:cortex-a53: model.onnx: ") and site.machine["emulator"]
    assert site.machine["architecture"] == "aarch64" and site.machine["processor"] == "cortex-a53"


def test_a_host_is_what_emulation_gives(tmp_path: Path) -> None:
    host: Host = arm.Emulated("cortex-a53", tmp_path, tmp_path)
    command = list(host.command())
    assert command[command.index("-cpu") + 1] == "cortex-a53" and "-plugin" not in command
    assert "HOME" not in host.environment()

"""The emulated x86 processors without VNNI: what they tell of themselves, and that their int8 products saturate."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from attar.benchmarks import machine, sites, targets
from attar.benchmarks.targets import arm, arm_setup, x86
from attar.benchmarks.worker import Worker
from attar.cli import main
from attar.export.processors import kind_of
from onnx import TensorProto, helper, numpy_helper
from test_remote_targets import plan

READY = arm_setup.whole(arm.home()) and platform.machine() == "x86_64"  # before a test names another folder
need_emulator = pytest.mark.skipif(not READY, reason="no emulator of x86 is set up (attar arm-setup)")


@pytest.mark.parametrize(("name", "features"), [("nehalem", []), ("haswell", ["avx2"])])
def test_what_a_processor_tells_of_itself(name: str, features: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: x86.cpuinfo(name))
    assert machine.features() == features
    assert kind_of("x86_64", machine.features()) == "x86"


def test_what_cannot_be_had_is_one_line(
    tmp_path: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(bundle_folder), "--target", "x86:i486"]) == 2
    monkeypatch.setenv("ATTAR_ARM", str(tmp_path / "none"))
    for architecture, fix in (("x86_64", "run: attar arm-setup"), ("aarch64", "use an x86-64 machine")):
        monkeypatch.setattr(platform, "machine", lambda found=architecture: found)
        capsys.readouterr()
        assert main(["bench", str(bundle_folder), "--target", "x86:haswell"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(fix)


@need_emulator
def test_a_bundle_is_answered_there_and_nothing_is_timed(bundle_folder: Path) -> None:
    (target,) = targets.parse(["x86:haswell"])
    site = sites.measure(target, plan(bundle_folder))
    assert site.problems == [] and site.measures == "answers"
    assert site.machine["processor"] == "haswell" and "vnni" not in site.machine["features"]
    (found,) = site.models
    assert found.cost is None and found.instructions == [] and found.outputs and found.outputs.right


@need_emulator
@pytest.mark.parametrize(("bits", "saturates"), [(8, True), (7, False)])
def test_products_of_eight_bits_saturate_there_and_of_seven_do_not(bits: int, saturates: bool, tmp_path: Path) -> None:
    """The sum of two products of uint8 and int8 fits 16 bits where the weights have seven."""
    most = 2 ** (bits - 1) - 1
    weights = np.full((64, 64), most, np.int8)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input_ids"], ["a"], to=TensorProto.UINT8),
            helper.make_node("MatMulInteger", ["a", "w"], ["y"]),
            helper.make_node("Cast", ["y"], ["logits"], to=TensorProto.FLOAT),
        ],
        "products",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), tmp_path / "m.onnx")
    (target,) = targets.parse(["x86:haswell"])
    with target.open() as host, Worker(tmp_path / "m.onnx", "onnxruntime", host) as worker:
        worker.load(threads=1)
        worker.keep([{"input_ids": np.full((4, 64), 255, np.int64)}])
        found = worker.answer(0)
    assert (found.max() < 64 * 255 * most) == saturates

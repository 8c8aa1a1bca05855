"""`attar inspect`: the parts of a model, whatever its file format, against PyTorch's own count."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import pytest
from attar.benchmarks import graphs, inspection, macs, record
from attar.benchmarks.graphs import Graph, Node
from attar.benchmarks.inspection import shares
from attar.benchmarks.parts import Resolver, part_of
from attar.compress import blocks
from attar.errors import AttarError
from attar.export import ort_format
from attar.export.onnx import export_fp32
from attar.export.sizes import count_parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_run import sample
from small_models import saved, small


def parts_of_torch(teacher: Path) -> dict[str, int]:
    """Parameters by part, by the names PyTorch gives them."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(teacher)
    found: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        part = part_of(name)
        assert part, name
        found[part] += parameter.numel()
    return dict(found)


@pytest.fixture(scope="session")
def int8_file(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = tmp_path_factory.mktemp("int8") / "model-int8.onnx"
    quantize_dynamic(onnx_file, path, weight_type=QuantType.QUInt8)
    return path


@pytest.fixture(scope="session")
def int8_ort_file(int8_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime writes its own fused products into this format."""
    path = tmp_path_factory.mktemp("ort") / "model-int8.ort"
    ort_format.convert(int8_file, path)
    return path


@pytest.fixture(scope="session")
def tflite_file(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    litert_torch = pytest.importorskip("litert_torch")
    import torch
    from attar.export import wrapper

    module = wrapper.load(teacher)
    path = tmp_path_factory.mktemp("tflite") / "model-16.tflite"
    with wrapper.quiet():
        litert_torch.convert(module, tuple(module.example(1, 16, torch.int32).values())).export(str(path))
    return path


@pytest.fixture(scope="session")
def int4_file(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings too; whole blocks are 32 long."""
    path = tmp_path_factory.mktemp("int4") / "model-int4.onnx"
    blocks.onnx_int4(onnx_file, path, 32, [])
    return path


@pytest.mark.parametrize("kind", ["onnx_file", "ort_file", "int8_file", "int4_file"])
def test_the_parts_of_a_file_are_those_of_the_model(kind: str, teacher: Path, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    found = {share.part: share for share in shares(path)}
    for part, parameters in parts_of_torch(teacher).items():
        assert found[part].parameters == pytest.approx(parameters, rel=0.01), part
    assert sum(share.bytes for share in found.values()) == path.stat().st_size


def test_int8_weights_take_a_quarter(onnx_file: Path, int8_file: Path) -> None:
    wide = {share.part: share.bytes for share in shares(onnx_file)}
    narrow = {share.part: share.bytes for share in shares(int8_file)}
    for part in ("attention", "feed-forward"):
        assert narrow[part] == pytest.approx(wide[part] / 4, rel=0.15)


def test_the_parts_of_a_tflite_file(tflite_file: Path, teacher: Path) -> None:
    found = {share.part: share for share in shares(tflite_file)}
    wanted = parts_of_torch(teacher)
    for part in ("attention", "feed-forward"):
        assert found[part].parameters == pytest.approx(wanted[part], rel=0.05)
    assert sum(found[part].parameters for part in wanted) <= sum(wanted.values())
    assert sum(share.bytes for share in found.values()) == tflite_file.stat().st_size


def test_our_reader_agrees_with_onnx(onnx_file: Path) -> None:
    model = onnx.load(onnx_file)
    graph = graphs.read(onnx_file)
    expected = {t.name: onnx.numpy_helper.to_array(t).nbytes for t in model.graph.initializer}
    found = {constant.name: constant.bytes for constant in graph.constants}
    assert expected.items() <= found.items()
    assert [node.op for node in graph.nodes] == [node.op_type for node in model.graph.node]
    assert [node.inputs for node in graph.nodes] == [tuple(node.input) for node in model.graph.node]


@pytest.mark.parametrize("kind", ["onnx_file", "ort_file"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_one_clear_line(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    where: float,
    value: int,
    cut: bool,
) -> None:
    whole: Path = request.getfixturevalue(kind)
    data = bytearray(whole.read_bytes())
    place = int(where * len(data))
    path = tmp_path_factory.mktemp("damaged") / whole.name
    if cut:
        path.write_bytes(data[:place])
        if kind == "onnx_file":  # protobuf notices every cut but one between two messages; the flatbuffer its tables
            with pytest.raises(AttarError, match="not a whole"):
                graphs.read(path)
            return
    else:
        data[place] = value
        path.write_bytes(data)
    try:
        assert isinstance(graphs.read(path), Graph)
    except AttarError as error:
        assert "not a whole" in error.line()


def test_a_constant_without_a_name_belongs_to_what_it_meets() -> None:
    graph = Graph(
        [
            graphs.Constant("val_1", (1024,), 1024),
            graphs.Constant("val_1_scale", (1,), 4),
            graphs.Constant("layer.0.attention.self.query.bias", (32,), 128),
            graphs.Constant("val_9", (1024,), 4096),
            graphs.Constant("table", (6400,), 25600),
            graphs.Constant("axes", (1,), 8),
        ],
        [
            Node("MatMulInteger", "", ("x", "val_1"), ("a",)),
            Node("Cast", "", ("a",), ("b",)),
            Node("Mul", "", ("b", "val_1_scale"), ("c",)),
            Node("Add", "", ("c", "layer.0.attention.self.query.bias"), ("d",)),
            Node("MatMul", "", ("d", "val_9"), ("e",)),
            Node("Gather", "", ("table", "ids"), ("f",)),
            Node("Squeeze", "", ("f", "axes"), ("g",)),
        ],
    )
    resolve = Resolver(graph)
    found = {constant.name: resolve(constant) for constant in graph.constants}
    assert found == {
        "val_1": ("attention", 1),
        "val_1_scale": ("attention", 1),
        "layer.0.attention.self.query.bias": ("attention", 1),
        "val_9": (inspection.OTHER, None),
        "table": ("embeddings", None),
        "axes": (inspection.OTHER, None),
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("bert.embeddings.word_embeddings.weight", "embeddings"),
        ("bert.encoder.layer.0.attention.output.dense.weight", "attention"),
        ("bert.encoder.layer.0.attention.output.LayerNorm.bias", "attention"),
        ("bert.encoder.layer.0.output.dense.weight", "feed-forward"),
        ("bert.encoder.layer.0.intermediate.dense.bias", "feed-forward"),
        ("distilbert.transformer.layer.1.attention.q_lin.weight", "attention"),
        ("distilbert.transformer.layer.1.sa_layer_norm.weight", "attention"),
        ("distilbert.transformer.layer.1.ffn.lin1.weight", "feed-forward"),
        ("distilbert.transformer.layer.1.output_layer_norm.weight", "feed-forward"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight", "feed-forward"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.attention.dense.weight", "attention"),
        ("transformer.h.0.attn.c_attn.weight", "attention"),
        ("transformer.h.0.mlp.c_fc.weight", "feed-forward"),
        ("transformer.wte.weight", "embeddings"),
        ("pre_classifier.weight", "head"),
        ("val_83", None),
    ],
)
def test_names_of_the_families(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_folders(teacher: Path, bundle_folder: Path) -> None:
    found = inspection.inspect(teacher)
    ((_, parts),) = found.models.items()
    assert {share.part: share.parameters for share in parts if share.parameters} == parts_of_torch(teacher)
    assert count_parameters(teacher).parts() == parts_of_torch(teacher)
    assert sum(share.bytes for share in parts) == (teacher / "model.safetensors").stat().st_size
    assert found.facts["model_type"] == "bert" and shares(teacher) == parts
    found = inspection.inspect(bundle_folder)
    assert found.kind == "bundle" and set(found.models) == {"model.onnx", "model.ort"}
    assert found.facts["labels"] == "lights, music, weather"


def test_what_cannot_be_inspected(tmp_path: Path, onnx_file: Path, teacher: Path) -> None:
    with pytest.raises(AttarError, match="no such file"):
        inspection.inspect(tmp_path / "nowhere")
    with pytest.raises(AttarError, match="nothing here"):
        inspection.inspect(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AttarError, match=r"no \.safetensors file"):
        inspection.inspect(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((teacher / "model.safetensors").read_bytes()[:-1])
    with pytest.raises(AttarError, match=r"not a whole \.safetensors model"):
        inspection.inspect(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(AttarError, match=r"\.onnx, \.ort, \.tflite"):
        inspection.inspect(tmp_path / "notes.txt")
    shutil.copy(onnx_file, tmp_path / "model.tflite")
    with pytest.raises(AttarError, match=r"not a whole \.tflite model"):
        inspection.inspect(tmp_path / "model.tflite")


def counted_by_torch(folder: Path, length: int, head: str = "sequence") -> int:
    """MACs of one text as PyTorch's own counter sees them."""
    import torch
    from attar.teachers import heads
    from torch.utils.flop_counter import FlopCounterMode

    model = heads.load(head, folder)
    model.set_attn_implementation("eager")  # the counter does not see into the fused kernel
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.ones(1, length, dtype=torch.long), attention_mask=torch.ones(1, length, dtype=torch.long))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("kind", ["onnx_file", "ort_file", "int8_file", "int8_ort_file"])
@pytest.mark.parametrize("length", [1, 7, 16])
def test_macs_are_those_that_pytorch_does(
    kind: str, length: int, teacher: Path, request: pytest.FixtureRequest
) -> None:
    found = macs.count(request.getfixturevalue(kind), length)
    assert sum(found.values()) == counted_by_torch(teacher, length)
    assert set(found) == {"attention", "feed-forward", "head"}


def test_macs_of_a_static_file(tflite_file: Path, teacher: Path) -> None:
    assert sum(macs.count(tflite_file, 16).values()) == counted_by_torch(teacher, 16)


def test_a_static_file_is_counted_at_its_own_length(tflite_file: Path, onnx_file: Path, tmp_path: Path) -> None:
    own = {share.part: share.macs for share in shares(tflite_file, 16)}
    (found,) = inspection.inspect(tflite_file, 40).models.values()
    assert {share.part: share.macs for share in found} == own
    model = onnx.load(onnx_file)
    for value in model.graph.input:
        for size, count in zip(value.type.tensor_type.shape.dim, (1, 16), strict=True):
            size.dim_value = count
    onnx.save(model, tmp_path / "static.onnx")
    (found,) = inspection.inspect(tmp_path / "static.onnx", 40).models.values()
    assert sum(share.macs or 0 for share in found) == sum(macs.count(onnx_file, 16).values())


@pytest.mark.parametrize("head", ["tokens", "span"])
def test_heads_that_read_every_piece_are_counted_for_each(head: Any, tmp_path: Path) -> None:
    folder = saved(small("bert", head), tmp_path / "model")
    export_fp32(folder, tmp_path / "model.onnx", head)
    (found,) = inspection.inspect(tmp_path / "model.onnx", 9).models.values()
    assert sum(share.macs or 0 for share in found) == counted_by_torch(folder, 9, head)


@pytest.mark.parametrize("kind", ["classification", "question_answering"])
def test_a_run_is_counted_at_the_length_asked_for(kind: str, onnx_file: Path, tmp_path: Path) -> None:
    run = sample()
    here = next(model for model in run.models if str(model.file).endswith(".onnx"))
    parts = run.shares | {here.name: shares(onnx_file)}
    run = run.model_copy(update={"task": run.task | {"kind": kind}, "shares": parts})
    file = tmp_path / str(here.file)
    file.parent.mkdir()
    shutil.copy(onnx_file, file)
    record.save(run, tmp_path / "run.json")
    found = inspection.inspect(tmp_path, 8).models
    assert found.pop(here.name) == shares(onnx_file, 8, whole=kind == "question_answering") != parts.pop(here.name)
    assert found == parts and found  # files that are not there are as the record says


@pytest.mark.parametrize("family", ["albert", "gpt2"])
def test_macs_of_shared_layers_and_of_queries_keys_and_values_in_one(family: str, tmp_path: Path) -> None:
    folder = saved(small(family), tmp_path / family)
    export_fp32(folder, tmp_path / "model.onnx")
    found = macs.count(
        tmp_path / "model.onnx", 9, whole=family == "gpt2"
    )  # GPT-2 scores all pieces, and takes the last
    assert sum(found.values()) == counted_by_torch(folder, 9)


def test_macs_stand_beside_bytes(onnx_file: Path, bundle_folder: Path, teacher: Path) -> None:
    found = {share.part: share.macs for share in shares(onnx_file, 16)}
    assert {part: count for part, count in found.items() if count} == macs.count(onnx_file, 16)
    assert inspection.inspect(bundle_folder, 8).models["model.onnx"] == shares(onnx_file, 8)
    assert all(share.macs is None for share in shares(teacher))

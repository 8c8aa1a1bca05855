"""Export of real tiny models of four families: same answers, same bytes, every weight once."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from attar.compress import blocks, graphs, litert_quantization, quantization
from attar.compress import static_int8 as static
from attar.errors import AttarError
from attar.export import litert, onnx, ort_format, parity, sizes
from attar.export.manifest import Input
from attar.export.runtimes import open_model
from attar.tasks.encoding import Features, collate
from helpers import PATIENCE, made_once

FAMILIES = ("bert", "distilbert", "electra", "roberta")
VOCABULARY, LENGTH = 4000, 16
PAD = {"roberta": 1}


class Exported(NamedTuple):
    """A model folder, what was made of it, and its PyTorch logits."""

    family: str
    folder: Path
    inputs: dict[str, list[Input]]
    features: list[Features]
    logits: npt.NDArray[np.float32]

    @property
    def golden(self) -> parity.Golden:
        return list(zip(self.features, self.logits, strict=True))

    @property
    def pad(self) -> int:
        return PAD.get(self.family, 0)


def tiny_model(family: str, folder: Path, **changes: Any) -> Path:
    """Save a random classifier of a family; its weights are large enough that the logits differ."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes: dict[str, Any] = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
        "vocab_size": VOCABULARY, "max_position_embeddings": 40, "num_labels": 3,
    }  # fmt: skip
    if family == "distilbert":
        names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
        sizes = {names.get(key, key): value for key, value in sizes.items()}
        sizes["hidden_dim"] = sizes.pop("intermediate_size")
        sizes["num_labels"] = 1  # one output: a regression
    if family in ("electra", "albert"):
        sizes["embedding_size"] = 32
    if family == "roberta":
        sizes |= {"type_vocab_size": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **(sizes | changes)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.15 if parameter.ndim > 1 else 0.02))
    model.save_pretrained(folder)
    return folder


def torch_logits(folder: Path, arrays: dict[str, npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
    """What Hugging Face's own model answers, by its own attention and mask."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if getattr(model.config, "type_vocab_size", 1) == 1:
        arrays = {name: values for name, values in arrays.items() if name != "token_type_ids"}
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(values) for name, values in arrays.items()}).logits
    return np.asarray(logits.numpy(), np.float32)


def static_int8(fp32: Path, out: Path) -> Path:
    """Quantize a `.tflite` file statically: LiteRT runs it, and tflite-runtime 2.14 aborts the process on it."""
    from ai_edge_quantizer import quantizer, recipe
    from attar.export.wrapper import quiet

    arrays = {name: values.astype(np.int32) for name, values in collate(texts(count=1), 0, LENGTH).items()}
    with quiet():
        tool = quantizer.Quantizer(str(fp32), recipe.static_wi8_ai8())
        ranges = tool.calibrate({"serving_default": [arrays]})
        data = tool.quantize(ranges, enable_progress_report=False).quantized_model
    assert data is not None
    out.write_bytes(bytes(data))
    return out


def texts(seed: int = 0, count: int = 12, longest: int = LENGTH) -> list[Features]:
    """Random rows of 3 to `longest` pieces."""
    draw = np.random.default_rng(seed)
    lengths = [longest, *draw.integers(3, longest + 1, count - 1)]
    return [
        Features(draw.integers(5, VOCABULARY, size).tolist(), (np.arange(size) >= size // 2).astype(int).tolist())
        for size in lengths
    ]


_made: dict[str, Exported] = {}


def artefacts(family: str, factory: pytest.TempPathFactory) -> Exported:
    """Every artefact of a family, made once for all test files; do not write into its folder."""
    if family not in _made:
        folder = made_once(factory, family, lambda folder: _make(family, folder))
        told = json.loads(_inputs_of(folder).read_text("utf-8"))
        inputs = {form: [Input.model_validate(one) for one in ones] for form, ones in told.items()}
        features = texts()
        logits = np.concatenate([torch_logits(folder, collate([row], PAD.get(family, 0))) for row in features])
        _made[family] = Exported(family, folder, inputs, features, logits)
    return _made[family]


def _inputs_of(folder: Path) -> Path:
    """Where it is kept what the exports said; not in the folder, which holds artefacts alone."""
    return folder.with_name(f"{folder.name}-inputs.json")


def _make(family: str, folder: Path) -> None:
    tiny_model(family, folder)
    inputs = {
        "onnx": onnx.export_fp32(folder, folder / "fp32.onnx"),
        "tflite": litert.export_fp32(folder, folder / "fp32.tflite", LENGTH),
    }
    told = {form: [one.model_dump() for one in ones] for form, ones in inputs.items()}
    _inputs_of(folder).write_text(json.dumps(told), "utf-8")
    quantization.onnx_dynamic_int8(folder / "fp32.onnx", folder / "int8.onnx")
    litert_quantization.dynamic_int8(folder / "fp32.tflite", folder / "int8-litert.tflite", "litert")
    litert_quantization.dynamic_int8(folder / "fp32.tflite", folder / "int8-old.tflite", "tflite-runtime")
    ort_format.convert(folder / "fp32.onnx", folder / "fp32.ort")
    ort_format.convert(folder / "int8.onnx", folder / "int8.ort")


@pytest.fixture(params=FAMILIES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return artefacts(request.param, tmp_path_factory)


def test_inputs_are_those_the_model_takes(exported: Exported) -> None:
    both = ["input_ids", "attention_mask"]
    expected = [*both, "token_type_ids"] if exported.family in ("bert", "electra") else both
    assert [one.name for one in exported.inputs["onnx"]] == expected
    assert {one.dtype for one in exported.inputs["onnx"]} == {"int64"}
    assert {one.dtype for one in exported.inputs["tflite"]} == {"int32"}
    assert open_model(exported.folder / "fp32.onnx", "onnxruntime").inputs == expected
    assert open_model(exported.folder / "fp32.tflite", "litert").inputs == expected


@pytest.mark.parametrize(("batch", "width"), [(1, 1), (1, 38), (5, 20)])
def test_onnx_answers_like_torch_at_any_batch_and_length(exported: Exported, batch: int, width: int) -> None:
    rows = texts(seed=width, count=batch, longest=width) if width > 3 else [Features([7], [0])]
    arrays = collate(rows, exported.pad)
    found = open_model(exported.folder / "fp32.onnx", "onnxruntime").run(arrays)
    np.testing.assert_allclose(found, torch_logits(exported.folder, arrays), atol=1e-4)


@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_tflite_answers_like_torch(exported: Exported, runtime: str) -> None:
    runner = open_model(exported.folder / "fp32.tflite", runtime)
    found = runner.run(collate(exported.features, exported.pad))
    np.testing.assert_allclose(found, exported.logits, atol=1e-4)


@pytest.mark.parametrize(("file", "runtime"), [("fp32.onnx", "onnxruntime"), ("fp32.tflite", "litert")])
def test_padding_does_not_change_logits(exported: Exported, file: str, runtime: str) -> None:
    runner = open_model(exported.folder / file, runtime)
    row = exported.features[1:2]
    short, long = (runner.run(collate(row, exported.pad, length)) for length in (None, LENGTH))
    np.testing.assert_allclose(short, long, atol=1e-5)
    arrays = collate(row, exported.pad, LENGTH)
    arrays["input_ids"][arrays["attention_mask"] == 0] = 9  # what stands under the mask is not read
    if exported.family != "roberta":  # there the padding id itself decides the positions that follow
        np.testing.assert_allclose(runner.run(arrays), long, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_ort_form_answers_like_its_onnx(exported: Exported, precision: str) -> None:
    arrays = collate(exported.features, exported.pad)
    one, other = (
        open_model(exported.folder / f"{precision}.{ending}", "onnxruntime").run(arrays) for ending in ("onnx", "ort")
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("file", "runtime"),
    [
        ("int8.onnx", "onnxruntime"),
        ("int8.ort", "onnxruntime"),
        ("int8-litert.tflite", "litert"),
        ("int8-old.tflite", "tflite-runtime"),
    ],
)
def test_int8_passes_parity_in_its_runtime(exported: Exported, file: str, runtime: str) -> None:
    allowed = parity.tolerance("int8", exported.logits)
    found = parity.compare(exported.folder / file, runtime, exported.golden, allowed, exported.pad)
    assert found.passed, found.reason
    assert found.max_error is not None
    assert 1e-5 < found.max_error <= allowed  # it is int8, and right


def test_every_weight_is_stored_once(exported: Exported) -> None:
    total = sizes.count_parameters(exported.folder).total
    for file, bits in {"fp32": 32, "int8": 8}.items():
        for path in exported.folder.glob(f"{file}*.*"):
            ok, detail = sizes.check(path, total, bits)
            assert ok, f"{path.name}: {detail}"


def test_nothing_is_left_beside_the_artefacts(exported: Exported) -> None:
    left = {path.name for path in exported.folder.iterdir()} - {"config.json", "model.safetensors"}
    assert left == {"fp32.onnx", "int8.onnx", "fp32.ort", "int8.ort", "fp32.tflite"} | {
        "int8-litert.tflite",
        "int8-old.tflite",
    }


def test_files_tell_nothing_of_the_machine_that_wrote_them(exported: Exported) -> None:
    for path in exported.folder.glob("*.*"):
        if path.suffix in (".onnx", ".ort", ".tflite"):
            data = path.read_bytes()
            for word in (str(exported.folder), "site-packages", "/tmp/", "modeling_"):
                assert word.encode() not in data, f"{path.name} holds {word}"


def test_onnx_has_a_recent_opset_and_no_metadata(exported: Exported) -> None:
    import onnx as onnx_library

    model = onnx_library.load(exported.folder / "fp32.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import}[""] >= 20
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert [output.name for output in model.graph.output] == ["logits"]


def test_onnxruntime_fuses_biases_into_gelu_and_no_sums_into_norms(exported: Exported, tmp_path: Path) -> None:
    """The fused kernels are what is quick, or slow; see `export/onnx.py`."""
    import onnx as onnx_library
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(exported.folder / "fp32.onnx", options, providers=["CPUExecutionProvider"])
    names = {node.op_type for node in onnx_library.load(tmp_path / "optimized.onnx").graph.node}
    assert "BiasGelu" in names and not names & {"Erf", "SkipLayerNormalization"}


def test_a_shared_layer_is_stored_once(tmp_path: Path) -> None:
    import onnx as onnx_library

    tiny_model("albert", tmp_path, hidden_size=256, intermediate_size=512, num_hidden_layers=3)
    onnx.export_fp32(tmp_path, tmp_path / "fp32.onnx")
    total = sizes.count_parameters(tmp_path).total
    assert sizes.check(tmp_path / "fp32.onnx", total, 32)[0]
    model = onnx_library.load(tmp_path / "fp32.onnx")
    shared = next(one for one in model.graph.initializer if list(one.dims) == [256, 256])
    copy = model.graph.initializer.add()
    copy.CopyFrom(shared)
    copy.name = "written_twice"
    onnx_library.save(model, tmp_path / "twice.onnx")
    assert not sizes.check(tmp_path / "twice.onnx", total, 32)[0]
    copy.CopyFrom(max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data)))
    assert not sizes.total(model.ByteSize(), total, 32)[0]
    _shared_layers_are_quantized_once(tmp_path, total)


def _shared_layers_are_quantized_once(folder: Path, total: int) -> None:
    """In the float32 file a shared matrix stands behind a Transpose for each layer, where no quantizer sees it."""
    source, rows = folder / "fp32.onnx", texts(count=8)
    found = graphs.matrices(graphs.parted(graphs.load(source)))
    assert [len(one.nodes) for one in found if ".attention." in one.title or ".ffn" in one.title] == [3] * 6
    quantization.onnx_dynamic_int8(source, folder / "int8.onnx")
    static.onnx_static_int8(source, folder / "static.onnx", rows)
    bits = blocks.onnx_int4(source, folder / "int4.onnx", 32, [one.name for one in found if one.table])
    exact = np.array(parity.score_outputs(source, "onnxruntime", rows))
    for name, width in (("int8", 8.0), ("static", 8.0), ("int4", bits)):
        path = folder / f"{name}.onnx"
        ok, detail = sizes.check(path, total, width)
        assert ok, f"{name}: {detail}"
        assert path.stat().st_size < 1.05 * total * width / 8 + sizes.GRAPH_BYTES / 4, name
        error = np.abs(np.array(parity.score_outputs(path, "onnxruntime", rows)) - exact)
        assert error.mean() < 0.6 * np.std(exact), name


@pytest.mark.parametrize("part", ["all", "ffn"])
def test_layers_that_share_weights_are_tied_again_and_stored_once(part: Any, tmp_path: Path) -> None:
    import torch
    from attar.teachers import heads, sharing
    from transformers import AutoModelForSequenceClassification

    sizes_ = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 3, "vocab_size": 300}
    tiny_model("bert", tmp_path / "own", **sizes_)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "own")
    sharing.share(model, part)
    model.save_pretrained(tmp_path / "shared")
    onnx.export_fp32(tmp_path / "shared", tmp_path / "fp32.onnx")
    total = sizes.count_parameters(tmp_path / "shared").total
    ok, detail = sizes.check(tmp_path / "fp32.onnx", total, 32)
    assert ok and total < 0.75 * sizes.count_parameters(tmp_path / "own").total, detail
    arrays = collate([Features(row.input_ids[:8], row.token_type_ids[:8]) for row in texts(count=2)], 0)
    arrays["input_ids"] %= 300
    with torch.no_grad():
        wanted = heads.feed(heads.load("sequence", tmp_path / "shared"), "sequence", arrays).numpy()
    found = open_model(tmp_path / "fp32.onnx", "onnxruntime").run(arrays)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


AGAIN = """
import sys
from pathlib import Path
from attar.export import litert, onnx
folder, out = map(Path, sys.argv[1:])
onnx.export_fp32(folder, out / "fp32.onnx")
litert.export_fp32(folder, out / "fp32.tflite", 16)
"""


def test_another_process_writes_the_same_bytes_and_not_a_word(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = artefacts("distilbert", tmp_path_factory).folder
    command = [sys.executable, "-c", AGAIN, str(here), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    for file in ("fp32.onnx", "fp32.tflite"):
        digests = {hashlib.sha256((folder / file).read_bytes()).hexdigest() for folder in (here, tmp_path)}
        assert len(digests) == 1, file
    assert done.stdout == ""
    assert "litert" not in done.stderr.lower()


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AttarError, match=r"no config\.json"):
        onnx.export_fp32(tmp_path, tmp_path / "fp32.onnx")
    tiny_model("bert", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(AttarError, match=r"no model\.safetensors"):
        litert.export_fp32(tmp_path, tmp_path / "fp32.tflite", 8)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    tiny_model("bert", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AttarError, match="does not load"):
        onnx.export_fp32(tmp_path, tmp_path / "fp32.onnx")
    assert not (tmp_path / "fp32.onnx").exists()


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModel

    tiny_model("bert", tmp_path / "whole")
    AutoModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "body")
    with pytest.raises(AttarError, match=r"lack classifier\.bias"):
        onnx.export_fp32(tmp_path / "body", tmp_path / "fp32.onnx")


@pytest.mark.parametrize(("family", "length"), [("bert", 41), ("roberta", 39), ("bert", 0)])
def test_a_length_beyond_the_positions_is_refused(family: str, length: int, tmp_path: Path) -> None:
    tiny_model(family, tmp_path)
    with pytest.raises(AttarError, match=f"length {length} is outside of 1 to"):
        litert.export_fp32(tmp_path, tmp_path / "fp32.tflite", length)


@pytest.mark.parametrize("make", [ort_format.convert, quantization.onnx_dynamic_int8])
def test_a_damaged_onnx_file_is_one_clear_error(make: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a model" * 100)
    with pytest.raises(AttarError, match=r"failed|not an ONNX file"):
        make(tmp_path / "bad.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_conversion_may_replace_its_own_file(exported: Exported, tmp_path: Path) -> None:
    shutil.copy(exported.folder / "fp32.onnx", tmp_path / "model.onnx")
    quantization.onnx_dynamic_int8(tmp_path / "model.onnx", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == (exported.folder / "int8.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]

"""Quantization-aware training: the gradient, what the files hold, what is learnt, and that it goes on after a stop."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from attar import recipe
from attar.compress import blocks, factorizing, fake_quantization, graphs, grids, healing, quantization, sharing
from attar.export import onnx as exporter
from attar.recipe_file import parse
from attar.tasks.data import Data
from attar.tasks.encoding import Encoder
from attar.tasks.table import Example
from attar.tasks.text import TextTask
from attar.teachers import checkpoint, heads
from conftest import LABELS, SENTENCES, save_words, tiny_tokenizer
from helpers import Stop, silent, stop_at
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper
from safetensors.torch import load_file
from small_models import answers, small
from test_grids import by_runtime, drawn, grid
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

EIGHT, FOUR = grid(), grid(bits=4, embeddings=4, block=16)


@pytest.mark.parametrize("ours", [EIGHT, FOUR], ids=["8 bits", "4 bits"])
def test_the_gradient_goes_straight_through(ours: grids.Grid) -> None:
    weight, factor = (torch.from_numpy(drawn(seed, 6, 40)) for seed in (0, 1))
    for rounding in (ours.matrix, ours.flowing, lambda rows: ours.rows(rows, weight)):
        values = weight.clone().requires_grad_(True)
        found = fake_quantization.through(values, rounding)
        assert torch.equal(found, rounding(weight)) and not torch.equal(found, weight)
        (found * factor).sum().backward()  # type: ignore[no-untyped-call]
        assert torch.equal(values.grad, factor)  # 1 for every value: no range clips any


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_weights_and_flowing_states_learn_through_the_rounding(family: str) -> None:
    model = small(family, noise=0.1)
    with fake_quantization.fake_quantized(model, FOUR):
        arrays_of = {"input_ids": torch.arange(1, 9)[None]}
        model(**arrays_of, attention_mask=torch.ones(1, 8, dtype=torch.long)).logits.square().sum().backward()
        learning = dict(model.named_parameters())
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learning.values())
        matrices = [name for name in learning if name.endswith("parametrizations.weight.original")]
        assert len(matrices) == (3 * 6 + 2 if family == "bert" else 3 * 4 + 1)


def students(family: str) -> PreTrainedModel:
    """A small model: stock, or one of the compact types."""
    if family == "factorized":
        return factorizing.factorize(small("bert"), recipe.Factorize(rank=8))
    if family == "shared":
        return sharing.share(small("bert"), recipe.Share(part="ffn", start="mean"), None)  # type: ignore[arg-type]
    return small(family)


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert", "gpt2", "factorized", "shared"])
@pytest.mark.parametrize("ours", [EIGHT, FOUR], ids=["8 bits", "4 bits"])
def test_what_is_left_computes_what_was_learnt_with(family: str, ours: grids.Grid) -> None:
    model = students(family)
    names, exact, count = set(model.state_dict()), answers(model), checkpoint.unique_parameters(model)
    with fake_quantization.fake_quantized(model, dataclasses.replace(ours, activations=False)):
        inside = answers(model)
        assert checkpoint.unique_parameters(model) == count
    torch.testing.assert_close(answers(model), inside, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(inside, exact, atol=1e-3)
    assert set(model.state_dict()) == names
    assert checkpoint.unique_parameters(model) == count  # what was tied is tied
    with fake_quantization.fake_quantized(model, ours):  # activations change what it computes, and no weights
        assert not torch.equal(answers(model), inside)


ODD = arrays.arrays(  # small integers: ranges whose bounds lie halfway between two steps
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=st.integers(-8, 8).map(np.float32)
) | st.builds(drawn, st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 40))  # fmt: skip


def left(weight: npt.NDArray[np.float32], ours: grids.Grid, *, table: bool) -> npt.NDArray[np.float32]:
    """A weight as it is left after learning."""
    model = torch.nn.Module()
    pieces, width = weight.shape
    model.one = torch.nn.Embedding(pieces, width) if table else torch.nn.Linear(width, pieces)
    with torch.no_grad():
        model.one.weight.copy_(torch.from_numpy(weight))
    fake_quantization.leave_rounded(model, ours)
    found: npt.NDArray[np.float32] = model.one.weight.detach().numpy()
    return found


@settings(max_examples=60)
@given(ODD)
def test_the_quantizers_reproduce_what_is_left(weight: npt.NDArray[np.float32]) -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6 * float(np.abs(weight).max(initial=0)))
    rows = left(weight, FOUR, table=False)
    close(blocks.rounded(rows, 16, table=True), rows)
    for steps in (64, 127):
        for row in left(weight, grid(steps=steps), table=False):
            close(by_runtime(row, signed=True, reduced=steps == 64), row)
    for signed in (True, False):
        table = left(weight, grid(signed=signed), table=True)
        close(by_runtime(table, signed=signed), table)


def stored(path: Path, one: graphs.Matrix, block: int) -> npt.NDArray[np.float32]:
    """A matrix of a quantized ONNX file, widened again: (inputs, outputs), or the rows of a table."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    if f"{one.name}_Q4" in found:
        data, scales, zeros = (found[f"{one.name}_{part}"] for part in ("Q4", "scales", "zero_points"))
        return blocks.unpack((data, scales, zeros), data.shape[1] * block)
    if f"{one.name}_bytes" in found:
        data, scales, zeros = (found[f"{one.name}_{part}"] for part in ("bytes", "scales", "zeros"))
        width = 2 * data.shape[1]
        return blocks.unpack((data.reshape(len(data), -1, block // 2), scales, zeros), width).T
    parts = (found[f"{one.name}_{part}"] for part in ("quantized", "scale", "zero_point"))
    steps, scale, zero = (part.astype(np.float32) for part in parts)
    widened: npt.NDArray[np.float32] = (steps - zero) * scale
    return widened


@pytest.mark.parametrize(
    ("ours", "preset"),
    [(EIGHT, "any-cpu"), (grid(steps=127), "dot-product"), (FOUR, None)],
    ids=["7 bits", "8 bits", "4 bits"],
)
def test_a_file_has_the_weights_that_were_left(
    ours: grids.Grid, preset: recipe.Preset | None, onnx_file: Path, tmp_path: Path
) -> None:
    """Every matrix and table of a BERT, rounded in its float32 file."""
    model = graphs.parted(graphs.load(onnx_file))
    found, wanted = {one.name: one for one in graphs.matrices(model)}, {}
    for tensor in model.graph.initializer:
        if one := found.get(tensor.name):
            value = numpy_helper.to_array(tensor)
            rows = left(value if one.table else value.T, ours, table=one.table)
            wanted[one.name] = np.ascontiguousarray(rows if one.table else rows.T)
            tensor.CopyFrom(numpy_helper.from_array(wanted[one.name], one.name))
    rounded, out = tmp_path / "rounded.onnx", tmp_path / "quantized.onnx"
    onnx.save(model, rounded)
    if preset:
        quantization.onnx_dynamic_int8(rounded, out, preset)
    else:
        blocks.onnx_int4(rounded, out, ours.block, [])
    assert len(wanted) == 3 + 2 * 6 + 2
    for name, one in found.items():
        rows = stored(out, one, ours.block)[: len(wanted[name])]
        np.testing.assert_allclose(rows, wanted[name], rtol=1e-5, atol=1e-6, err_msg=one.title)


def test_a_gpts_file_has_the_matrices_and_tables_that_were_left(tmp_path: Path) -> None:
    """Of a rounded student, by way of its folder; 4 bits beside tables in 8."""
    model, ours = small("gpt2", num_hidden_layers=1), grid(bits=4, embeddings=8, block=16)
    fake_quantization.leave_rounded(model, ours)
    checkpoint.save(model, tmp_path)
    exporter.export_fp32(tmp_path, tmp_path / "model.onnx")
    found = graphs.matrices(graphs.parted(graphs.load(tmp_path / "model.onnx")))
    kinds = (torch.nn.Linear, Conv1D, torch.nn.Embedding)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    assert {one.title.removesuffix(".weight_Transposed") for one in found} == modules.keys()
    blocks.onnx_int4(tmp_path / "model.onnx", tmp_path / "int4.onnx", 16, [one.name for one in found if one.table])
    for one in found:
        module = modules[one.title.removesuffix(".weight_Transposed")]
        weight = module.weight.detach().numpy()  # type: ignore[operator, union-attr]
        weight = weight.T if isinstance(module, torch.nn.Linear) else weight
        rows = stored(tmp_path / "int4.onnx", one, 16)[: len(weight)]
        np.testing.assert_allclose(rows, weight, rtol=1e-5, atol=1e-6, err_msg=one.title)


TEXTS = [f"{SENTENCES[n % 8]} {SENTENCES[(n + 3) % 8]}" for n in range(24)]
ROWS = [Example(text, None, LABELS[n % 8 % 3], f"rows:{n}") for n, text in enumerate(TEXTS)]
DATA = Data(ROWS, ROWS, [], list(LABELS))
PLAN = {"epochs": 10, "learning_rate": 2e-3, "batch_size": 8, "weight_decay": 0.0, "keep": "last"}


def taught(family: str, folder: Path) -> Path:
    """The folder of a small teacher that reads the rows."""
    words = Tokenizer.from_file(str(tiny_tokenizer(folder)))
    places = {"n_positions" if family == "gpt2" else "max_position_embeddings": 32}
    model = small(family, num_hidden_layers=2, vocab_size=words.get_vocab_size(), noise=0.3, **places)
    checkpoint.save(model, folder)
    save_words(words, folder)
    return folder


def healed(teacher: Path, folder: Path, ours: grids.Grid, progress: Any = silent) -> dict[str, Any]:
    """Let a copy of the teacher learn on the grid."""
    spec = parse({"name": "qat", "task": {"builtin": "assistant", "max_length": 32}})
    student = heads.load("sequence", teacher)
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    checkpoint.save_tokenizer(teacher, folder)
    around = partial(fake_quantization.fake_quantized, grid=ours)
    plan, task = recipe.Healing.model_validate({"prediction": PLAN}), TextTask(spec.task, ROWS)
    work = folder / "checkpoints"
    return healing.heal(
        spec, plan, DATA, task, teacher, student, [1, 2], folder, work, progress, "1-quantize", around=around
    )


def logits(model: PreTrainedModel, teacher: Path, ours: grids.Grid | None = None) -> Tensor:
    """What it answers to the training rows, with the activations of the grid where one is given."""
    encoder = Encoder(teacher / "tokenizer.json", 32)
    features = TextTask(recipe.Task(builtin="assistant"), ROWS).encode(ROWS, encoder).features
    if ours is None:
        return torch.tensor(np.array(heads.answers(model, "sequence", features, encoder.pad_id)))
    with fake_quantization.fake_quantized(model, ours):
        return logits(model, teacher)


@pytest.mark.parametrize("family", ["distilbert", "gpt2"])
def test_learning_on_the_grid_loses_less_than_rounding(family: str, tmp_path: Path) -> None:
    teacher = taught(family, tmp_path / "teacher")
    exact = logits(heads.load("sequence", teacher), teacher)
    rounded = heads.load("sequence", teacher)
    fake_quantization.leave_rounded(rounded, FOUR)
    found = healed(teacher, tmp_path / "student", FOUR)
    learnt = heads.load("sequence", tmp_path / "student")
    written, names = (load_file(one / "model.safetensors").keys() for one in (tmp_path / "student", teacher))
    assert written == names
    losses = [
        float((logits(model, teacher, FOUR).softmax(-1) - exact.softmax(-1)).square().mean())
        for model in (rounded, learnt)
    ]
    assert losses[1] < 0.3 * losses[0], losses
    dev = heads.load("sequence", tmp_path / "student")
    fake_quantization.leave_rounded(dev, FOUR)
    for name, weight in learnt.named_parameters():  # what was saved is rounded already
        torch.testing.assert_close(dev.get_parameter(name), weight, rtol=1e-5, atol=1e-6)
    right = [LABELS.index(row.label) for row in ROWS]
    accuracy = float((logits(learnt, teacher).argmax(-1) == torch.tensor(right)).float().mean())
    assert found["scores"]["dev"]["accuracy"] == pytest.approx(accuracy)


def test_healing_goes_on_after_a_stop_to_the_same_end(tmp_path: Path) -> None:
    teacher = taught("distilbert", tmp_path / "teacher")
    healed(teacher, tmp_path / "whole", EIGHT)
    with pytest.raises(Stop):
        healed(teacher, tmp_path / "stopped", EIGHT, stop_at("prediction", 14))
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    healed(teacher, tmp_path / "stopped", EIGHT)
    whole, stopped = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[name], weight) for name, weight in stopped.items())

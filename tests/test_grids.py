"""The grids of fake quantization against ONNX Runtime's own and LiteRT's own quantizers and kernels."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from attar import recipe
from attar.compress import blocks, grids
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.quant_utils import quantize_data
from test_export import artefacts

Values = npt.NDArray[np.float32]
MATRIX = grids.Grid(bits=8, embeddings=8, block=32, steps=64, signed=False, activations=True)


def grid(**changes: Any) -> grids.Grid:
    return grids.Grid(**(vars(MATRIX) | changes))


def drawn(seed: int, *shape: int) -> Values:
    """Numbers of very different sizes."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=shape) * np.exp(draw.normal(size=shape))).astype(np.float32)


def by_runtime(values: Values, *, signed: bool, reduced: bool = False) -> Values:
    """Values with one scale, as ONNX Runtime's quantizer stores them."""
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    zero, scale, stored = quantize_data(values.ravel(), kind, symmetric=signed, reduce_range=reduced)
    return ((stored.astype(np.float32) - np.float32(zero)) * scale).reshape(values.shape)


def ran(node: Any, x: Values, **weights: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """What ONNX Runtime computes with one operator."""
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    found: list[npt.NDArray[Any]] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    return found


@pytest.mark.parametrize(("steps", "reduced"), [(64, True), (127, False)])
def test_int8_weights_have_a_scale_for_each_output(steps: int, reduced: bool) -> None:
    weight = drawn(0, 20, 33)
    weight[3] = 0
    found = grid(steps=steps).matrix(torch.from_numpy(weight)).numpy()
    wanted = np.stack([by_runtime(row, signed=True, reduced=reduced) for row in weight])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert max(len(np.unique(row)) for row in found) <= 2 * steps + 1


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shift", [-30.0, 0.0, 30.0])  # ranges that lie on one side of 0 too
def test_a_table_in_8_bits_has_one_scale(signed: bool, shift: float) -> None:
    table = drawn(1, 50, 16) + np.float32(shift)
    tensor = torch.from_numpy(table)
    found = grid(signed=signed).rows(tensor, tensor)
    np.testing.assert_allclose(found.numpy(), by_runtime(table, signed=signed), rtol=1e-5, atol=1e-6)
    pieces = torch.tensor([[3, 4], [4, 40]])  # a row alone is rounded as in the table
    assert torch.equal(grid(signed=signed).rows(tensor[pieces], tensor), found[pieces])


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 5), st.sampled_from([16, 32, 64]), st.integers(0, 2**31))
def test_4_bits_are_the_runtimes_blocks(inputs: int, outputs: int, block: int, seed: int) -> None:
    weight = drawn(seed, outputs, inputs)
    found = grid(bits=4, embeddings=4, block=block)
    tensor = torch.from_numpy(weight)
    wanted = blocks.rounded(weight, block, table=True)
    np.testing.assert_allclose(found.matrix(tensor).numpy(), wanted, rtol=1e-5, atol=1e-7)
    assert torch.equal(found.rows(tensor, tensor), found.matrix(tensor))


def test_activations_beside_int8_are_quantized_as_the_runtime_does() -> None:
    states = drawn(2, 3, 7, 24)
    found = MATRIX.flowing(torch.from_numpy(states)).numpy()
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    for ours, sequence in zip(found, states, strict=True):
        stored, scale, zero = ran(node, sequence)
        np.testing.assert_allclose(ours, (stored.astype(np.float32) - zero) * scale, rtol=1e-5, atol=1e-6)
    pooled = MATRIX.flowing(torch.from_numpy(states[:, 0])).numpy()
    (stored, scale, zero) = ran(node, states[1, 0])
    np.testing.assert_allclose(pooled[1], (stored.astype(np.float32) - zero) * scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("block", "inputs"), [(16, 48), (32, 96), (32, 70), (64, 64)])
def test_a_product_in_4_bits_is_what_the_runtimes_kernel_gives(block: int, inputs: int) -> None:
    weight, states = drawn(3, 8, inputs), drawn(4, 5, inputs)
    data, scales, zeros = blocks.pack(np.ascontiguousarray(weight.T), block)
    sizes = {"K": inputs, "N": 8, "bits": 4, "block_size": block, "accuracy_level": blocks.ACCURACY_LEVEL}
    node = helper.make_node("MatMulNBits", ["x", "data", "scales", "zeros"], ["y"], domain="com.microsoft", **sizes)
    (wanted,) = ran(node, states, data=data, scales=scales, zeros=zeros)
    ours = grid(bits=4, block=block)
    found = ours.flowing(torch.from_numpy(states)) @ ours.matrix(torch.from_numpy(weight)).T
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(states @ weight.T - wanted).max() > 100 * np.abs(found.numpy() - wanted).max()


def constants(path: Path) -> dict[str, tuple[npt.NDArray[Any], Any]]:
    """The matrices of a `.tflite` file by name, each with its scales."""
    interpreter = Interpreter(str(path))
    found = {}
    for tensor in interpreter.get_tensor_details():
        with contextlib.suppress(ValueError):  # what is computed has no value yet
            value = interpreter.get_tensor(tensor["index"])
            if value.ndim == 2:
                found[tensor["name"]] = (value, tensor["quantization_parameters"]["scales"])
    return found


def test_litert_writes_the_signed_grid(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, ours = artefacts("bert", tmp_path_factory).folder, grid(steps=127, signed=True)
    exact, scales = constants(folder / "fp32.tflite"), set()
    for name, (stored, scale) in constants(folder / "int8-litert.tflite").items():
        if stored.dtype == np.int8:
            weight = torch.from_numpy(exact[name][0].copy())
            found = ours.rows(weight, weight) if len(scale) == 1 else ours.matrix(weight)
            np.testing.assert_allclose(found.numpy(), stored * scale[:, None], rtol=1e-5, atol=1e-6, err_msg=name)
            scales.add(len(scale))
    assert scales == {1, 3, 64, 128}  # of the table, the head, and what gives states and neurons


def export(**words: Any) -> recipe.Export:
    return recipe.Export.model_validate({"onnx": ["fp32"], "ort": [], "tflite": []} | words)


def test_the_grid_is_that_of_the_files() -> None:
    eight, four = recipe.Quantize(bits=8), recipe.Quantize(bits=4, activations=None)
    both = ["dot-product", "any-cpu"]
    assert grids.of(eight, export(onnx=["int8"])).steps == 64
    assert grids.of(eight, export(ort=["int8-static"], processors=both)).steps == 64  # the coarser of the two
    assert grids.of(eight, export(onnx=["int8"], processors=["dot-product"])).steps == 127
    of_litert = grids.of(eight, export(tflite=["int8"]))
    assert (of_litert.steps, of_litert.signed) == (127, True)
    chosen = grids.of(four, export(onnx=["int4"], int4={"block": 64, "embeddings": 4}))
    assert (chosen.bits, chosen.block, chosen.embeddings, chosen.activations) == (4, 64, 4, False)
    assert not grids.of(four, export(onnx=["int4"])).signed

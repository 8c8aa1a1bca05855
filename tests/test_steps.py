"""The recipe words of `compress`: what they may say, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from attar.errors import UsageError
from attar.recipe import Factorize, Prune, Quantize, Recipe, Share, Step, Trim, dump
from attar.recipe_file import parse
from attar.stages.stage import stated
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (Prune, {"heads": 1.0}, "heads\n.*less than 1"),
        (Prune, {"ffn": -0.1}, "ffn\n.*greater than or equal to 0"),
        (Prune, {"hidden": 40}, "hidden\n.*less than 1"),
        (Prune, {"layers": float("nan")}, "layers\n"),
        (Prune, {}, "nothing would be cut"),
        (Prune, {"heads": 0.5, "steps": 0}, "steps\n.*greater than 0"),
        (Prune, {"heads": 0.5, "importance": "l1"}, "importance\n"),
        (Share, {"part": "heads"}, "part\n"),
        (Share, {"groups": 0}, "groups\n.*greater than 0"),
        (Share, {"start": "last"}, "start\n"),
        (Factorize, {}, "state one of `rank` and `bytes`"),
        (Factorize, {"rank": 8, "bytes": "1MB"}, "state one of `rank` and `bytes`"),
        (Factorize, {"rank": 0}, "rank\n.*greater than 0"),
        (Factorize, {"bytes": "much"}, "'much' is not a quantity"),
        (Quantize, {}, "bits\n.*required"),
        (Quantize, {"bits": 2}, "bits\n"),
        (Quantize, {"bits": 4, "block": 24}, "block\n"),
        (Quantize, {"bits": 8, "block": 32}, "`block` is for `bits: 4`"),
        (Quantize, {"bits": 8, "embeddings": 8}, "`embeddings` is for `bits: 4`"),
        (Quantize, {"bits": 8, "activations": 4}, "activations\n"),
        (Step, {"quantize": {"bits": 8}, "heal": None}, "`quantize` is learnt while"),
        (Step, {"quantize": {"bits": 8}, "heal": {"prediction": {"epochs": 0}}}, "`quantize` is learnt while"),
    ],
)
def test_what_is_refused(part: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        part.model_validate(values)


def test_defaults_and_units() -> None:
    assert Share() == Share(part="all", groups=1, start="best")
    assert Prune(heads=0.5).importance == "taylor"
    assert Factorize.model_validate({"bytes": "2MB"}).bytes == 2_000_000


FOUR = {"onnx": ["int4"], "ort": [], "tflite": []}


def whole(steps: list[dict[str, Any]], export: dict[str, Any]) -> Recipe:
    task = {"builtin": "assistant", "max_length": 32}
    return parse({"name": "small", "task": task, "compress": steps, "export": export})


@pytest.mark.parametrize(
    ("steps", "export", "message"),
    [
        ([{"quantize": {"bits": 8}}, {"trim": {}}], {}, "`trim` after `quantize` would undo its rounding"),
        ([{"quantize": {"bits": 8}}, {"quantize": {"bits": 4}}], {}, "`quantize` stands 2 times"),
        ([{"quantize": {"bits": 8}}], FOUR, "no such file is made; add int8 to export.onnx"),
        ([{"quantize": {"bits": 4}}], {}, "no such file is made; add int4 to export.onnx"),
        ([{"quantize": {"bits": 4}}], {"tflite": ["int4"]}, "the 4-bit blocks of ONNX"),
        ([{"quantize": {"bits": 4, "block": 64}}], FOUR, "quantize.block is 64 and export.int4.block 32"),
        ([{"quantize": {"bits": 4, "embeddings": 4}}], FOUR, "set export.int4.embeddings: 4"),
    ],
)
def test_a_quantization_that_no_file_has_is_one_line(
    steps: list[dict[str, Any]], export: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        whole(steps, export)
    assert message in caught.value.line() and "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("plan", "export"),
    [
        ({"bits": 8}, {}),
        ({"bits": 8}, {"onnx": [], "ort": ["int8-static"], "tflite": []}),
        ({"bits": 8}, {"onnx": [], "ort": [], "tflite": ["int8"]}),
        ({"bits": 4}, {"onnx": ["mixed"], "tflite": []}),
        ({"bits": 4, "block": 16, "embeddings": 4}, FOUR | {"int4": {"block": 16, "embeddings": 4}}),
    ],
)
def test_a_quantization_of_a_file_is_taken_and_written_out(plan: dict[str, Any], export: dict[str, Any]) -> None:
    spec = whole([{"trim": {}}, {"quantize": plan}], export)
    assert spec.steps == ["1-trim", "2-quantize"]
    assert parse(yaml.safe_load(dump(spec))) == spec


def test_keys_of_older_steps_stay() -> None:
    assert stated(Step(trim=Trim())).keys() == {"trim", "factorize", "share", "prune", "heal"}
    assert "quantize" in stated(Step(quantize=Quantize(bits=8)))

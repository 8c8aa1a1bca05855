"""OpenVINO with NNCF: the student converted from PyTorch, with weights in int8, and with activations in int8 too.

- `openvino.convert_model`, `nncf.compress_weights` and `nncf.quantize(model_type=TRANSFORMER)`, as NNCF's documentation
  does for models of this kind; the ranges of activations come from training rows.
- Files are run by OpenVINO.
- Both libraries would tell their makers that they are used; they take the absence of their messenger for a no.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from .shared import Work, main

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def openvino_nncf(work: Work) -> None:
    """fp32, int8 weights, int8 weights and activations."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import nncf
    import openvino

    graph = _converted(work, openvino)

    def save(model: Any, name: str) -> None:
        openvino.save_model(model, work.out / name, compress_to_fp16=False)

    def weights() -> None:
        save(nncf.compress_weights(graph.clone(), mode=nncf.CompressWeightsMode.INT8_ASYM), "weights.xml")

    def static() -> None:
        rows = nncf.Dataset(work.calibration(), lambda row: _arrays(row, graph))
        save(nncf.quantize(graph.clone(), rows, model_type=nncf.ModelType.TRANSFORMER), "static.xml")

    runtime = "openvino"
    work.make("openvino fp32", "fp32.xml", lambda: save(graph, "fp32.xml"), precision="fp32", runtime=runtime)
    work.make("openvino int8 weights (nncf)", "weights.xml", weights, runtime=runtime)
    work.make("openvino int8 static (nncf)", "static.xml", static, precision="int8-static", runtime=runtime)


def _converted(work: Work, openvino: Any) -> Any:
    """The student as OpenVINO's graph, of any batch and length."""
    model = AutoModelForSequenceClassification.from_pretrained(work.student).eval()
    names = [name for name in NAMES if name != "token_type_ids" or getattr(model.config, "type_vocab_size", 0) > 1]
    example = {name: torch.ones(1, 16, dtype=torch.long) for name in names}
    graph = openvino.convert_model(model, example_input=example)
    for name, entry in zip(names, graph.inputs, strict=True):
        entry.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        entry.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()
    return graph


def _arrays(row: dict[str, list[int]], graph: Any) -> dict[str, Any]:
    found = {name: np.asarray([values], np.int64) for name, values in row.items()}
    found["attention_mask"] = np.ones_like(found["input_ids"])
    return {entry.get_any_name(): found[entry.get_any_name()] for entry in graph.inputs}


if __name__ == "__main__":
    main(openvino_nncf, "openvino", "nncf")

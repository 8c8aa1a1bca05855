"""Optimum: export and quantize a student as optimum-onnx's documentation does.

- `ORTModelForSequenceClassification.from_pretrained(…, export=True)`, then `ORTQuantizer` with the configurations that
  its documentation gives for this kind of processor: dynamic int8 for AVX-512 VNNI, and for AVX2.
- The same class loads the ONNX files of attar's bundle, and must give the golden logits: a user of Optimum can take a
  bundle as it is.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from .shared import Work, main

KINDS = {"avx512_vnni": AutoQuantizationConfig.avx512_vnni, "avx2": AutoQuantizationConfig.avx2}


def optimum(work: Work) -> None:
    """fp32, and int8 for two kinds of processor."""
    fp32 = work.out / "fp32"

    def export() -> None:
        ORTModelForSequenceClassification.from_pretrained(work.student, export=True).save_pretrained(fp32)

    def quantize(kind: str) -> None:
        configuration = KINDS[kind](is_static=False, per_channel=False)
        ORTQuantizer.from_pretrained(fp32).quantize(save_dir=work.out / kind, quantization_config=configuration)

    work.make("optimum fp32", "fp32/model.onnx", export, precision="fp32")
    for kind in KINDS:
        work.make(f"optimum int8 {kind}", f"{kind}/model_quantized.onnx", partial(quantize, kind))
    _take(work)


def _take(work: Work) -> None:
    """Say where the bundle's own files are not what they should be in Optimum's class."""
    card = json.loads((work.bundle / "manifest.json").read_text("utf-8"))
    for artefact in card["artefacts"]:
        if artefact["runtime"] == "onnxruntime" and artefact["file"].endswith(".onnx"):
            model = ORTModelForSequenceClassification.from_pretrained(work.bundle, file_name=artefact["file"])
            worst = max(np.abs(_logits(model, one) - np.asarray(one["logits"])).max() for one in work.golden())
            allowed = artefact["golden_tolerance"]
            if not worst <= allowed:
                work.problems.append(f"{artefact['file']}: {worst:.3g} off in Optimum's class, {allowed:.3g} allowed")


def _logits(model: Any, one: dict[str, Any]) -> Any:
    arrays = {name: torch.tensor([one[name]]) for name in ("input_ids", "token_type_ids")}
    with torch.no_grad():
        return model(**arrays, attention_mask=torch.ones_like(arrays["input_ids"])).logits[0].numpy()


if __name__ == "__main__":
    main(optimum, "optimum", "optimum-onnx")

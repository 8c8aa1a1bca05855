"""A script for optimum's own environment: export and quantize a student as optimum-onnx's documentation does.

    python optimum_onnx.py STUDENT BUNDLE OUT      (the interpreter is that of Optimum's environment)

- `ORTModelForSequenceClassification.from_pretrained(…, export=True)`, then `ORTQuantizer` with the configurations that
  its documentation gives for this kind of processor: dynamic int8 for AVX-512 VNNI, and for AVX2.
- The same class loads the ONNX files of attar's bundle, and its logits of the golden examples are kept: a user of
  Optimum can take a bundle as it is.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig


def main(student: Path, bundle: Path, out: Path) -> None:
    """Write the files, and `said.json` beside them."""
    model = ORTModelForSequenceClassification.from_pretrained(student, export=True)
    model.save_pretrained(out / "fp32")
    made = {"optimum fp32": "fp32/model.onnx"}
    kinds = {"avx512_vnni": AutoQuantizationConfig.avx512_vnni, "avx2": AutoQuantizationConfig.avx2}
    for kind, configuration in kinds.items():
        quantizer = ORTQuantizer.from_pretrained(out / "fp32")
        quantizer.quantize(save_dir=out / kind, quantization_config=configuration(is_static=False, per_channel=False))
        made[f"optimum int8 {kind}"] = f"{kind}/model_quantized.onnx"
    versions = {name: metadata.version(name) for name in ("optimum", "optimum-onnx", "transformers", "onnxruntime")}
    said = {"made": made, "versions": versions, "bundle": _loaded(bundle)}
    (out / "said.json").write_text(json.dumps(said), "utf-8")


def _loaded(bundle: Path) -> dict[str, float]:
    """Largest error on the golden examples of each ONNX file of the bundle, in Optimum's class."""
    rows = [json.loads(line) for line in (bundle / "golden.jsonl").read_text("utf-8").splitlines()]
    golden = [sequence for row in rows for sequence in row.get("sequences", [row])]
    found = {}
    for file in sorted(bundle.glob("*.onnx")):
        model = ORTModelForSequenceClassification.from_pretrained(bundle, file_name=file.name)
        errors = [np.abs(_logits(model, one) - np.asarray(one["logits"])).max() for one in golden]
        found[file.name] = float(max(errors))
    return found


def _logits(model: Any, one: dict[str, Any]) -> Any:
    arrays = {"attention_mask": torch.ones(1, len(one["input_ids"]), dtype=torch.long)}
    for name in ("input_ids", "token_type_ids"):
        if name in one:
            arrays[name] = torch.tensor([one[name]])
    with torch.no_grad():
        return model(**arrays).logits[0].numpy()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

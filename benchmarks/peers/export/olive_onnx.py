"""Olive: conversion, its transformer optimizations and dynamic int8, as one workflow each.

- The passes are those of its documentation for a transformer on a CPU: `OnnxConversion`, `OrtTransformersOptimization`
  and `OnnxDynamicQuantization`; without a search, with their defaults.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from .shared import Work, main

CONVERSION = {"type": "OnnxConversion"}
OPTIMIZATION = {"type": "OrtTransformersOptimization", "model_type": "bert", "opt_level": 0, "only_onnxruntime": False}
QUANTIZATION = {"type": "OnnxDynamicQuantization"}
ROADS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "olive fp32": ("fp32", {"conversion": CONVERSION, "optimization": OPTIMIZATION}),
    "olive int8": ("int8", {"conversion": CONVERSION, "optimization": OPTIMIZATION, "quantization": QUANTIZATION}),
}


def olive(work: Work) -> None:
    """fp32 and int8."""
    for name, (precision, passes) in ROADS.items():
        file = f"{precision}.onnx"
        work.make(name, file, partial(_run, work, passes, file), precision=precision)


def _run(work: Work, passes: dict[str, dict[str, Any]], file: str) -> None:
    """One workflow, whose model is copied to the file."""
    from olive.workflows import run  # not with this module's: the light core has no olive

    place = work.out / f"{file}-workflow"
    run(
        {
            "input_model": {"type": "HfModel", "model_path": str(work.student), "task": "text-classification"},
            "systems": {
                "local": {
                    "type": "LocalSystem",
                    "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
                }
            },
            "passes": passes,
            "host": "local",
            "target": "local",
            "output_dir": str(place / "out"),
            "cache_dir": str(place / "cache"),
            "log_severity_level": 3,
        }
    )
    shutil.copyfile(next((place / "out").rglob("*.onnx")), work.out / file)


if __name__ == "__main__":
    main(olive, "olive-ai")

"""`.ort`: ONNX Runtime's own format, optimized ahead of time; the smaller mobile builds of the runtime load only it.

- `Fixed` style: the optimizations are saved in the graph, and none is left for the device. The answers are those of
  the ONNX file. Optimizations that are right on one kind of processor only are left out by the converter.
- The converter writes a list of operators beside its output; it works in a folder of its own, which goes.
- The converter orders initializers by a hash that differs between runs: the content is reproducible, the bytes are not.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import AttarError
from ..files import write_bytes
from .wrapper import first_line, quiet


def convert(onnx: Path, out: Path) -> None:
    """Write the `.ort` form of an ONNX file."""
    if not onnx.is_file():
        raise AttarError("no such model file", where=str(onnx))
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

            convert_onnx_models_to_ort(onnx, output_dir=Path(folder), optimization_styles=[OptimizationStyle.Fixed])
            data = (Path(folder) / onnx.name).with_suffix(".ort").read_bytes()
    except Exception as error:
        raise AttarError(f"the .ort conversion failed: {first_line(error)}", where=str(onnx)) from error
    write_bytes(out, data)

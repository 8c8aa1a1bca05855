"""float16 weights: half the bytes, for runtimes that compute in float32.

- ONNX Runtime's CPU has few operators in float16: the weights are stored in half and cast when the file is loaded, so
  that an answer takes as long, and as much memory, as from the float32 file. Only the file is smaller.
- Biases and layer norms stay float32; they weigh nothing.
- `.ort` is optimized ahead of time, which would do the casts and store float32 again: there is no such file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import AttarError
from ..export.wrapper import explained
from ..files import write_bytes
from . import graphs


def onnx_fp16(fp32: Path, out: Path) -> None:
    """Write a float32 ONNX file with its matrices in float16; a weight that float16 cannot hold is an error."""
    from onnx import helper, numpy_helper

    model = graphs.load(fp32)
    casts = []
    with explained("the conversion to float16", str(fp32)):
        for tensor in model.graph.initializer:
            if tensor.data_type != graphs.FLOAT32 or len(tensor.dims) < 2:
                continue
            name, values = tensor.name, numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                what = f"a weight of {name} is beyond float16's largest, {np.finfo(np.float16).max:g}"
                raise AttarError(what, where=str(fp32), fix="leave fp16 out of the export")
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=graphs.FLOAT32))
        nodes = [*casts, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        data = graphs.save(model)
    write_bytes(out, data)

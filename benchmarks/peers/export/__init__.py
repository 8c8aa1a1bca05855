"""Programs that export and quantize a student, each in an environment of its own.

- A peer is a script here and its line below; `../NAME.txt` lists what its environment needs. `shared` says what a
  script is given and what it leaves; `peer` runs it, and makes contenders of what it left.
- Scripts are run as `python -m export.SCRIPT` by the peer's interpreter, which has no attar.
"""

PEERS = {
    "optimum": "optimum_onnx",
    "olive": "olive_onnx",
    "sentence-transformers": "sentence_transformers_onnx",
    "openvino": "openvino_nncf",
    "executorch": "executorch_xnnpack",
}

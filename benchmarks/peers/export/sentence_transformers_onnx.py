"""sentence-transformers: its ONNX backend, and its own optimized and dynamically quantized files.

- A classifier of texts is its `CrossEncoder`; `export_optimized_onnx_model` and `export_dynamic_quantized_onnx_model`
  take one since release 4.1, as they take a `SentenceTransformer`.
"""

from __future__ import annotations

from functools import partial

from .shared import Work, main

KINDS = ("avx512_vnni", "avx2")


def sentence_transformers(work: Work) -> None:
    """fp32 as exported, fused at its highest level for the CPU, and int8 for two kinds of processor."""
    # not with this module's: the light core has none of it
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model, export_optimized_onnx_model

    model = CrossEncoder(str(work.student), backend="onnx", model_kwargs={"export": True})
    place = str(work.out)
    work.make("sentence-transformers fp32", "onnx/model.onnx", lambda: model.save_pretrained(place), precision="fp32")
    work.make(
        "sentence-transformers fp32 O3",
        "onnx/model_O3.onnx",
        lambda: export_optimized_onnx_model(model, "O3", place),
        precision="fp32",
    )
    for kind in KINDS:
        work.make(
            f"sentence-transformers int8 {kind}",
            f"onnx/model_qint8_{kind}.onnx" if kind != "avx2" else "onnx/model_quint8_avx2.onnx",
            partial(export_dynamic_quantized_onnx_model, model, kind, place),
        )


if __name__ == "__main__":
    main(sentence_transformers, "sentence-transformers")

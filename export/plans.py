"""Which files an export makes, from which, by what, and for which runtimes and processors.

- `teacher.onnx` is made for comparison only: what the student is measured against runs in the same runtime.
- `model-LENGTH.tflite` files are static. The int8 one comes in a second variant for tflite-runtime 2.14, in which
  the per-channel scales of the first give wrong answers without a word.
- Integer products of ONNX come in a file for each kind of processor that the recipe names (`processors`); LiteRT's
  kernels are right on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from .. import recipe
from ..compress import blocks, graphs, half, litert_quantization, quantization, sensitivity, static_int8
from ..compress.sensitivity import Sensitivity
from ..recipe import Preset
from ..tasks.task import Head
from . import cached, litert, onnx, ort_format, sizes
from .calibration import Rows
from .manifest import Input

Precision = Literal["fp32", "fp16", "int8", "int8-static", "int4", "mixed"]
ONNX, LITERT, OLD = "onnxruntime", "litert", "tflite-runtime"
INTEGER: tuple[Precision, ...] = ("int8", "int8-static", "mixed")  # with products of uint8 and int8, in ONNX Runtime


class Made(BaseModel):
    """What the maker of a file says of it."""

    inputs: list[Input] = []
    bits: float | None = None  # of a weight, over all matrices, where the precision does not say it
    matrices: list[Sensitivity] = []  # of a mixed one


@dataclass(frozen=True)
class Plan:
    """One file to make: from which file, by what, and which runtimes are meant to load it."""

    file: str
    precision: Precision
    runtimes: tuple[str, ...]
    make: Callable[[Path], Made | None]  # gets the folder
    of: Literal["teacher", "student"] = "student"
    length: int | None = None
    wanted: bool = True  # False: only an input of another file
    processor: Preset | None = None  # None: as right on one as on the other
    source: str = ""  # the file that it is another form of


def plans(spec: recipe.Export, head: Head, teacher: Path | None, student: Path, rows: Rows) -> list[Plan]:
    """The files in the order in which they can be made; the teacher's only where one is given."""
    return [
        *([_teacher(teacher, head)] if teacher else []),
        *_onnx_plans(spec, head, student, _Quantizer(spec, rows)),
        *(plan for length in spec.lengths if spec.tflite for plan in _tflite_plans(spec, head, student, length, rows)),
    ]


def _teacher(folder: Path, head: Head) -> Plan:
    file = "teacher.onnx"
    return Plan(file, "fp32", (ONNX,), lambda d: _onnx(folder, d / file, head), of="teacher")


def _onnx(model: Path, out: Path, head: Head) -> Made:
    return Made(inputs=cached.export_fp32(model, out) if head == "lm" else onnx.export_fp32(model, out, head))


def _onnx_plans(spec: recipe.Export, head: Head, student: Path, quantizer: _Quantizer) -> Iterator[Plan]:
    fp32 = "model.onnx"
    if not (spec.onnx or spec.ort):
        return
    yield Plan(fp32, "fp32", (ONNX,), lambda d: _onnx(student, d / fp32, head), wanted="fp32" in spec.onnx)
    if "fp32" in spec.ort:
        yield Plan("model.ort", "fp32", (ONNX,), _ort(fp32, "model.ort"), source=fp32)
    for precision in sorted({*spec.onnx, *spec.ort} - {"fp32"}, key=list(quantizer.makers).index):
        kinds: Sequence[Preset | None] = spec.processors if precision in INTEGER else [None]
        for kind in kinds:
            name = f"model-{precision}" + (f"-{kind}" if kind == "dot-product" else "")
            make, file, ort = quantizer.maker(precision, f"{name}.onnx", kind), f"{name}.onnx", f"{name}.ort"
            yield Plan(file, precision, (ONNX,), make, wanted=precision in spec.onnx, processor=kind)
            if precision in spec.ort:
                yield Plan(ort, precision, (ONNX,), _ort(file, ort), processor=kind, source=file)


def _ort(source: str, file: str) -> Callable[[Path], None]:
    return lambda d: ort_format.convert(d / source, d / file)


class _Quantizer:
    """What makes each precision of `model.onnx`."""

    def __init__(self, spec: recipe.Export, rows: Rows) -> None:
        self.spec, self.rows = spec, rows
        self._choice: list[Sensitivity] = []
        self.makers: dict[Precision, Callable[[Path, Path, Preset], Made | None]] = {
            "fp16": lambda fp32, out, kind: half.onnx_fp16(fp32, out),
            "int8": quantization.onnx_dynamic_int8,
            "int8-static": self._static,
            "int4": self._int4,
            "mixed": self._mixed,
        }

    def maker(self, precision: Any, file: str, kind: Preset | None) -> Callable[[Path], Made | None]:
        """What makes the file in a folder that has `model.onnx`."""
        return lambda d: self.makers[precision](d / "model.onnx", d / file, kind or "any-cpu")

    def _static(self, fp32: Path, out: Path, kind: Preset) -> None:
        how = self.spec.calibration
        rows, pad_id = self.rows.features, self.rows.pad_id
        static_int8.onnx_static_int8(fp32, out, rows, pad_id, how.method, how.percentile, kind)

    def _int4(self, fp32: Path, out: Path, kind: Preset) -> Made:
        tables = [one.name for one in graphs.matrices(graphs.load(fp32)) if one.table]
        wide = tables if self.spec.int4.embeddings == 8 else []
        return Made(bits=blocks.onnx_int4(fp32, out, self.spec.int4.block, wide, kind))

    def _mixed(self, fp32: Path, out: Path, kind: Preset) -> Made:
        block, how = self.spec.int4.block, self.spec.mixed
        if not self._choice:  # the same for every kind of processor
            found = sensitivity.measure(fp32, self.rows.features, block, self.rows.pad_id)
            self._choice = sensitivity.choose(found, how.share, how.noise)
        wide = [one.name for one in self._choice if one.wide]
        return Made(bits=blocks.onnx_int4(fp32, out, block, wide, kind), matrices=self._choice)


def _tflite_plans(spec: recipe.Export, head: Head, student: Path, length: int, rows: Rows) -> Iterator[Plan]:
    fp32 = f"model-{length}.tflite"
    yield Plan(
        fp32,
        "fp32",
        (LITERT, OLD),
        lambda d: Made(inputs=litert.export_fp32(student, d / fp32, length, head)),
        length=length,
        wanted="fp32" in spec.tflite,
    )
    tool, how = litert_quantization, spec.int4
    variants: list[tuple[Precision, str, tuple[str, ...], Callable[[Path, Path], Made | None]]] = [
        ("fp16", "fp16", (LITERT, OLD), tool.fp16),
        ("int8", "int8", (LITERT,), lambda source, out: tool.dynamic_int8(source, out, "litert")),
        ("int8", f"int8-{OLD}", (OLD,), lambda source, out: tool.dynamic_int8(source, out, "tflite-runtime")),
        (
            "int8-static",
            "int8-static",
            (LITERT,),
            lambda source, out: tool.static_int8(source, out, rows.features, length, rows.pad_id),
        ),
        ("int4", "int4", (LITERT,), lambda source, out: _litert_int4(source, out, how)),
    ]
    for precision, name, runtimes, make in variants:
        if precision in spec.tflite:
            file = f"model-{length}-{name}.tflite"
            yield Plan(file, precision, runtimes, _from(fp32, file, make), length=length)


def _from(source: str, file: str, make: Callable[[Path, Path], Made | None]) -> Callable[[Path], Made | None]:
    return lambda d: make(d / source, d / file)


def _litert_int4(fp32: Path, out: Path, how: recipe.Int4) -> Made:
    """Write the 4-bit file. A block has a scale of 16 bits; those of channels are not counted."""
    litert_quantization.int4(fp32, out, how.embeddings, how.tflite_block)
    dense = 4 + (16 / how.tflite_block if how.tflite_block else 0)
    return Made(bits=sizes.mean_bits(fp32, dense, how.embeddings))

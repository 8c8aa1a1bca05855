"""A whole run record built in code, with numbers that are clearly made up (1.11, 22.2, 3333…)."""

from __future__ import annotations

from typing import Any

from attar.benchmarks.record import (
    Check,
    Cost,
    Epoch,
    Latency,
    LayerPart,
    Layers,
    Limit,
    Model,
    Run,
    Share,
    Stage,
    Training,
)

ROWS = {"dev": 888, "test": 1777}


def latencies(p50: float, teacher: float | None = None, lengths: tuple[int, ...] = (16, 64)) -> list[Latency]:
    """Times that grow with the length and shrink with threads."""
    found = []
    for length in lengths:
        for threads in (1, 2):
            time = p50 * length / 64 / (1.6 if threads == 2 else 1.0)
            ratio = None if teacher is None else teacher / p50
            found.append(
                Latency(
                    length=length,
                    threads=threads,
                    queries=222,
                    p50_ms=time,
                    p90_ms=time * 1.11,
                    p99_ms=time * 1.44,
                    mean_ms=time * 1.02,
                    min_ms=time * 0.97,
                    ratio=ratio,
                )
            )
    return found


def model(
    name: str,
    runtime: str,
    precision: str,
    size: int | None,
    dev: float | None,
    p50: float | None,
    **other: Any,
) -> Model:
    """One row; the test score is a little below the dev score."""
    scores = {} if dev is None else {"dev": {"accuracy": dev, "f1": dev - 0.0111}, "test": {"accuracy": dev - 0.0022}}
    cost = (
        Cost()
        if p50 is None
        else Cost(
            load_s=p50 / 1111,
            first_ms=p50 * 1.33,
            peak_memory=int((size or 0) * 1.55),
            latencies=latencies(
                p50,
                111.1 if other.get("role") == "artefact" else None,
                (64,) if other.get("length") else (16, 64),
            ),
        )
    )
    values: dict[str, Any] = {
        "of": "student",
        "rows": ROWS if scores else {},
        "parameters": (size or 0) // 4,
    } | other
    return Model(
        name=name,
        runtime=runtime,
        precision=precision,
        file=f"artefacts/{name}",
        bytes=size,
        scores=scores,
        cost=cost,
        **values,
    )


def artefact(
    name: str, runtime: str, precision: str, size: int, dev: float, p50: float, error: float, **other: Any
) -> Model:
    return model(
        name,
        runtime,
        precision,
        size,
        dev,
        p50,
        role="artefact",
        golden_error=error,
        golden_agreement=other.pop("agreement", 1.0),
        **other,
    )


def epochs(count: int, losses: dict[str, float], dev: float | None = None) -> list[Epoch]:
    return [
        Epoch(
            epoch=n,
            losses={name: value / (1 + 0.55 * (n - 1)) for name, value in losses.items()},
            scores={} if dev is None else {"accuracy": dev + 0.0111 * min(n, 3) - 0.0022 * max(n - 3, 0)},
            seconds=111.1 + n,
            examples_per_second=66.6 - n,
        )
        for n in range(1, count + 1)
    ]


def sample(name: str = "made-up-sentiment") -> Run:
    """A run that meets its size and latency, misses its drop, and has one rejected artefact."""
    models = [
        model("teacher", "torch", "fp32", 99_999_999, 0.9222, 222.2, role="teacher", of="teacher"),
        artefact("teacher.fp32.onnx", "onnxruntime", "fp32", 99_111_111, 0.9222, 111.1, 3.3e-6, of="teacher"),
        model("student", "torch", "fp32", 33_333_333, 0.9089, 77.7, role="student"),
        artefact("model.fp32.onnx", "onnxruntime", "fp32", 33_111_111, 0.9089, 22.2, 2.2e-6),
        artefact("model.int8.onnx", "onnxruntime", "int8", 8_888_888, 0.9067, 11.1, 0.055, agreement=0.9888),
        artefact("model.int8.ort", "onnxruntime", "int8", 9_111_111, 0.9067, 11.2, 0.055, agreement=0.9888),
        artefact("model-64.fp32.tflite", "litert", "fp32", 33_222_222, 0.9089, 24.4, 4.4e-6, length=64),
        artefact(
            "model-64.int8.tflite",
            "litert",
            "int8",
            8_777_777,
            0.9011,
            13.3,
            0.111,
            length=64,
            agreement=0.9777,
        ),
        artefact(
            "model-64.int8.tflite",
            "tflite-runtime",
            "int8",
            8_777_777,
            0.5111,
            33.3,
            1.11,
            length=64,
            agreement=0.5555,
            status="rejected",
            reason="scores 51.1, 39.8 points away from its student (tolerance 0.5)",
        ),
    ]
    return Run(
        attar="0.0.0",
        name=name,
        created="2001-02-03T04:05:06Z",
        command=f"attar compress recipes/{name}.yaml --max-size 11.1MB --max-latency 15ms --max-drop 1.0",
        task={
            "kind": "classification",
            "metric": "accuracy",
            "labels": ["bad", "good"],
            "pair": False,
            "rows": {"train": 7777, **ROWS},
        },
        recipe={
            "name": name,
            "seed": 0,
            "task": {"kind": "classification", "max_length": 64},
            "student": {"kind": "tinybert", "layers": 4},
            "budget": {"max_size": 11_100_000},
        },
        machine={
            "processor": "Artificial CPU 1111",
            "architecture": "x86_64",
            "features": ["avx2"],
            "cores": 2,
            "memory": 22_222_222_222,
            "system": "Made-up Linux 1.1",
            "python": "3.11.1",
            "versions": {"numpy": "1.11.1", "onnxruntime": "1.11.1"},
            "load_average": [0.11, 0.22, 0.33],
            "governor": None,
        },
        provenance={
            "teacher": "made-up/teacher",
            "licence": "as found: Apache-2.0",
            "data": {
                "train": {"path": "train.tsv", "sha256": "1" * 64},
                "dev": {"path": "dev.tsv", "sha256": "2" * 64},
            },
        },
        stages=[
            Stage(name="teach", key="a1" * 32, seconds=444.4),
            Stage(name="distil", key="b2" * 32, seconds=999.9, reused=True),
        ],
        training=[
            Training(
                stage="teach",
                phase="finetune",
                examples=7777,
                epochs=epochs(3, {"cross_entropy": 0.444}, 0.8889),
                kept_epoch=3,
                peak_memory=2_222_222_222,
                threads=2,
            ),
            Training(
                stage="distil",
                phase="intermediate",
                examples=7777,
                epochs=epochs(5, {"embedding": 0.111, "hidden": 0.888, "attention": 0.555}),
                peak_memory=2_111_111_111,
                threads=2,
            ),
            Training(
                stage="distil",
                phase="prediction",
                examples=7777,
                epochs=epochs(5, {"soft": 0.333, "hard": 0.222}, 0.8756),
                kept_epoch=3,
                peak_memory=1_999_999_999,
                threads=2,
            ),
        ],
        models=models,
        shares={
            "teacher": [
                Share(part=p, parameters=n // 4, bytes=n)
                for p, n in (
                    ("embeddings", 44_444_444),
                    ("attention", 22_222_222),
                    ("feed-forward", 33_111_111),
                    ("head", 222_222),
                )
            ],
            "student": [
                Share(part=p, parameters=n // 4, bytes=n)
                for p, n in (
                    ("embeddings", 22_222_222),
                    ("attention", 4_444_444),
                    ("feed-forward", 6_555_555),
                    ("head", 111_112),
                )
            ],
        },
        layers=Layers(
            model="model.int8.onnx",
            length=64,
            parts=[
                LayerPart(layer=layer, part=part, parameters=size, bytes=size, ms=ms)
                for layer, part, size, ms in (
                    (None, "embeddings", 5_555_555, 0.55),
                    (1, "attention", 666_666, 3.33),
                    (1, "feed-forward", 1_111_111, 4.44),
                    (2, "attention", 555_555, 2.22),
                    (2, "feed-forward", 888_888, 1.11),
                    (None, "head", 99_999, 0.11),
                    (None, "graph and names", 11_114, 0.0),
                )
            ],
        ),
        layer_times={
            name: [
                {"part": part, "ms": ms * scale, "share": ms / 11.1}
                for part, ms in (
                    ("MatMulInteger", 5.55),
                    ("Attention", 2.22),
                    ("LayerNormalization", 0.77),
                    ("Gelu", 0.66),
                    ("Gather", 0.55),
                    ("Add", 0.44),
                    ("Softmax", 0.33),
                    ("Transpose", 0.33),
                    ("Reshape", 0.15),
                    ("Cast", 0.1),
                )
            ]
            for name, scale in (("model.int8.onnx", 1.0), ("model.fp32.onnx", 2.0))
        },
        checks=[
            Check(name="file sizes match unique parameters", passed=True, detail="8 files, largest excess 1.1 %"),
            Check(name="the student reloads", passed=True, detail="largest difference 0"),
            Check(
                name="artefacts agree with PyTorch",
                passed=False,
                detail="model-64.int8.tflite in tflite-runtime: error 1.11",
            ),
        ],
        limits=[
            Limit(name="max_size", limit=11_100_000, value=8_888_888, met=True, margin=2_211_112),
            Limit(name="max_latency", limit=15, value=11.1, met=True, margin=3.9),
            Limit(name="max_drop", limit=1.0, value=1.55, met=False, margin=-0.55),
        ],
        choice="model.int8.onnx",
        notes=[
            "Every number of this record is made up.",
            "Measured on two shared cores; read ratios, not times.",
        ],
    )

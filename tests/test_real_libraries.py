"""A bundle is read by the libraries that others use, with nothing of attar: LiteRT's interpreter, Optimum's class.

Optimum's class needs an environment that cannot be this one. Where `.peers/optimum` stands (the first
`python -m attar.benchmarks.peers.export RUN --peer optimum` builds it) the test runs; elsewhere it is skipped by name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from attar.benchmarks.peers import environments
from attar.export import bundle, golden
from attar.export.golden import Fed, Golden
from attar.export.manifest import Artefact, Manifest, TaskCard, TokenizerCard
from conftest import LABELS, TOLERANCE, tiny_tokenizer
from helpers import PATIENCE
from test_export import LENGTH, artefacts

ROOT = Path(__file__).parents[1]
OPTIMUM = """
import json, sys, torch
from optimum.onnxruntime import ORTModelForSequenceClassification
folder = sys.argv[1]
model = ORTModelForSequenceClassification.from_pretrained(folder)
found = []
for line in open(f"{folder}/golden.jsonl", encoding="utf-8"):
    one = json.loads(line)
    names = [name for name in ("input_ids", "token_type_ids") if name in one]
    arrays = {name: torch.tensor([one[name]]) for name in names}
    found.append(model(**arrays, attention_mask=torch.ones_like(arrays["input_ids"])).logits[0].tolist())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a `.tflite` file."""
    made = artefacts("bert", tmp_path_factory)
    folder = tmp_path_factory.mktemp("static")
    fed = [
        Fed(input_ids=row.input_ids, token_type_ids=row.token_type_ids, logits=[float(value) for value in logits])
        for row, logits in zip(made.features, made.logits, strict=True)
    ]
    golden.write(folder / "golden.jsonl", [Golden(text="-", sequences=[one]) for one in fed])
    artefact = Artefact(
        file="model.tflite",
        runtime="litert",
        precision="fp32",
        length=LENGTH,
        inputs=made.inputs["tflite"],
        golden_error=0.0,
        golden_tolerance=TOLERANCE,
    )
    card = Manifest(
        name="static",
        attar="0.1.0",
        task=TaskCard(kind="classification", labels=LABELS),
        tokenizer=TokenizerCard(max_length=LENGTH, pad_id=0),
        artefacts=[artefact],
        default="model.tflite",
        files={},
    )
    sources = {"model.tflite": made.folder / "fp32.tflite", "golden.jsonl": folder / "golden.jsonl"}
    bundle.build(folder / "bundle", card, sources | {"tokenizer.json": tiny_tokenizer(folder / "tokenizer")})
    return folder / "bundle"


def test_a_plain_litert_interpreter_gives_the_golden_logits(static: Path) -> None:
    """By the file's own signature and the manifest's words alone."""
    from ai_edge_litert.interpreter import Interpreter

    card = json.loads((static / "manifest.json").read_text("utf-8"))
    artefact = card["artefacts"][0]
    interpreter = Interpreter(model_path=str(static / artefact["file"]))
    answer = interpreter.get_signature_runner()
    for line in (static / card["golden"]).read_text("utf-8").splitlines():
        for one in json.loads(line)["sequences"]:
            given = one | {"attention_mask": [1] * len(one["input_ids"])}
            arrays = {entry["name"]: np.zeros((1, artefact["length"]), entry["dtype"]) for entry in artefact["inputs"]}
            for name, array in arrays.items():
                array[0, : len(given[name])] = given[name]
            np.testing.assert_allclose(answer(**arrays)["logits"][0], one["logits"], atol=artefact["golden_tolerance"])


def test_optimums_class_gives_the_golden_logits(bundle_folder: Path, teacher: Path, tmp_path: Path) -> None:
    interpreter = ROOT / ".peers" / "optimum" / "bin" / "python"
    if not (interpreter.is_file() and (ROOT / ".peers/optimum/.ready").read_text() == environments.stated("optimum")):
        pytest.skip("the environment .peers/optimum is not here")
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    shutil.copy(teacher / "config.json", folder)  # a bundle of a run has it
    space = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(interpreter), "-c", OPTIMUM, str(folder)], capture_output=True, text=True, timeout=PATIENCE, env=space
    )
    assert done.returncode == 0, done.stderr
    examples = golden.read(folder / "golden.jsonl")
    wanted = [one.answer for example in examples for one in example.sequences]
    np.testing.assert_allclose(json.loads(done.stdout), wanted, atol=TOLERANCE)

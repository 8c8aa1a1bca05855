"""Models of the hub: taken from the library's cache without a network, with the digest of what stands there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attar import pipeline
from attar.errors import AttarError
from attar.files import read_json, write_json
from attar.recipe_file import parse
from attar.teachers import checkpoint, hub
from conftest import LABELS, SENTENCES

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache that holds one model, as `hf download owner/tiny` leaves it; files are links to blobs."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "models--owner--tiny"
    snapshot = place / "snapshots" / COMMIT
    (place / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(one for one in teacher.iterdir() if one.is_file())):
        shutil.copyfile(file, place / "blobs" / str(number))
        (snapshot / file.name).symlink_to(place / "blobs" / str(number))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT, "utf-8")
    hub.snapshot.cache_clear()
    yield snapshot
    hub.snapshot.cache_clear()


def test_a_cached_model_is_a_folder_with_its_digest(cached: Path, teacher: Path) -> None:
    assert checkpoint.locate("owner/tiny") == cached
    assert checkpoint.digest(cached) == checkpoint.digest(teacher)
    assert hub.revision(cached) == COMMIT and hub.revision(teacher) is None


def test_a_run_names_the_commit_and_follows_the_weights(cached: Path, tmp_path: Path) -> None:
    """A stage of other weights under the same id is not taken for that of these."""
    rows = "\n".join(["label\ttext", *(f"{LABELS[n % 3]}\t{SENTENCES[n % 8]}" for n in range(8))])
    (tmp_path / "rows.tsv").write_text(rows, "utf-8")
    path = {"path": str(tmp_path / "rows.tsv")}
    values = {
        "name": "hub",
        "threads": 1,
        "task": {"train": path, "dev": path, "max_length": 32},
        "teacher": {"model": "owner/tiny", "finetune": False},
    }
    first = pipeline.run(parse(values), tmp_path / "run", until="teach")
    assert first.provenance()["teacher_revision"] == COMMIT
    assert read_json(tmp_path / "run" / "run.json")["provenance"]["teacher_weights"] == checkpoint.digest(cached)
    assert pipeline.run(parse(values), tmp_path / "run", until="teach").stages[0]["reused"]
    config = read_json(cached / "config.json") | {"hidden_dropout_prob": 0.3}
    (cached / "config.json").unlink()
    write_json(cached / "config.json", config)
    assert not pipeline.run(parse(values), tmp_path / "run", until="teach").stages[0]["reused"]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_what_the_cache_lacks_is_one_line_without_a_network(cached: Path, lost: str) -> None:
    (cached / lost).unlink()
    with pytest.raises(AttarError) as told:
        checkpoint.locate("owner/tiny")
    assert told.value.where == "owner/tiny" and "\n" not in told.value.line()
    with pytest.raises(AttarError, match="the hub does not give it"):
        checkpoint.locate("owner/unknown")


def test_weights_in_parts_are_whole_where_all_of_them_are(cached: Path) -> None:
    (cached / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1-of-2.safetensors"}}', "utf-8")
    assert not hub._whole(cached)
    (cached / "model-1-of-2.safetensors").write_bytes(b"")
    assert hub._whole(cached)


@pytest.mark.parametrize("how", ["stated", "weights"])
def test_a_quantized_model_is_no_teacher(teacher: Path, tmp_path: Path, how: str) -> None:
    import json

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(teacher, folder)
    assert checkpoint.locate(str(folder)) == folder
    if how == "stated":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        said = "quantization_config: bitsandbytes"
    else:
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("query.weight"))
        weights[name] = (100 * weights[name]).to(torch.int8)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        said = f"{name} is I8"
    with pytest.raises(AttarError) as told:
        checkpoint.locate(str(folder))
    assert f"quantized already ({said})" in told.value.line() and "name the checkpoint" in told.value.line()

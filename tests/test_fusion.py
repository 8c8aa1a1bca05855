"""The stage `knowledge`: a graph beside text, from a recipe to a teacher and its student; and what the folders know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attar import pipeline, recipe, training
from attar.cli import main
from attar.errors import AttarError, UsageError
from attar.recipe_file import parse
from attar.scores import record as scores_record
from attar.tasks.encoding import Encoder
from attar.teachers import checkpoint, fusion
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import Stop, silent, stop_at
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

THINGS = ["lights", "lamp", "song", "music", "rain", "snow", "kitchen", "bedroom"]
PLACES = ["house", "house", "evening", "evening", "outside", "outside", "house", "house"]
TRAIN = [("lights", "is_a", "lamp"), ("song", "is_a", "music"), ("rain", "like", "snow"), ("snow", "like", "rain")]
TRAIN += [(thing, "found_in", place) for thing, place in zip(THINGS, PLACES, strict=True)]
DEV = [("lamp", "is_a", "lights"), ("lamp", "found_in", "evening"), ("lamp", "found_in", "moon")]
PHASE = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "keep": "last"}


def write_triples(path: Path, rows: list[tuple[str, ...]]) -> str:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher without a masked-LM head, a text, a graph with one unknown entity, and rows of a task."""
    folder = tmp_path_factory.mktemp("fusion")
    (tiny_teacher(folder / "model") / "LICENSE").write_text("MIT License\n", "utf-8")
    (folder / "text.txt").write_text("\n\n".join(SENTENCES * 3), "utf-8")
    write_triples(folder / "train.txt", TRAIN)
    write_triples(folder / "dev.txt", DEV)
    rows = [f"{LABELS[n % 3]}\t{SENTENCES[n % 3]}\n" for n in range(24)]
    (folder / "rows.tsv").write_text("label\ttext\n" + "".join(rows), "utf-8")
    return folder


def knowledge(home: Path, **options: Any) -> dict[str, Any]:
    return {
        "graph": {
            "train": {"triples": str(home / "train.txt")},
            "dev": {"triples": str(home / "dev.txt")},
            "unknown": "skip",
        },
        "corpus": {"paths": [str(home / "text.txt")], "document": "paragraph"},
        "max_length": 24,
        "head": PHASE,
        "fuse": {**PHASE, "triples": 8, **options.pop("fuse", {})},
        "transe": {"epochs": 2, "batch_size": 8, "dimension": 4},
        **options,
    }


def whole(home: Path, fused: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": "fused",
        "threads": 1,
        **({"knowledge": fused} if fused else {}),
        "task": {"train": {"path": str(home / "rows.tsv")}, "max_length": 24},
        "teacher": {"model": str(home / "model"), "training": {"epochs": 1, "batch_size": 8}},
        "student": {"kind": "tinybert", "layers": 1, "hidden_size": 16, "heads": 4, "intermediate_size": 32},
        "distil": {"intermediate": None, "prediction": {"epochs": 1, "batch_size": 8}},
        "export": {"onnx": ["fp32"], "ort": [], "tflite": []},
    }


@pytest.fixture(scope="module")
def run(home: Path) -> pipeline.Context:
    """A recipe with a graph, up to its artefacts."""
    return pipeline.run(parse(whole(home, knowledge(home))), home / "runs" / "fused", until="export")


def test_a_fused_teacher_is_a_stock_folder(home: Path, run: pipeline.Context) -> None:
    assert [stage["name"] for stage in run.stages] == ["knowledge", "teach", "distil", "export"]
    found = run.results["knowledge"]
    assert [one["phase"] for one in found["training"]] == ["fuse", "transe"]
    assert set(found["training"][0]["epochs"][0]["losses"]) == {"mlm", "knowledge"}
    assert (found["entities"], found["relations"], found["ranked"]) == (11, 3, 2)
    assert found["rows"] == {"text": 24, "train": 12, "dev": 2}
    assert found["skipped"]["unknown"] == {"train": 0, "dev": 1}
    assert list(found["links"]) == ["before", "after", "after, learnt relations", "TransE"]
    assert all(0 < scores["mrr"] <= 1 for scores in found["links"].values())
    model = AutoModelForMaskedLM.from_pretrained(run.out / "fused")
    words = AutoTokenizer.from_pretrained(run.out / "fused")
    assert model(**words("turn on the [MASK]", return_tensors="pt")).logits.shape[-1] == len(words)
    before, after = (load_file(folder / "model.safetensors") for folder in (home / "model", run.out / "fused"))
    changed = [name for name, weight in before.items() if name in after and not torch.equal(weight, after[name])]
    assert any("layer.1." in name for name in changed)  # the encoder learnt, all the way up
    assert run.results["teach"]["licence"] == "MIT (model card)"
    assert run.results["teach"]["source"].endswith("fused with a knowledge graph here")
    record = json.loads((run.out / "run.json").read_text("utf-8"))
    assert [one["stage"] for one in record["training"]] == ["knowledge", "knowledge", "teach", "distil"]
    assert record["notes"][0].startswith("links, filtered MRR over 2 held-out triples: before ")


def test_the_graph_costs_the_phone_nothing(home: Path, run: pipeline.Context) -> None:
    """The student of a fused teacher: the same parts, files and bytes as the student of the teacher as it was."""
    plain = pipeline.run(parse(whole(home, None)), home / "runs" / "plain", until="export")
    students = [load_file(one.out / "student" / "model.safetensors") for one in (run, plain)]
    shapes = [{name: tensor.shape for name, tensor in student.items()} for student in students]
    assert shapes[0] == shapes[1]
    assert any(not torch.equal(tensor, students[1][name]) for name, tensor in students[0].items())  # yet another model
    for part in ("student", "artefacts"):
        sizes = [{p.name: p.stat().st_size for p in (one.out / part).iterdir()} for one in (run, plain)]
        assert set(sizes[0]) == set(sizes[1])
        for name in ("config.json", "model.safetensors", "model.onnx"):
            assert sizes[0].get(name) == sizes[1].get(name)
    assert (run.out / "artefacts" / "model.onnx").is_file()


def test_a_second_run_reuses_it_and_shows_what_was_skipped(
    home: Path, run: pipeline.Context, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump(whole(home, knowledge(home))), "utf-8")
    before = (run.out / "fused" / "model.safetensors").stat().st_mtime_ns
    assert main(["teach", str(path), "--out", str(run.out), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "skipped 1 dev triples: an entity or relation that no training triple has" in said
    assert "2 of 2 held-out triples" in said and "TransE" in said
    assert (run.out / "fused" / "model.safetensors").stat().st_mtime_ns == before


def test_every_file_is_in_the_key(home: Path, tmp_path: Path) -> None:
    values = knowledge(home, corpus={"paths": [str(tmp_path / "t.txt")]})
    for name in ("train", "dev"):
        values["graph"][name] = {kind: str(tmp_path / f"{name}-{kind}") for kind in ("triples", "words")}
    spec = recipe.Knowledge.model_validate(values)
    files = [
        tmp_path / "t.txt",
        *(Path(path) for split in ("train", "dev") for path in values["graph"][split].values()),
    ]
    for file in files:
        file.write_text("one\n", "utf-8")
    seen = [json.dumps(fusion.inputs(spec))]
    for file in files:
        file.write_text("two\n", "utf-8")
        seen.append(json.dumps(fusion.inputs(spec)))
    assert len(set(seen)) == len(files) + 1


def test_a_killed_fusion_ends_with_the_same_bytes(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = recipe.Knowledge.model_validate(knowledge(home))
    found = fusion.fuse(spec, home / "model", 1, tmp_path / "whole", silent)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stop):
        fusion.fuse(spec, home / "model", 1, tmp_path / "cut", stop_at("knowledge", 3))
    again = fusion.fuse(spec, home / "model", 1, tmp_path / "cut", silent)
    assert again["links"] == found["links"]
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()


def test_weight_zero_learns_the_text_alone(home: Path, tmp_path: Path) -> None:
    spec = recipe.Knowledge.model_validate(knowledge(home, fuse={"weight": 0}, transe=None))
    found = fusion.fuse(spec, home / "model", 0, tmp_path, silent)
    assert list(found["links"]) == ["before", "after"]
    assert set(found["training"][0]["epochs"][0]["losses"]) == {"mlm"}


# bad input


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("train", [*TRAIN, ("lamp", "is_a")], "train.txt:13: 2 columns where 3 were expected"),
        ("train", [*TRAIN, ("lamp", "is_a", "song", "1")], "train.txt:13: 4 columns where 3 were expected"),
        ("train", [], "train.txt: the file is empty"),
        ("train", [*TRAIN, ("lamp", "is_a", "☃☃")], "train.txt:13: the entity '☃☃' ('☃☃') has no words in"),
        ("dev", DEV, "dev.txt:3: the entity 'moon' is in no training triple"),
        ("dev", [("lamp", "eats", "song")], "dev.txt:1: the relation 'eats' is in no training triple"),
    ],
)
def test_a_bad_graph_is_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: list[tuple[str, ...]], said: str
) -> None:
    values = whole(home, knowledge(home))
    graph = values["knowledge"]["graph"] | {"unknown": "error"}
    graph["dev"] = {"triples": write_triples(tmp_path / "fine.txt", DEV[:2])}
    graph[name] = {"triples": write_triples(tmp_path / f"{name}.txt", rows)}
    values["knowledge"]["graph"] = graph
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values), "utf-8")
    assert main(["teach", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"), "--quiet"]) == 1
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1


def test_entities_without_words_are_counted(home: Path, tmp_path: Path) -> None:
    values = knowledge(home)["graph"]
    values["train"] = {"triples": write_triples(tmp_path / "train.txt", [*TRAIN, ("lamp", "is_a", "☃☃")])}
    graph, entities = fusion.read(recipe.Graph.model_validate(values), Encoder(home / "model/tokenizer.json", 8))
    assert graph.wordless == {"train": 1, "dev": 0} and "☃☃" not in graph.entities
    assert fusion.remarks(graph, entities, 8)[1] == "skipped 1 train triples: an entity without words in the vocabulary"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"teacher": {"finetune": False}}, "set teacher.finetune: true"),
        ({"teacher": {"start": "random"}}, "throws away"),
        ({"pretrain": {"corpus": {"paths": ["t.txt"]}, "objective": "causal"}, "teacher": {}}, "makes a GPT"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(home: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse({**whole(home, knowledge(home)), **options})


def test_a_length_beyond_the_teacher_is_refused(home: Path, tmp_path: Path) -> None:
    spec = recipe.Knowledge.model_validate(knowledge(home, entity_length=65))
    with pytest.raises(AttarError, match="the teacher holds 64 pieces"):
        fusion.fuse(spec, home / "model", 0, tmp_path, silent)


# what folders know


def test_teachers_and_students_stand_in_one_table(
    home: Path, run: pipeline.Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [home / "model", run.out / "fused", run.out / "student"]
    facts = [{"predicate_id": "P", "sub_label": thing, "obj_label": "the"} for thing in ("lights", "lamp")]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts), "utf-8")
    (tmp_path / "relations.jsonl").write_text('{"relation": "P", "template": "[X] in [Y] house"}\n', "utf-8")
    values = knowledge(home)
    places = {"facts": str(tmp_path / "facts.jsonl"), "relations": str(tmp_path / "relations.jsonl")}
    head = {name: values[name] for name in ("corpus", "max_length", "head")}
    files = {"train": values["graph"]["train"], "test": values["graph"]["dev"], "unknown": "skip"}
    scores = [{"kind": "facts", "name": "f", "head": head, **places}, {"kind": "links", "name": "l", **files}]
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump({"name": "known", "scores": scores}), "utf-8")
    monkeypatch.setenv("ATTAR_HEADS", str(tmp_path / "heads"))
    asked = ["score", *map(str, folders), str(tmp_path / "sheet.yaml"), "--quiet", "--out"]
    assert main([*asked, str(tmp_path / "first.json")]) == 0
    found, links = scores_record.load(tmp_path / "first.json").scores
    assert [one.rows for one in found.results] == [2] * 3
    after = run.results["knowledge"]["links"]["after"]
    assert {name: links.results[1].metrics[name] for name in after} == pytest.approx(after)
    assert all(0 < one.metrics["mrr"] <= 1 for one in links.results) and len(links.results) == 3
    heads = {path: path.stat().st_mtime_ns for path in (tmp_path / "heads").rglob("model.safetensors")}
    assert len(heads) == 3
    assert main([*asked, str(tmp_path / "again.json")]) == 0
    again = scores_record.load(tmp_path / "again.json").scores[0]
    assert [one.metrics for one in again.results] == [one.metrics for one in found.results]
    assert all(path.stat().st_mtime_ns == time for path, time in heads.items())
    trained = next(path.parent for path in heads if _same_encoder(path, run.out / "fused"))
    assert checkpoint.family(trained) == "bert"


def _same_encoder(path: Path, folder: Path) -> bool:
    """The head was trained over an encoder that stayed as it was."""
    one, other = load_file(path), load_file(folder / "model.safetensors")
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one if name.startswith("bert.")
    )

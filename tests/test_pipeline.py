"""The whole road on tiny real models: from a recipe to a bundle, resumed, reused, and refused where it must be."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from attar.benchmarks import report
from attar.cli import main
from attar.export.manifest import load as load_manifest
from attar.files import value_digest
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import PATIENCE

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
WEIGHTS = (
    "teacher/model.safetensors",
    "student/model.safetensors",
    "artefacts/model.onnx",
    "artefacts/model-int8.onnx",
)


def write_data(folder: Path, rows: int = 96) -> None:
    """Rows whose label can be learnt from a word."""
    words = {"lights": "lamp", "music": "song", "weather": "rain"}
    for name, count in (("train", rows), ("dev", 40)):
        lines = ["label\ttext"]
        for row in range(count):
            label = LABELS[row % len(LABELS)]
            lines.append(f"{label}\t{SENTENCES[row % len(SENTENCES)]} {words[label]} {words[label]} {row}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, data and a recipe that leaves out the slow conversions."""
    folder = tmp_path_factory.mktemp("road")
    tiny_teacher(folder / "model", layers=4)
    write_data(folder)
    recipe = {
        "name": "tiny",
        "threads": 1,
        "task": {
            "train": {"path": str(folder / "train.tsv")},
            "dev": {"path": str(folder / "dev.tsv")},
            "max_length": 32,
        },
        "teacher": {"model": str(folder / "model"), "training": {"epochs": 2, "learning_rate": 1e-3, "batch_size": 8}},
        "student": {"kind": "tinybert", "layers": 2, "hidden_size": 16, "heads": 4, "intermediate_size": 40},
        "distil": {
            "intermediate": {"epochs": 2, "learning_rate": 1e-3},
            "prediction": {"epochs": 2, "learning_rate": 1e-3},
        },
        "export": {"onnx": ["fp32", "int8"], "ort": [], "tflite": [], "tolerance": 10},
        "measure": {"lengths": [16], "threads": [1], "queries": 5, "warmup": 1},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """An undisturbed run."""
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(home / "runs" / "one"), "--quiet"]) == 0
    return home / "runs" / "one"


def test_a_run_leaves_everything(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((run / "run.json").read_text("utf-8"))
    names = [model["name"] for model in record["models"]]
    assert names == ["teacher", "student", "teacher.onnx", "model.onnx", "model-int8.onnx"]
    assert all(model["status"] == "ok" for model in record["models"])
    assert {check["passed"] for check in record["checks"]} == {True}
    by_name = {model["name"]: model for model in record["models"]}
    assert by_name["model.onnx"]["scores"] == by_name["student"]["scores"]
    assert by_name["model-int8.onnx"]["bytes"] < by_name["teacher.onnx"]["bytes"]
    assert by_name["model.onnx"]["cost"]["latencies"][0]["p50_ms"] > 0
    assert [phase["phase"] for phase in record["training"]] == ["finetune", "intermediate", "prediction"]
    assert "tiny" in (run / "report.html").read_text("utf-8")
    assert all((run / name).is_file() for name in report.FORMS)
    layers = record["layers"]
    assert layers["model"] == record["choice"] and {part["layer"] for part in layers["parts"]} >= {None, 1}
    assert sum(part["bytes"] for part in layers["parts"]) == by_name[record["choice"]]["bytes"]
    assert sum(part["ms"] for part in layers["parts"]) > 0 < by_name[record["choice"]]["gzipped"]
    own, packed = ((folder / "README.md").read_text("utf-8") for folder in (run, run / "bundle"))
    assert own == packed.replace('Path(".")', 'Path("bundle")') and "model-index:" in own
    assert yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))["seed"] == 0
    assert main(["verify", str(run / "bundle")]) == 0
    assert "teacher.onnx" not in load_manifest(run / "bundle").files
    capsys.readouterr()
    assert main(["predict", str(run / "bundle"), "the lamp in the kitchen lamp", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] in LABELS


def test_a_second_run_reuses_every_stage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    assert main(["compress", str(run.parent.parent / "recipe.yaml"), "--out", str(run), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert all(stage["reused"] for stage in record["stages"])
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}


def test_a_run_with_another_student_shares_the_teacher(run: Path, home: Path) -> None:
    other = home / "runs" / "other"
    words = ["distil", str(home / "recipe.yaml"), "--out", str(other), "--quiet", "--set", "student.layers=1"]
    assert main(words) == 0
    one, two = (json.loads((folder / "stages" / "teach.json").read_text("utf-8")) for folder in (run, other))
    assert one == two
    assert (run / WEIGHTS[0]).read_bytes() == (other / WEIGHTS[0]).read_bytes()
    assert (run / WEIGHTS[1]).read_bytes() != (other / WEIGHTS[1]).read_bytes()
    shutil.rmtree(other)


def test_a_missed_budget_is_exit_code_3(run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bytes_ = (run / "teacher" / "tokenizer.json").stat().st_size
    words = ["compress", str(home / "recipe.yaml"), "--out", str(run), "--json", "--trials", "0", "--max-size"]
    assert main([*words, str(bytes_)]) == 3
    (limit,) = json.loads(capsys.readouterr().out)["limits"]
    assert limit["name"] == "max_size"
    assert limit["margin"] == bytes_ - limit["value"] < 0


def test_a_limit_that_is_a_slip_leaves_the_run_as_it_was(run: Path, home: Path) -> None:
    before = (run / "run.json").read_bytes()
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(run), "--quiet", "--max-size", "1KB"]) == 2
    assert (run / "run.json").read_bytes() == before


def test_a_part_of_a_run_has_a_record_that_tells_how_far_it_came(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.parent / "partly"
    words = [str(home / "recipe.yaml"), "--out", str(out)]
    capsys.readouterr()
    assert main(["teach", *words, "--json"]) == 0
    taught = json.loads(capsys.readouterr().out)
    assert taught == json.loads((out / "run.json").read_text("utf-8"))
    assert [model["name"] for model in taught["models"]] == ["teacher"]
    assert main(["distil", *words, "--quiet"]) == 0
    learnt = json.loads((out / "run.json").read_text("utf-8"))
    whole = json.loads((run / "run.json").read_text("utf-8"))
    assert learnt["models"] == whole["models"][:2]
    assert [(one["stage"], one["phase"]) for one in learnt["training"]] == [
        (one["stage"], one["phase"]) for one in whole["training"]
    ]
    assert "No artefact was made; the student scores" in (out / "report.md").read_text("utf-8")
    record = (run / "run.json").read_bytes()
    assert main(["teach", str(home / "recipe.yaml"), "--out", str(run), "--quiet"]) == 0
    assert (run / "run.json").read_bytes() == record  # it still tells of the bundle that stands there


def test_a_bundle_names_the_recipe_that_made_it(run: Path, home: Path) -> None:
    """Another recipe whose every model is the same, so that all is reused but the bundle."""
    out = run.parent / "threads"
    words = ["compress", str(home / "recipe.yaml"), "--out", str(out), "--quiet"]
    found = []
    for threads in (1, 2):
        assert main([*words, "--set", f"threads={threads}"]) == 0
        record = json.loads((out / "run.json").read_text("utf-8"))
        provenance = load_manifest(out / "bundle").provenance
        assert provenance["recipe"] == record["provenance"]["recipe"] == value_digest(record["recipe"])
        found.append((provenance["recipe"], {stage["name"] for stage in record["stages"] if not stage["reused"]}))
    assert found[0][0] != found[1][0] and found[1][1] == {"bundle"}
    shutil.rmtree(out)


@pytest.mark.parametrize("moment", ["teach", "prediction", "export"])
def test_a_killed_run_ends_with_the_same_bytes(run: Path, home: Path, tmp_path: Path, moment: str) -> None:
    """SIGKILL while the given phase works; then the same command again."""
    out = tmp_path / "killed"
    command = "compress" if moment == "export" else "distil"
    words = [sys.executable, "-m", "attar.cli", command, str(home / "recipe.yaml"), "--out", str(out), "--quiet"]
    marks = {
        "teach": ".work-teach/checkpoints/checkpoint.safetensors",
        "prediction": ".work-distil/checkpoints/prediction/checkpoint.safetensors",
        "export": ".work-export/teacher.onnx",
    }
    process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while not (out / marks[moment]).exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "run.json").exists()
    assert main([*words[3:], "--set", "measure.queries=2"]) == 0
    for name in WEIGHTS if command == "compress" else WEIGHTS[:2]:
        assert (out / name).read_bytes() == (run / name).read_bytes(), name
    assert not list(out.glob(".work-*"))


def test_a_run_that_diverged_starts_again_with_another_recipe(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run.parent / "diverged"
    words = ["distil", str(home / "recipe.yaml"), "--out", str(out), "--quiet"]
    capsys.readouterr()
    assert main([*words, "--set", "distil.prediction.learning_rate=1e35"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "prediction: the loss is" in line
    file, _, rest = line.partition("on the training rows ")[2].partition(":")
    assert file == str(home / "train.tsv")  # the lines of the batch, sorted; the first holds the names of the columns
    lines = [int(word) for word in rest.partition(";")[0].partition("(")[0].split(",")]
    assert lines == sorted(set(lines)) and min(lines) >= 2
    assert list(out.glob(".work-distil/checkpoints/prediction/checkpoint.safetensors"))  # the state before it
    assert not (out / "student").exists()
    assert main(words) == 0
    assert (out / WEIGHTS[1]).read_bytes() == (run / WEIGHTS[1]).read_bytes()
    shutil.rmtree(out)


def test_a_folder_in_use_is_refused(run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from attar.files import locked

    with locked(run):
        assert main(["compress", str(home / "recipe.yaml"), "--out", str(run), "--quiet"]) == 1
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_loses_nothing(home: Path, run: Path, tmp_path: Path) -> None:
    """A real full disk: a small tmpfs of our own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in (run / "teacher").iterdir())
    script = (
        f"mount -t tmpfs -o size={size + 30_000} none {disk} && "
        f"{sys.executable} -m attar.cli compress {home / 'recipe.yaml'} --out {disk / 'run'} --quiet; "
        f"echo code $?; ls {disk / 'run'}"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no tmpfs of our own here: {done.stderr.strip()}")
    assert "code 1" in done.stdout, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert "the disk is full" in lines[0]


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (["task.train.path=/nowhere/train.tsv"], 1, "no such file"),
        (["task.text=sentence"], 1, "no column 'sentence'"),
        (["teacher.model=/nowhere/model"], 1, "no such model folder"),
        (["task.max_length=512"], 1, "task.max_length"),
        (["student.layers=9"], 2, "student.layers"),
        (["student.heads=5", "student.hidden_size=24"], 2, "24 is not a multiple of 5 heads"),
        (["student.layer_map=[4, 2]"], 2, "[4, 2] must rise within 1..4"),
        (["student.hidden_size=64"], 2, "set student.start: random"),
        (["student.kind=distilgpt", "distil.intermediate=null"], 2, "cannot be made from a bert teacher"),
        (["studnt.layers=9"], 2, "did you mean 'student'"),
        (["distil.prediction.soft=0"], 2, "nothing would be learnt"),
    ],
)
def test_bad_input_is_one_line(
    home: Path,
    run: Path,
    tmp_path: Path,
    settings: list[str],
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [word for setting in settings for word in ("--set", setting)]
    out = run.parent / f"bad-{tmp_path.name}"
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(out), "--quiet", *options]) == code
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert error.startswith("attar: ")
    assert words in error
    assert not (out / "teacher").exists()  # told before anything is trained
    shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5"}, "the model type 't5' is not one of"),
        ({"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4}, "does not load"),
    ],
)
def test_a_configuration_that_is_no_teacher_is_one_line(
    home: Path, tmp_path: Path, config: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "model", tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), "utf-8")
    words = ["--out", str(tmp_path / "run"), "--quiet", "--set", f"teacher.model={tmp_path / 'model'}"]
    assert main(["compress", str(home / "recipe.yaml"), *words]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_a_checkpoint_without_safetensors(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "old"
    shutil.copytree(home / "model", model)
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    words = ["teach", str(home / "recipe.yaml"), "--out", str(tmp_path / "run"), "--set", f"teacher.model={model}"]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "pytorch_model.bin" in error
    assert "safe_serialization" in error


def test_a_teacher_may_be_taken_as_it_is(home: Path, run: Path) -> None:
    out = home / "runs" / "as-it-is"
    words = ["teach", str(home / "recipe.yaml"), "--out", str(out), "--quiet", "--set", "teacher.finetune=false"]
    assert main([*words, "--set", f"teacher.model={run / 'teacher'}"]) == 0
    note = json.loads((out / "stages" / "teach.json").read_text("utf-8"))["results"]
    assert note["training"] == []
    taught = json.loads((run / "stages" / "teach.json").read_text("utf-8"))["results"]
    assert note["scores"] == taught["scores"]
    shutil.rmtree(out)


def test_a_teacher_with_classes_in_its_own_order_keeps_them(home: Path, run: Path) -> None:
    """The same model with its outputs (and their names) turned round answers the same."""
    from safetensors.torch import load_file, save_file

    turned = home / "turned"
    shutil.copytree(run / "teacher", turned)
    weights = load_file(turned / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name].flip(0).contiguous()
    save_file(weights, turned / "model.safetensors", {"format": "pt"})
    config = json.loads((turned / "config.json").read_text("utf-8"))
    names = list(config["id2label"].values())[::-1]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}
    (turned / "config.json").write_text(json.dumps(config), "utf-8")
    out = home / "runs" / "turned"
    words = ["teach", str(home / "recipe.yaml"), "--out", str(out), "--quiet", "--set", "teacher.finetune=false"]
    assert main([*words, "--set", f"teacher.model={turned}"]) == 0
    found, taught = (json.loads((folder / "stages" / "teach.json").read_text("utf-8")) for folder in (out, run))
    assert found["results"]["scores"]["dev"] == pytest.approx(taught["results"]["scores"]["dev"])
    shutil.rmtree(out)


def test_a_teacher_without_a_head_cannot_be_taken_as_it_is(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    bare = home / "bare"
    shutil.copytree(run / "teacher", bare)
    weights = {n: w for n, w in load_file(bare / "model.safetensors").items() if not n.startswith("classifier")}
    save_file(weights, bare / "model.safetensors", {"format": "pt"})
    out = home / "runs" / "bare"
    words = ["teach", str(home / "recipe.yaml"), "--out", str(out), "--quiet", "--set", f"teacher.model={bare}"]
    assert main([*words, "--set", "teacher.finetune=false"]) == 1
    assert "the weights lack classifier" in capsys.readouterr().err
    assert main([*words, "--set", "teacher.training.epochs=1"]) == 0
    weights = {n: w for n, w in weights.items() if "layer.1.attention.self.query" not in n}
    save_file(weights, bare / "model.safetensors", {"format": "pt"})
    assert main(words) == 1
    assert "the weights lack bert.encoder.layer.1.attention.self.query.bias" in capsys.readouterr().err
    shutil.rmtree(out)


def test_a_folder_with_other_things_is_not_a_run(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "thesis.txt").write_text("years of work", "utf-8")
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(tmp_path), "--quiet"]) == 2
    assert "other things than a run" in capsys.readouterr().err
    assert (tmp_path / "teacher" / "thesis.txt").read_text("utf-8") == "years of work"


def pairs_recipe(home: Path, folder: Path, kind: str) -> Path:
    """A recipe for pairs of texts: a regression, or a classification."""
    for name, count in (("train", 48), ("dev", 24)):
        rows = []
        for row in range(count):
            score = row % 4 if kind == "regression" else row % 2
            rows.append({"a": SENTENCES[row % 8], "b": " ".join(["rain"] * score) or "sun", "y": score})
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", "utf-8")
    task = {
        "kind": kind,
        **{name: {"path": str(folder / f"{name}.jsonl")} for name in ("train", "dev")},
        "text": "a",
        "text_pair": "b",
        "label": "y",
        "max_length": 32,
    }
    recipe = yaml.safe_load((home / "recipe.yaml").read_text("utf-8")) | {"task": task, "name": kind}
    recipe["student"] = {"kind": "distilbert", "layers": 2}
    recipe["export"]["tolerance"] = 50
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    return folder / "recipe.yaml"


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_pairs_take_the_same_road(home: Path, tmp_path: Path, kind: str) -> None:
    words = ["compress", str(pairs_recipe(home, tmp_path, kind)), "--out", str(tmp_path / "runs" / kind), "--quiet"]
    out, regression = tmp_path / "runs" / kind, kind == "regression"
    if regression:
        words += ["--set", "task.metric=pearson", "--set", "export.tolerance=1e-2"]
    assert main(words) == 0
    record = json.loads((out / "run.json").read_text("utf-8"))
    expected = {"pearson", "spearman"} if regression else {"accuracy", "f1", "mcc"}
    assert set(record["models"][0]["scores"]["dev"]) == expected
    assert record["task"]["pair"] is True
    assert main(["verify", str(out / "bundle")]) == 0
    assert main(["predict", str(out / "bundle"), "one text", "--pair", "rain rain"]) == 0
    if regression:  # int8 moves the correlation by more than is allowed, float32 does not
        (int8,) = [model for model in record["models"] if model["name"] == "model-int8.onnx"]
        assert int8["status"] == "rejected"
        assert "points from PyTorch" in int8["reason"]
        assert not (out / "bundle" / "model-int8.onnx").exists()
        assert "rejected" in (out / "report.md").read_text("utf-8")


def test_every_kind_of_artefact(home: Path, run: Path) -> None:
    """The slow conversions too: each file is proved in its own runtime."""
    out = run.parent / "all"
    options = ["export.ort=[fp32, int8]", "export.tflite=[fp32, int8]", "export.lengths=[32]", "measure.lengths=[32]"]
    words = [word for option in options for word in ("--set", option)]
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(out), "--quiet", *words]) == 0
    models = {model["name"]: model for model in json.loads((out / "run.json").read_text("utf-8"))["models"]}
    assert {name for name, model in models.items() if model["status"] == "ok"} == {
        "teacher", "student", "teacher.onnx", "model.onnx", "model-int8.onnx", "model.ort", "model-int8.ort",
        "model-32.tflite", "model-32.tflite in tflite-runtime", "model-32-int8.tflite",
        "model-32-int8-tflite-runtime.tflite",
    }  # fmt: skip
    for model in models.values():
        assert model["rows"] == {"dev": 40}
    assert main(["verify", str(out / "bundle")]) == 0


def test_quantizations_are_artefacts_like_others(home: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are proved in their runtime, packed with the processors they are for, and what a mixed one keeps is told."""
    out = run.parent / "quantized"
    settings = {
        "export.onnx": "[fp16,int8-static,int4,mixed]",
        "export.ort": "[int4]",
        "export.tflite": "[int4]",
        "export.lengths": "[32]",
        "export.processors": "[any-cpu,dot-product]",
        "export.calibration.rows": "24",
        "export.mixed.share": "0.4",
        "export.int4.block": "16",  # as wide as the student: a longer block is filled up
        "export.tolerance": "40",  # a tiny model's 40 rows: it is the road that is tried here
    }
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    assert main(["compress", str(home / "recipe.yaml"), "--out", str(out), "--quiet", *sets]) == 0
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert [one["reused"] for one in record["stages"][:2]] == [True, True]  # teach and distil, from the sibling run
    rows = {model["name"]: model for model in record["models"] if model["of"] == "student"}
    integer = {f"model-{word}{kind}.onnx" for word in ("int8-static", "mixed") for kind in ("", "-dot-product")}
    small = {"model-int4.onnx", "model-int4.ort", "model-32-int4.tflite"}
    assert set(rows) == {"student", "model-fp16.onnx"} | small | integer
    assert {model["status"] for model in rows.values()} == {"ok"}, [model["reason"] for model in rows.values()]
    assert all(rows[name]["scores"]["dev"] and rows[name]["cost"]["latencies"] for name in rows if name != "student")
    mixed = rows["model-mixed.onnx"]
    wide = sum(one["elements"] for one in mixed["matrices"] if one["wide"])
    assert 0 < wide <= 0.4 * sum(one["elements"] for one in mixed["matrices"])
    assert all(4 < rows[name]["bits"] < 8 for name in small), {name: rows[name]["bits"] for name in small}
    assert any("model-mixed.onnx" in note and "have 8 bits" in note for note in record["notes"])
    card = load_manifest(out / "bundle")
    meant = {one.file: one.processors for one in card.artefacts}
    assert {file for file, kinds in meant.items() if kinds} == {name for name in integer if "dot-product" in name}
    capsys.readouterr()
    assert main(["verify", str(out / "bundle")]) == 0

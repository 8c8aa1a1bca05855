"""Recipes: every word is checked, every default is visible, and what is wrong is named with its line."""

import json
import re
from pathlib import Path

import pytest
import yaml
from attar import recipe, recipe_file
from attar.errors import AttarError, UsageError
from hypothesis import given
from hypothesis import strategies as st

RECIPES = sorted((Path(recipe.__file__).parents[1] / "recipes").glob("*.yaml"))
SMALL = "name: small\ntask:\n  builtin: assistant\n  max_length: 32\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_ready_recipes_load_and_open_with_their_command(path: Path) -> None:
    assert recipe_file.load(path).name == path.stem
    assert recipe_file.parse(yaml.safe_load(recipe.dump(recipe_file.load(path)))) == recipe_file.load(path)
    first = path.read_text("utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert re.search(rf"attar (compress|teach|distil) recipes/{path.name}\b", first)


@pytest.mark.parametrize(
    ("name", "other", "parts"),
    [
        ("distilgpt", "mini-gpt", ["pretrain"]),
        ("distilbert", "sst2", ["task", "teacher"]),
        ("tinybert", "sst2", ["task", "teacher"]),
        ("sst2-tinybert", "sst2", ["task", "teacher"]),
    ],
)
def test_a_ready_recipe_has_the_teacher_that_another_makes(name: str, other: str, parts: list[str]) -> None:
    ours, theirs = (recipe_file.load(Path(one)) for one in (name, other))
    assert all(getattr(ours, part) == getattr(theirs, part) for part in parts)


def test_every_default_is_in_the_resolved_recipe(tmp_path: Path) -> None:
    resolved = yaml.safe_load(recipe.dump(recipe_file.load(write(tmp_path, SMALL))))

    def keys(schema: dict, values: dict, path: str = "") -> None:
        for name in schema["properties"]:
            assert name in values, path + name

    keys(recipe.Recipe.model_json_schema(), resolved)
    assert resolved["teacher"]["training"]["learning_rate"] == 5e-5
    assert resolved["task"]["metric"] == "accuracy"
    assert recipe_file.parse(resolved) == recipe_file.load(write(tmp_path, SMALL))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (SMALL + "studnet:\n  layers: 2\n", 5, "did you mean 'student'?"),
        (SMALL + "student:\n  layer: 2\n", 6, "did you mean 'layers'?"),
        (SMALL + "distil:\n  intermediate:\n    hiden: 2\n", 7, "did you mean 'hidden'?"),
        (SMALL + "student:\n  layers: two\n", 6, "student.layers"),
        (SMALL + "student: [\n", 6, "YAML"),
        (SMALL.replace("32", "600"), 4, "task.max_length"),
        (
            SMALL + "teacher:\n  training:\n    learning_rate: 1.0\ndistil:\n  prediction:\n    learning_rate: -1\n",
            10,
            "distil.prediction.learning_rate",
        ),
        (SMALL + "distil:\n  prediction: {epochs: 1,\n    soft: -1}\n", 7, "distil.prediction.soft"),
        (SMALL + "student:\n  layer_map:\n    - 1\n    - x\n", 6, "student.layer_map: "),
        (SMALL + "student: {layers: 2}\nseed: 1\nstudent: {}\n", 7, "'student' stands twice"),
        (SMALL + "distil:\n  prediction: {soft: 0}\n", 6, "nothing would be learnt"),
        (SMALL + "distil:\n  intermediate: {embedding: 0, hidden: 0, attention: 0}\n", 6, "nothing would be learnt"),
        (SMALL + "  dev: {path: dev.tsv}\n", 2, "`builtin`"),
        (SMALL + "  label_names: {0: no}\n", 5, "in quotes"),
        (SMALL + "  text: []\n", 5, "task.text: "),
        (SMALL + "export:\n  onnx: [int8, int8]\n", 6, "int8 stands twice"),
        (SMALL + "pretrain: {corpus: {paths: [a.txt]}, tied: all}\n", 5, "set generator_size: 1"),
        (
            SMALL + "compress:\n  - {share: {}, heal: {prediction: {similarity: 1}}}\n",
            0,
            "compress.1.heal.prediction.similarity and contrastive need",
        ),
        (
            SMALL + "student: {kind: distilgpt}\ndistil: {intermediate: null}\n"
            "compress:\n  - {prune: {ffn: 0.5}, heal: {intermediate: {epochs: 1}}}\n",
            0,
            "set both to 0 in compress.1.heal.intermediate",
        ),
        (SMALL + "export:\n  lengths: []\n", 6, "at least 1"),
        (SMALL + "measure:\n  threads: []\n", 6, "at least 1"),
        (SMALL + "measure:\n  lengths: [16, 32, 16]\n", 6, "16 stands twice"),
        (SMALL + "seed: 4294967296\n", 5, "4294967295"),
        (SMALL + "export:\n  tolerance: .inf\n", 6, "finite"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_cure(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_file.load(write(tmp_path, text))
    assert f"recipe.yaml:{line}" in caught.value.line() or not line  # what concerns several parts has no line
    assert words in caught.value.line()
    assert "\n" not in caught.value.line()


def test_settings_reach_into_lists(tmp_path: Path) -> None:
    text = SMALL + "compress: [&step {trim: {coverage: 0.9}}, *step]\n"
    found = recipe_file.load(write(tmp_path, text), ["compress.1.trim.coverage=0.5"])
    assert [step.trim and step.trim.coverage for step in found.compress] == [0.9, 0.5]


def test_settings_reach_any_key(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    found = recipe_file.load(
        path, ["student.layers=4", "teacher.training.learning_rate=3e-4", "distil.intermediate=null"]
    )
    assert found.student.layers == 4
    assert found.teacher.training.learning_rate == 3e-4
    assert found.distil.intermediate is None
    for wrong in ("student.layers", "=4", "name.x=1", "student.layers=["):
        with pytest.raises(UsageError):
            recipe_file.load(path, [wrong])


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (["student.layers=two"], "--set student.layers: "),
        (["seed=1", "distil.prediction.soft=0", "student.layers=3"], "--set distil.prediction.soft: "),
        (["task.max_length=128", "seed=1"], "--set task.max_length: "),
        (["name=2020-99-99"], "--set name=2020-99-99: "),
        (["export.lengths=[32, 32]"], "--set export.lengths: "),
        (["task.dev.format=tsv"], "--set task.dev.format: "),
        (["compress=[{trim: {}}]", "compress.1.heal=null"], "--set compress.1.heal=null: '1' is none of the list's 1"),
    ],
)
def test_a_wrong_setting_is_named_and_not_a_line_of_the_file(tmp_path: Path, settings: list[str], place: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_file.load(write(tmp_path, SMALL + "student:\n  layers: 2\n"), settings)
    assert caught.value.line().startswith(place)


def test_a_mistake_of_the_file_is_not_blamed_on_a_setting(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe\.yaml:6: student\.layers"):
        recipe_file.load(write(tmp_path, SMALL + "student:\n  layers: two\n"), ["student.heads=4", "seed=1"])


def test_a_setting_changes_one_of_two_parts_that_yaml_shares(tmp_path: Path) -> None:
    text = SMALL + "teacher:\n  training: &same {epochs: 5}\ndistil:\n  prediction: *same\n"
    found = recipe_file.load(write(tmp_path, text), ["distil.prediction.epochs=1"])
    assert (found.teacher.training.epochs, found.distil.prediction.epochs) == (5, 1)


def test_no_phase_may_have_no_weights() -> None:
    nothing = {"embedding": 0, "hidden": 0, "attention": 0, "epochs": 0}
    values = {"name": "x", "task": {"builtin": "assistant", "max_length": 8}, "distil": {"intermediate": nothing}}
    assert recipe_file.parse(values).distil.intermediate is not None


def test_a_recipe_that_is_no_readable_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for path, words in (
        (Path(), "is a directory"),
        (tmp_path, "is a directory"),
        (tmp_path / "file" / "x.yaml", "not a directory"),
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / ("x" * 300), "name too long"),
        (tmp_path / "sst2.yaml", "no such recipe"),
    ):
        with pytest.raises(AttarError, match=words) as caught:
            recipe_file.load(path)
        assert str(path) in caught.value.line()
    assert recipe_file.load(Path("assistant")) == recipe_file.load(Path("recipes/assistant.yaml"))


@pytest.mark.parametrize(
    ("text", "size", "latency"), [("12MB", 12e6, "15ms"), ("3.5 KiB", 3584, "0.015 s"), ("12000000", 12e6, "15000us")]
)
def test_limits_have_units(text: str, size: float, latency: str) -> None:
    budget = recipe.Budget.model_validate({"max_size": text, "max_latency": latency})
    assert budget.max_size == size
    assert budget.max_latency == pytest.approx(15)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_size: 12", "12 bytes hold no model; give the unit too, such as 12MB"),
        ("max_size: 0", "greater than 0"),
        ("max_memory: 40", "40 bytes hold no model"),
        ("max_latency: 0.5us", "nothing answers in 0.0005 ms"),
        ("max_latency: 0", "greater than 0"),
        ("max_drop: 100", "any score at all"),
        ("max_drop: -1", "greater than or equal to 0"),
    ],
)
def test_a_limit_that_makes_no_sense_is_told_with_its_line(tmp_path: Path, limit: str, words: str) -> None:
    path = tmp_path / "slip.yaml"
    path.write_text(f"name: slip\ntask: {{builtin: assistant}}\nbudget:\n  {limit}\n", "utf-8")
    with pytest.raises(UsageError) as caught:
        recipe_file.load(path)
    assert (
        caught.value.line().startswith(f"{path}:4: budget.{limit.partition(':')[0]}: ") and words in caught.value.line()
    )


@given(st.text(max_size=8))
def test_a_wrong_quantity_is_refused_in_one_line(text: str) -> None:
    try:
        found = recipe_file.parse(
            {"name": "x", "task": {"builtin": "assistant", "max_length": 8}, "budget": {"max_size": text}}
        )
        assert found.budget.max_size is not None
        assert found.budget.max_size > 0
    except UsageError as error:
        assert "\n" not in error.line()


def test_environment_names_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTAR_DATA", "/data")
    assert recipe.expand("$ATTAR_DATA/sst2") == Path("/data/sst2")
    assert recipe.expand("${ATTAR_DATA}/sst2") == Path("/data/sst2")
    monkeypatch.delenv("ATTAR_DATA")
    with pytest.raises(UsageError, match="ATTAR_DATA"):
        recipe.expand("$ATTAR_DATA/sst2")


def test_a_tflite_file_may_not_cut_what_training_did_not() -> None:
    with pytest.raises(UsageError, match=r"export\.lengths"):
        recipe_file.parse(
            {"name": "x", "task": {"builtin": "assistant", "max_length": 64}, "export": {"lengths": [32]}}
        )


def test_the_schema_for_editors_is_in_step() -> None:
    path = Path(recipe.__file__).parents[1] / "recipes" / "schema.json"
    assert path.read_text("utf-8") == recipe.schema(), "run: python -m attar.recipe > recipes/schema.json"
    assert json.loads(recipe.schema())["additionalProperties"] is False

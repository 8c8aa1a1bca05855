"""A search under a budget: what it tries, what it rules out, how it goes on, and what it leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import optuna
import pytest
from attar import pipeline, recipe, search
from attar.benchmarks import front, judging, outcome, record, verdict
from attar.benchmarks.record import Check, Latency, Model, Trial
from attar.cli import main
from attar.context import Progress
from attar.errors import AttarError, DiskFullError, UsageError
from attar.export import proof
from attar.recipe import Budget, Recipe
from attar.recipe_file import parse
from attar.search import full, own
from attar.search.choice import Judge, advice
from attar.search.run import _Search as Looking
from attar.search.space import Space, label, shortened, untrained
from attar.search.trial import Bench, scores
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import Stop, silent, stop_at, written
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

PHASE = {"epochs": 3, "learning_rate": 3e-3, "batch_size": 8}
SPACE = {
    "shape": [
        {"student.layers": 1, "student.hidden_size": 16, "student.heads": 2, "student.intermediate_size": 16},
        {"student.layers": 2, "student.hidden_size": 32, "student.heads": 2, "student.intermediate_size": 64},
        {"student.hidden_size": 15, "student.heads": 2},
    ],
    "compress": [[{"trim": {"coverage": 0.6}}]],
}
SEARCH: dict[str, Any] = {"trials": 4, "epochs": 1, "queries": 2, "stop": False, "space": SPACE}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    tiny_teacher(folder / "teacher")
    lines = [f"{SENTENCES[n % 8]} {SENTENCES[(n + 3) % 8]}\t{LABELS[n % 8 % 3]}\n" for n in range(32)]
    written(folder / "rows.tsv", "text\tlabel\n" + "".join(lines))
    return folder


def spec(home: Path, **parts: Any) -> Recipe:
    rows = {"path": str(home / "rows.tsv")}
    values = {
        "name": "searched",
        "threads": 1,
        "task": {"train": rows, "dev": rows, "max_length": 32},
        "teacher": {"model": str(home / "teacher"), "training": PHASE | {"epochs": 8}},
        "student": {"kind": "tinybert"},
        "distil": {"intermediate": None, "prediction": PHASE},
        "export": {"onnx": ["fp32", "int8"], "ort": [], "tflite": [], "tolerance": 100},
        "measure": {"lengths": [16], "threads": [1], "queries": 2, "warmup": 1},
        "budget": {"max_size": "10MB"},
        "search": SEARCH,
    }
    return parse(values | parts)


def bench_of(home: Path, whole: Recipe) -> Bench:
    assert whole.search is not None
    return Bench(home / "bench" / "trial", home / "runs", whole.search, "accuracy", silent)


@pytest.fixture(scope="module")
def found(home: Path) -> record.Run:
    search.run(spec(home), home / "runs" / "searched")
    return record.load(home / "runs" / "searched")


def test_every_student_is_tried_and_the_best_is_trained_in_full(home: Path, found: record.Run) -> None:
    tried = found.search
    assert tried is not None and tried.candidates == 3 == len(tried.trials)
    assert [one.number for one in tried.trials] == [1, 2, 3]
    trained = [one for one in tried.trials if one.status == "trained"]
    assert len({front.described(one) for one in trained}) == 2
    assert all(one.best == "model-int8.onnx" for one in trained)
    (odd,) = (one for one in tried.trials if one not in trained)
    assert odd.status == "impossible" and "15" in odd.reason
    scores = {one.number: one.models[0].scores["dev"]["accuracy"] for one in trained}
    assert tried.winner is not None and scores[tried.winner] == max(scores.values())
    winner = tried.trials[tried.winner - 1]
    phase = next(one for one in found.training if one.stage == "distil")
    assert phase.epochs[-1].epoch == 3  # a trial has 1
    file = next(one for one in found.models if one.name == "model-int8.onnx")
    assert file.bytes == winner.models[0].bytes  # what the untrained one was to take
    assert found.limits[0].met and found.advice == []
    shown = (home / "runs/searched/report.md").read_text("utf-8").split("Students tried")[1]
    assert all(front.described(one) in shown.replace("\\", "") for one in tried.trials)
    assert not (home / "runs/searched/search/trial").exists()


def test_a_whole_search_is_not_made_again(home: Path, found: record.Run) -> None:
    said: list[tuple[str, bool]] = []
    search.run(
        spec(home), home / "runs" / "searched", finished=lambda name, seconds, reused: said.append((name, reused))
    )
    assert all(reused for name, reused in said if not name.startswith("bundle")), said
    again = record.load(home / "runs" / "searched").search
    assert again is not None and found.search is not None and again.trials == found.search.trials


def test_where_no_file_of_the_best_passes_the_next_is_trained_in_full(
    home: Path, found: record.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found.search is not None
    out = tmp_path / "runs" / "searched"
    shutil.copytree(home / "runs" / "searched", out)
    (out / "stages" / "verify.json").unlink()
    size = next(one.parameters for one in found.models if one.role == "student")
    sized, reason = proof.sized, "a weight is there twice"

    def refused(model: Model, *words: Any) -> Check:
        ours = model.parameters == size
        return Check(name=model.name, passed=False, detail=reason) if ours else sized(model, *words)

    monkeypatch.setattr(proof, "sized", refused)
    said: list[str] = []
    search.run(spec(home), out, finished=lambda name, seconds, reused: said.append(name))
    run = record.load(out)
    assert run.search is not None and run.search.winner not in (None, found.search.winner)
    assert (out / "bundle" / "manifest.json").is_file()
    assert any(f"trial {found.search.winner} " in note and reason in note for note in run.notes)
    assert any(f"trial {found.search.winner} in full" in line and reason in line for line in said)
    made: list[bool] = []
    search.run(spec(home), out, finished=lambda name, seconds, reused: made.append(reused))
    assert all(made)  # the one that failed is not trained again
    assert record.load(out).notes == run.notes


def test_where_all_fail_the_last_error_is_told_and_a_full_disk_at_once() -> None:
    tried, asked = [made(number, 1, 1, 0.8) for number in (1, 2)], list[int]()
    study = optuna.create_study()

    def train(error: AttarError) -> Callable[[Trial], Any]:
        def fail(trial: Trial) -> Any:
            asked.append(trial.number)
            full.Failures(study).add(trial, error, Path("nowhere"))
            raise error

        return fail

    for error, numbers in ((DiskFullError(), [1]), (UsageError("a slip"), [1]), (AttarError("no file"), [1, 2])):
        with pytest.raises(type(error)):
            full.first(tried, full.Failures(study), train(error), lambda name, seconds, reused: None)
        assert asked == numbers
        asked.clear()
    assert full.Failures(study).notes(tried[1]) == ["trial 1 gave no bundle when it was trained in full: no file"]
    with pytest.raises(AttarError):  # where all failed before they are asked again
        full.first(tried, full.Failures(study), train(AttarError("no file")), lambda name, seconds, reused: None)
    assert asked == [1, 2]


def test_the_front_is_shown_while_it_grows(home: Path, found: record.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert found.search is not None
    path, shown = written(home / "searched.yaml", recipe.dump(spec(home))), list[int]()
    search.run(spec(home), home / "runs" / "searched", grown=lambda trials, metric: shown.append(len(trials)))
    assert shown == [3]  # once for what was tried before
    for words, told in (([], True), (["--quiet"], False), (["--json"], False)):
        assert main(["compress", str(path), "--out", str(home / "runs" / "searched"), *words]) == 0
        assert ("the front of the students tried" in capsys.readouterr().err) == told


def trims(run: record.Run) -> bool:
    return any(step.get("trim") for step in run.recipe["compress"])


def test_a_run_that_misses_a_limit_says_what_would_meet_it(home: Path, found: record.Run) -> None:
    sizes = {one.name: one.bytes or 0 for one in found.models}
    small = sizes["model-int8.onnx"]
    scored = {"model-int8.onnx": 0.5, "model.onnx": 0.9, "teacher": 0.9}
    models = [
        one.model_copy(update={"scores": {"dev": {"accuracy": scored.get(one.name, 0.9)}}}) for one in found.models
    ]
    budget = Budget(max_size=small, max_drop=1)
    chosen = next(one for one in models if one.name == "model-int8.onnx")
    run = found.model_copy(
        update={
            "search": None,
            "models": models,
            "recipe": found.recipe | {"budget": budget.model_dump()},
            "limits": judging.limits(budget, chosen, models, "accuracy"),
            "choice": chosen.name,
        }
    )
    run = run.model_copy(update={"advice": judging.advice(run)})
    shown = [str(part) for part in outcome.run(run, home / "runs" / "searched")]
    assert any("drop: model.onnx has 0.0 points, but misses size" in line for line in shown)
    assert any("--trials 20 looks" in line for line in shown)
    unmet = Budget(max_size=9000, max_drop=1)
    limits = judging.limits(unmet, chosen, models, "accuracy")
    said = judging.advice(
        run.model_copy(update={"recipe": run.recipe | {"budget": unmet.model_dump()}, "limits": limits})
    )
    least = min(one.bytes or 0 for one in models if one.role == "artefact" and one.of == "student")
    allowed = float(said[0].removeprefix("size: allow ").partition(" MB, the least of this run's files (")[0])
    assert least <= 1e6 * allowed < 1.1 * least
    assert any("are embeddings; a step `trim` keeps" in line for line in said) == (not trims(run))
    assert judging.advice(run.model_copy(update={"limits": []})) == []


def test_the_run_says_what_it_is_and_can_be_made_without_a_search(home: Path, found: record.Run) -> None:
    assert found.recipe["search"] is None
    parse(found.recipe | {"search": None})
    assert found.search is not None and found.search.winner is not None
    shape = found.search.trials[found.search.winner - 1].changes["shape"]
    assert f"layers {found.recipe['student']['layers']}" in shape


def test_what_cannot_fit_is_not_trained_and_the_least_is_told(home: Path) -> None:
    whole = spec(home, name="small", budget={"max_size": "9kB"})
    search.run(whole, home / "runs" / "small")
    run = record.load(home / "runs" / "small")
    assert run.search is not None and {one.status for one in run.search.trials} == {"over", "impossible"}
    least = min(file.bytes or 0 for one in run.search.trials for file in one.models)
    chosen = next(one for one in run.models if one.name == run.choice)
    assert chosen.bytes == least  # it ends with the nearest
    assert not run.limits[0].met and any(verdict.enough(run.limits[0], least) in line for line in run.advice)


def test_a_student_that_heals_on_changed_copies_is_tried_without_them(home: Path, found: record.Run) -> None:
    steps = [[{"trim": {"coverage": 0.6}, "heal": {"augment": True, "prediction": PHASE}}]]
    shapes = {"shape": SPACE["shape"][:1], "compress": steps}
    distil = {"augment": {"model": str(home / "teacher")}, "intermediate": None, "prediction": PHASE}
    whole = spec(home, distil=distil, search=SEARCH | {"trials": 1, "space": shapes})
    judge, folder = Judge(whole.budget, found.models[0], "accuracy"), home / "copies"
    folder.mkdir()
    (trial,) = (
        Looking(Space(whole), judge, bench_of(home, whole), folder).run(lambda name, seconds, reused: None).trials
    )
    assert trial.status == "trained", trial.reason


@pytest.mark.parametrize(
    ("parts", "words"), [({}, "smallest tokenizer that `trim`"), ({"compress": [[]]}, "allow more, or add")]
)
def test_a_limit_that_no_trimming_reaches_costs_no_training(home: Path, parts: dict[str, Any], words: str) -> None:
    whole = spec(home, budget={"max_size": "3kB"}, search=SEARCH | {"space": SPACE | parts})
    with pytest.raises(UsageError, match=words):
        search.run(whole, home / "runs" / "hopeless")
    assert not (home / "runs" / "hopeless" / "teacher").exists()
    plain = spec(home, budget={"max_size": "3kB"}, search=None, compress=[{"trim": {}}] if not parts else [])
    with pytest.raises(UsageError, match=words):
        pipeline.run(plain, home / "runs" / "hopeless")
    assert not (home / "runs" / "hopeless" / "teacher").exists()


def test_scores_have_the_same_places_however_a_trial_was_made(home: Path, found: record.Run, tmp_path: Path) -> None:
    heal = {"heal": {"prediction": PHASE}}
    cuts = [{"prune": {"ffn": 0.5, "steps": 2}, **heal}]
    asked = {"search": SEARCH | {"epochs": 2}, "student": {"kind": "tinybert", "layers": 1}}
    whole = spec(home, compress=cuts, **asked)

    def places(of: Recipe, name: str, progress: Progress = silent) -> list[tuple[int, float]]:
        told: list[tuple[int, float]] = []
        assert of.search is not None and found.search is not None
        bench = Bench(tmp_path / name, home / "runs", of.search, "accuracy", progress)
        scores(of, bench, [], lambda place, score: told.append((place, score)))
        return told

    known = places(whole, "whole")
    assert [place for place, _ in known] == [0, 1, 10_000, 10_001, 20_000, 20_001]
    with pytest.raises(Stop):  # in the second epoch of the second cut: four batches an epoch, two epochs of each
        places(whole, "cut", stop_at("prediction", 8 + 8 + 6))
    assert places(whole, "cut") == known
    other = places(spec(home, compress=[{"trim": {"coverage": 0.6}, **heal}], **asked), "whole")
    assert other[:2] == known[:2]  # of a stage that is reused
    assert [place for place, _ in other[2:]] == [10_000, 10_001]


class Cut(Exception):
    pass


def test_a_search_that_was_cut_off_goes_on_with_the_same_trial(home: Path) -> None:
    out, said, trained = home / "runs" / "cut", list[tuple[str, bool]](), set[str]()
    plain = {name: values for name, values in SPACE.items() if name != "compress"}
    whole = spec(home, name="cut", search=SEARCH | {"space": plain})

    def cut(what: str, done: float, remark: str) -> None:
        if what.startswith("trial") and "prediction" in what:
            trained.add(what.split()[1])
            if len(trained) == 2:
                raise Cut

    with pytest.raises(Cut):
        search.run(whole, out, progress=cut)
    assert not (out / "bundle").exists()
    storage = JournalStorage(JournalFileBackend(str((out / "search" / "journal.log").resolve())))
    (name,) = optuna.get_all_study_names(storage)
    (running,) = optuna.load_study(study_name=name, storage=storage).get_trials(states=[TrialState.RUNNING])

    def after(stage: str, seconds: float, reused: bool) -> None:
        said.append((stage, reused))
        if sum(name.startswith("trial ") for name, _ in said) == 3:
            raise Cut  # the winner is trained in full elsewhere

    with pytest.raises(Cut):
        search.run(whole, out, finished=after)
    again = [reused for stage, reused in said if stage.startswith("trial ")]
    assert len(again) == 3 and again.index(False) == max(int(one.partition("/")[0]) for one in trained) - 1
    later = optuna.load_study(study_name=name, storage=storage).trials[running.number + 1 :]
    assert next(one for one in later if "attar" in one.user_attrs).params == running.params


def test_a_trial_far_behind_is_stopped(home: Path, found: record.Run) -> None:
    whole = spec(home, search={"trials": 1, "epochs": 1, "queries": 2, "space": SPACE})
    space, bench = Space(whole), bench_of(home, whole)
    looking = Looking(space, Judge(whole.budget, found.models[0], "accuracy"), bench, home)
    for _ in range(4):  # as if others had been perfect from the start
        perfect = {"params": {}, "distributions": {}, "value": 1.0, "intermediate_values": {0: 1.0}}
        looking.study.add_trial(optuna.trial.create_trial(**perfect))
    (trial,) = looking.run(lambda name, seconds, reused: None).trials
    assert trial.status == "stopped" and "median" in trial.reason


@pytest.mark.parametrize(
    ("statuses", "count", "words"),
    [("ooto", 3, "1 trials were made, of 12 students; 2 besides"), ("ooooooo", 5, "5 students were too costly, of 12")],
)
def test_what_is_too_costly_is_no_trial(
    home: Path, found: record.Run, monkeypatch: pytest.MonkeyPatch, statuses: str, count: int, words: str
) -> None:
    space = {"student.layers": [1, 2, 3], "student.intermediate_size": [16, 32, 48, 64]}
    whole = spec(home, search={"trials": 1, "space": space})
    judge = Judge(whole.budget, found.models[0], "accuracy")
    (folder := home / f"counted-{count}").mkdir()
    looking = Looking(Space(whole), judge, bench_of(home, whole), folder)
    results = (made(n, 1, 1, 0.8 if status == "t" else None) for n, status in enumerate(statuses, 1))
    monkeypatch.setattr(looking, "_try", lambda trial, picks: next(results))
    ended = looking.run(lambda name, seconds, reused: None)
    assert len(ended.trials) == count and words in ended.ended


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"budget": {}}, "needs a limit"),
        ({"search": {"space": {"student.depth": [1, 2]}}}, "unknown key"),
        ({"search": {"space": {"task.max_length": [16]}}}, "not for a search to change"),
        ({"search": {"space": {"student.layers": []}}}, "no value"),
        ({"search": {"space": {"student.layers": [1, 1]}}}, "stands twice"),
        ({"search": {"space": {}}}, "at least 1"),
        ({"search": {"space": {"shape": [{1: 2}]}}}, "no key of a recipe"),
        ({"search": {"space": {"student.start": [date(2020, 1, 1)]}}}, "no value of a recipe"),
    ],
)
def test_what_cannot_be_searched_is_one_line(home: Path, parts: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        search.run(spec(home, **parts), home / "runs" / "refused")
    assert not (home / "runs" / "refused" / "student").exists()


def test_trials_leave_out_what_takes_long(home: Path) -> None:
    step = {"trim": {"coverage": 0.6}, "heal": {"prediction": PHASE | {"epochs": 7}}}
    whole = spec(home, compress=[step], distil={"intermediate": PHASE, "prediction": PHASE, "limit": 20})
    bare, short = untrained(whole), shortened(whole, recipe.Search(epochs=2, rows=10))
    assert bare.distil.intermediate is None and bare.distil.prediction.epochs == 0 and bare.compress[0].heal is None
    assert short.distil.intermediate is not None and short.distil.intermediate.epochs == 2
    assert short.compress[0].heal is not None and short.compress[0].heal.prediction.epochs == 2
    assert short.distil.limit == 10 and bare.export.onnx == short.export.onnx == ["int8"]
    fast = untrained(spec(home, budget={"max_latency": 1}))
    assert fast.export.onnx == ["fp32", "int8"]  # the larger may be the faster


def test_values_are_told_in_words() -> None:
    assert label({"student.layers": 2, "student.hidden_size": 128}) == "layers 2, hidden_size 128"
    assert label([{"trim": {"coverage": 0.995}}, {"prune": {"ffn": 0.5}}]) == "trim coverage 0.995 + prune ffn 0.5"
    assert label([]) == label(None) == "none"


def test_values_that_read_alike_keep_their_places(home: Path) -> None:
    steps = [[{"trim": {"coverage": 0.6}, "heal": {"prediction": {"epochs": count}}}] for count in (1, 2)]
    space = Space(spec(home, search={"space": {"compress": steps}}))
    assert [space.labels(picks)["compress"] for picks in space.every()] == [
        "trim coverage 0.6 (1)",
        "trim coverage 0.6 (2)",
    ]


def test_the_default_space_is_of_recipes(home: Path) -> None:
    values = recipe.Search().model_dump()
    space = Space(spec(home, search=values))
    assert space.count == 30
    for picks in space.every():
        space.candidate(picks)


def test_the_default_search_has_4_bits_where_there_is_onnx(home: Path) -> None:
    frozen = {"prediction": PHASE | {"freeze_embeddings": True}, "intermediate": None}
    for kinds, count in ((["fp32", "int8"], 36), (["int4"], 36), ([], 30)):
        export = {"onnx": kinds, "ort": [], "tflite": ["int8"]}
        found = own.widened(spec(home, search=None, distil=frozen, export=export), 7)
        space = Space(found)
        assert space.count == count and found.search is not None and found.search.trials == 7
        for picks in space.every():
            one = space.candidate(picks)
            assert not one.distil.prediction.freeze_embeddings and one.distil.intermediate is None
            assert ("int4" in one.export.onnx) == bool(kinds)


def test_a_recipe_whose_student_costs_too_much_becomes_a_search(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"student.layers": 1, "student.hidden_size": 16, "student.heads": 2, "student.intermediate_size": 16}
    monkeypatch.setattr(own, "SPACE", {"shape": [small], "compress": [[]]})
    plain = spec(home, search=None, export={"onnx": ["int8"], "ort": [], "tflite": [], "tolerance": 100})
    out, path = home / "runs" / "limited", written(home / "limited.yaml", recipe.dump(plain))
    words = ["compress", str(path), "--out", str(out)]
    assert main([*words, "--max-size", "1MB"]) == 0
    assert "untrained student: it can meet the budget" in capsys.readouterr().err
    wide = record.load(out)
    assert wide.search is None and not (out / "search" / "trial").exists()
    size = next(one.bytes for one in wide.models if one.name == wide.choice)
    assert size is not None
    limited = [*words, "--max-size", str(size - 1)]
    assert main(limited) == 0
    assert "untrained student: it cannot meet the budget (size" in capsys.readouterr().err
    found = record.load(out)
    assert found.search is not None and found.search.winner and found.limits[0].met
    assert found.recipe["student"]["hidden_size"] == 16 and found.recipe["search"] is None
    assert any("could not meet the budget (size" in note for note in found.notes)
    assert main(limited) == 0
    again = record.load(out)
    assert all(stage.reused for stage in again.stages) and again.notes == found.notes


def test_a_drop_alone_begins_no_search(home: Path) -> None:
    assert not own._can_be_judged(spec(home, budget={"max_drop": 1}))
    assert own._can_be_judged(spec(home, budget={"max_drop": 1, "max_latency": "1ms"}))


def made(number: int, size: float, ms: float, score: float | None) -> Trial:
    one = Latency(length=16, threads=1, queries=1, p50_ms=ms, p90_ms=ms, p99_ms=ms, mean_ms=ms, min_ms=ms)
    file = Model.model_validate(
        {
            "name": "model-int8.onnx",
            "role": "artefact",
            "of": "student",
            "runtime": "onnxruntime",
            "precision": "int8",
            "bytes": int(size * 1e6),
            "scores": {} if score is None else {"dev": {"accuracy": score}},
            "cost": {"latencies": [one.model_dump()]},
        }
    )
    trained = score is not None
    status: Any = "trained" if trained else "over"
    return Trial(
        number=number, changes={"n": str(number)}, status=status, models=[file], best=file.name if trained else None
    )


TEACHER = Model.model_validate(
    {
        "name": "teacher",
        "role": "teacher",
        "of": "teacher",
        "runtime": "torch",
        "precision": "fp32",
        "scores": {"dev": {"accuracy": 0.9}},
    }
)


@pytest.mark.parametrize(
    ("budget", "winner"),
    [
        ({"max_size": 3e6}, 2),  # the best score that fits
        ({"max_size": 3e6, "max_latency": 1.1}, 1),
        ({"max_size": 3e6, "max_latency": 2.04}, 1),  # too near to the limit to be sure
        ({"max_drop": 6}, 2),  # the smallest within the drop
        ({"max_drop": 1}, 3),
        ({"max_drop": 0.001}, 3),  # none: the least drop
    ],
)
def test_the_winner_is_what_the_budget_asks_for(budget: dict[str, float], winner: int) -> None:
    judge = Judge(Budget.model_validate(budget), TEACHER, "accuracy")
    tried = [made(1, 1, 1, 0.80), made(2, 2, 2, 0.85), made(3, 4, 4, 0.895), made(4, 9, 9, None)]
    assert judge.ranked(tried)[0].number == winner


def test_a_student_is_judged_by_the_file_that_will_be_the_default() -> None:
    (wide,) = made(1, 2.8, 1, 0.95).models
    (narrow,) = made(1, 1.6, 1, 0.86).models
    files = [wide, narrow.model_copy(update={"name": "model-int4.onnx", "precision": "int4"})]
    for budget, name in (({"max_size": 3e6}, "model-int4.onnx"), ({"max_size": 1e6}, "model-int4.onnx")):
        judge = Judge(Budget.model_validate(budget), TEACHER, "accuracy")
        best, shipped = judge.best(files), judging.choose(judge.budget, [TEACHER, *files], "accuracy", 0)
        assert best is not None and shipped is not None and best.name == shipped.name == name


def test_a_choice_that_needs_another_is_no_slip(home: Path) -> None:
    choices = {"export.onnx": [["int4"]], "export.int4.block": [16, 64]}
    assert Space(spec(home, search={"space": choices})).count == 2


def test_too_near_to_the_limit_is_told_with_the_stated_one() -> None:
    (file,) = made(1, 1, 1.95, None).models
    assert Judge(Budget(max_latency=2), TEACHER, "accuracy").told(file) == (
        "latency 1.95 ms of 2.00 ms, too near to it to be sure"
    )


def test_the_advice_names_what_the_run_came_to_where_others_were_within() -> None:
    judge = Judge(Budget(max_size=1e6, max_latency=1), TEACHER, "accuracy")
    tried = [made(1, 0.9, 3, None), made(2, 2, 0.9, None)]
    missed = [one for one in judging.limits(judge.budget, tried[1].models[0], [TEACHER], "accuracy") if not one.met]
    assert advice(missed, judge, tried) == ["size: allow 2.00 MB; n: 1 has 0.90 MB, and is behind in what else counts"]


def test_a_journal_that_was_cut_off_in_a_line_is_read(home: Path, tmp_path: Path) -> None:
    whole = spec(home)
    judge = Judge(whole.budget, TEACHER, "accuracy")
    Looking(Space(whole), judge, bench_of(home, whole), tmp_path)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "worker')
    assert Looking(Space(whole), judge, bench_of(home, whole), tmp_path).trials == []


def test_where_nothing_fits_the_nearest_wins_and_the_advice_names_it() -> None:
    judge = Judge(Budget(max_size=1e6, max_latency=1), TEACHER, "accuracy")
    tried = [made(1, 2, 1.5, None), made(2, 1.5, 4, None)]
    assert judge.ranked(tried)[0].number == 1  # twice the bytes is less than four times the time
    table = [TEACHER, *tried[0].models]
    missed = [one for one in judging.limits(judge.budget, tried[0].models[0], table, "accuracy") if not one.met]
    said = advice(missed, judge, tried)
    assert "1.50 MB, of n: 2" in said[0] and "1.50 ms, of n: 1" in said[1]


TRIPLE = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))


@given(st.lists(TRIPLE, min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    tried = [made(number, size, ms, score / 10) for number, (size, ms, score) in enumerate(points, 1)]
    best = {one.number for one in front.front(tried, "accuracy")}

    def beats(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
        return one != other and one[0] <= other[0] and one[1] <= other[1] and one[2] >= other[2]

    assert best == {n for n, point in enumerate(points, 1) if not any(beats(one, point) for one in points)}

"""Distillation: each phase teaches what it says, from the layer it says, and the teacher's answers are never stale."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from attar import recipe, students
from attar.compress import answers, distil, layers, pruning, steps
from attar.compress.evidence import Evidence
from attar.compress.pair import Heads, Pair
from attar.errors import AttarError, DiskFullError, UsageError
from attar.stages.stage import stated
from attar.students import layer_map
from attar.tasks import encoding
from attar.tasks.table import Example
from attar.tasks.task import Answers
from attar.tasks.text import TextTask
from attar.teachers import gpt_transfer, heads
from attar.teachers.blocks import blocks
from conftest import LABELS, SENTENCES, tiny_teacher
from helpers import Stop, silent, stop_at
from safetensors.numpy import load_file
from scipy.special import log_softmax
from test_causal import tiny_gpt
from transformers import PreTrainedModel

ROWS = [
    Example(f"{SENTENCES[n % 8]} {SENTENCES[(n + 3) % 8]}", None, LABELS[n % 8 % 3], f"rows:{n}") for n in range(48)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("distil") / "model", layers=4)


def pair(folder: Path, seed: int = 0, **student: object) -> Pair:
    teacher = heads.load("sequence", folder).eval().requires_grad_(False)
    spec = recipe.Student.model_validate(student)
    task = TextTask(recipe.Task(builtin="assistant"), ROWS)
    encoder = encoding.Encoder(folder / "tokenizer.json", 32)
    rows = task.encode(ROWS, encoder)
    mapped = layer_map.resolve(spec.layer_map, spec.layers or 2, 4)
    built = students.build(teacher, spec)
    return Pair(teacher, built, mapped, rows, rows, task, encoder.pad_id, seed, silent, "digest")


def learn_layers(found: Pair, folder: Path, **plan: object) -> list[dict[str, float]]:
    settings = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-9, **plan}
    state = layers.learn_layers(found, recipe.Intermediate.model_validate(settings), folder)
    return [epoch["losses"] for epoch in state.epochs]


def without_dropout(found: Pair) -> Pair:
    for module in found.student.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
    return found


def test_a_student_that_is_its_teacher_has_no_loss(folder: Path, tmp_path: Path) -> None:
    (losses,) = learn_layers(without_dropout(pair(folder, kind="distilbert", layers=4)), tmp_path)
    assert set(losses) == {"embedding", "hidden", "attention"}
    assert max(losses.values()) < 1e-6


def test_heads_that_are_left_learn_from_those_that_they_were(folder: Path, tmp_path: Path) -> None:
    """Heads that write nothing are cut, twice, and layers with them: what is left is what it was before."""
    found = without_dropout(pair(folder, kind="distilbert", layers=4))
    gone = [[1], [0, 3], [], [0]]
    for model in (found.student, found.teacher):
        for block, silent_heads in zip(blocks(model), gone, strict=True):
            for head in silent_heads:
                part = slice(head * block.head_size, (head + 1) * block.head_size)
                block.get("output").weight.data[:, part] = 0
                for name in ("query", "key", "value"):
                    block.get(name).weight.data[part] = 0
    spec = recipe.Prune(heads=0.5, importance="magnitude", scope="global")
    for count in (14, 12):
        cut = pruning.cut(found.student, pruning.Goal(4, 32, count, None), spec, Evidence())
        found.heads = steps.left(found.heads, found.student, cut.layers, cut.heads)
        found.student = cut.student
    assert found.heads == Heads(4, [[n for n in range(4) if n not in silent_heads] for silent_heads in gone])
    (losses,) = learn_layers(without_dropout(found), tmp_path)
    assert max(losses.values()) < 1e-6


@pytest.mark.parametrize("wrong", [[1, 2, 4, 3], [2, 1, 3, 4]])
def test_every_layer_learns_from_its_own(folder: Path, tmp_path: Path, wrong: list[int]) -> None:
    """The same student against swapped teacher layers: both layer losses must see it, the embeddings must not."""
    found = without_dropout(pair(folder, kind="distilbert", layers=4))
    found.layers = wrong
    (losses,) = learn_layers(found, tmp_path)
    assert losses["hidden"] > 1e-3
    assert losses["attention"] > 1e-3
    assert losses["embedding"] < 1e-6


def test_weights_scale_their_losses_and_zero_leaves_one_out(folder: Path, tmp_path: Path) -> None:
    options = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "intermediate_size": 32}
    (one,) = learn_layers(without_dropout(pair(folder, **options)), tmp_path / "a")
    (two,) = learn_layers(without_dropout(pair(folder, **options)), tmp_path / "b", hidden=3.0, attention=0.0)
    assert set(two) == {"embedding", "hidden"}
    assert two["hidden"] == pytest.approx(3 * one["hidden"], rel=1e-4)
    assert two["embedding"] == pytest.approx(one["embedding"], rel=1e-4)


def test_a_narrow_student_learns_its_teachers_layers(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="tinybert", layers=2, hidden_size=16, heads=2, intermediate_size=32)
    epochs = learn_layers(found, tmp_path, epochs=40, learning_rate=1e-2)  # its maps fit from the start
    assert sum(epochs[-1].values()) < 0.7 * sum(epochs[0].values())


NARROW = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("start", ["teacher", "random"])
@pytest.mark.parametrize("projections", ["shared", "per_layer"])
def test_maps_start_where_no_random_one_comes_soon(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, projections: str
) -> None:
    """The first step's losses against those of random maps after several epochs, and of maps that give nothing."""
    (fitted,) = learn_layers(pair(folder, **NARROW, start=start), tmp_path / "fit", projections=projections)
    monkeypatch.setattr(layers.Projections, "fit", lambda *_: None)
    plan = {"projections": projections, "learning_rate": 5e-3, "epochs": 3}
    *_, learnt = learn_layers(pair(folder, **NARROW, start=start), tmp_path / "random", **plan)
    monkeypatch.setattr(
        layers.Projections,
        "fit",
        lambda self, *_: [weight.data.zero_() for name, weight in self.named_parameters() if "student" not in name],
    )
    (nothing,) = learn_layers(pair(folder, **NARROW, start=start), tmp_path / "zero", projections=projections)
    for name in ("embedding", "hidden"):
        assert fitted[name] < min(learnt[name], nothing[name])


def test_a_fitted_map_is_the_best_there_is(folder: Path) -> None:
    """A shared one over all layers, one each over its own; the ridge is small."""
    found, plan = pair(folder, **NARROW), recipe.Intermediate()
    features = [found.train.features[number] for number in range(48)]
    ours, theirs = (seen(model, features) for model in (found.student, found.teacher))
    for per_layer in (False, True):
        model = layers.Projections(found, per_layer)
        model.fit(found, plan)
        for place in (0, 1) if per_layer else (slice(None),):
            source, target = ours[[1, 2]][place], theirs[[2, 4]][place]
            source, target = source.reshape(-1, 16), target.reshape(-1, 32)
            best = np.linalg.lstsq(source, target, rcond=None)[0]
            weight = (model.hidden[place] if per_layer else model.hidden).weight.detach().numpy().T
            errors = [float(((source @ one - target) ** 2).mean()) for one in (weight, best)]
            assert errors[0] == pytest.approx(errors[1], rel=0.05)


def seen(model: PreTrainedModel, features: list[encoding.Features]) -> np.ndarray:
    """All hidden states at real pieces, (layers and embeddings, pieces, hidden)."""
    arrays = {name: torch.from_numpy(array) for name, array in encoding.collate(features, 0).items()}
    with torch.no_grad():
        states = model.eval().base_model(**arrays, output_hidden_states=True).hidden_states
    return np.stack([state[arrays["attention_mask"].bool()].numpy() for state in states])


def test_a_killed_phase_with_fitted_maps_ends_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Killed in the second epoch, after the checkpoint of the first."""
    plan = {"epochs": 2, "learning_rate": 1e-3}
    learn_layers(pair(folder, **NARROW), tmp_path / "whole", **plan)
    found = pair(folder, **NARROW)
    found.progress = stop_at("intermediate", 4)
    with pytest.raises(Stop):
        learn_layers(found, tmp_path / "cut", **plan)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    learn_layers(pair(folder, **NARROW), tmp_path / "cut", **plan)
    whole, cut = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(np.array_equal(weight, cut[name]) for name, weight in whole.items())


ALONE = {"embedding": 0.0, "hidden": 0.0, "attention": 0.0}
OTHERS = ["relations", "patient", "cosine"]


@pytest.mark.parametrize("name", [*ALONE, *OTHERS])
@pytest.mark.parametrize("projections", ["shared", "per_layer"])
def test_each_loss_alone_is_learnt_by_a_student_of_any_width_and_heads(
    folder: Path, tmp_path: Path, name: str, projections: str
) -> None:
    """Three heads for the teacher's four, 15 units for its 32, three layers for its four."""
    found = pair(folder, kind="tinybert", layers=3, hidden_size=15, heads=3, intermediate_size=32)
    plan = ALONE | {name: 1.0, "projections": projections}
    epochs = learn_layers(found, tmp_path, epochs=3, learning_rate=5e-3, **plan)
    assert set(epochs[0]) == {name}
    assert epochs[-1][name] < 0.95 * epochs[0][name]


def test_projections_per_layer_are_one_each_and_stay_out_of_the_student(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="tinybert", layers=3, hidden_size=16, intermediate_size=32)
    before = {name: weight.shape for name, weight in found.student.state_dict().items()}
    counts = []
    for projections in ("shared", "per_layer"):
        learn_layers(found, tmp_path / projections, projections=projections)
        weights = load_file(tmp_path / projections / "checkpoint.safetensors")
        counts.append(sum(name.startswith("model/hidden") for name in weights))
    assert counts == [1, 3]
    assert {name: weight.shape for name, weight in found.student.state_dict().items()} == before


def test_a_student_that_is_its_teacher_has_none_of_the_other_losses(folder: Path, tmp_path: Path) -> None:
    plan = ALONE | dict.fromkeys(OTHERS, 1.0) | {"relation_kinds": ["query", "key", "value", "attention"]}
    found = without_dropout(pair(folder, kind="distilbert", layers=4))
    (losses,) = learn_layers(found, tmp_path / "same", **plan)
    assert set(losses) == set(OTHERS)
    assert max(losses.values()) < 1e-6
    (losses,) = learn_layers(found, tmp_path / "lower", **plan, relation_layer=3, relation_heads=8)
    assert losses["relations"] > 1e-3
    found.layers = [1, 3, 2, 4]
    (losses,) = learn_layers(found, tmp_path / "swapped", **plan)
    assert losses["patient"] > 1e-3
    assert losses["relations"] < 1e-6 and losses["cosine"] < 1e-6  # these know no map


@pytest.mark.parametrize(
    ("student", "plan", "where"),
    [
        ({"hidden_size": 20, "intermediate_size": 32}, {"relations": 1, "relation_heads": 8}, "relation_heads"),
        ({}, {"relations": 1, "relation_layer": 5}, "relation_layer"),
        ({"layers": 1}, {"patient": 1}, "patient"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_before_training(
    folder: Path, tmp_path: Path, student: dict, plan: dict, where: str
) -> None:
    found = pair(folder, **({"kind": "tinybert", "layers": 2} | student))
    with pytest.raises(UsageError, match=rf"distil\.intermediate\.{where}"):
        learn_layers(found, tmp_path, **plan)
    assert not any(tmp_path.iterdir())


def told(found: Pair) -> list[str]:
    """What the progress will say."""
    remarks: list[str] = []
    found.progress = lambda what, done, remark: remarks.append(f"{what}: {remark}")
    return remarks


def test_kept_states_teach_what_a_teacher_beside_the_student_does(folder: Path, tmp_path: Path) -> None:
    """The same weights but for the order of sums: a row stands in other batches when it is kept."""
    plan = recipe.Intermediate(epochs=2, batch_size=16, learning_rate=1e-3, relations=1, patient=1, cosine=1)
    weights, losses = [], []
    for name, allowed in (("beside", None), ("kept", 1e9), ("again", 1e9), ("little", 1e5)):
        found = pair(folder, kind="tinybert", layers=2, hidden_size=16, heads=2, intermediate_size=32)
        remarks = told(found)
        place = tmp_path / ("kept" if name == "again" else name)
        (place / "checkpoint.safetensors").unlink(missing_ok=True)
        losses.append([entry["losses"] for entry in layers.learn_layers(found, plan, place, allowed).epochs])
        weights.append({name: weight.numpy() for name, weight in found.student.state_dict().items()})
        told_of_states = [remark for remark in remarks if remark.startswith("teacher's states")]
        assert bool(told_of_states) == (name in ("kept", "little"))
        assert list(place.glob("states/*")) == (
            [] if name in ("beside", "little") else [place / "states/00000.safetensors"]
        )
        if name == "little":
            assert "of 0.1 MB allowed" in told_of_states[0]
    beside, kept, again, little = weights
    for name, weight in beside.items():
        assert np.array_equal(weight, little[name])
        assert np.array_equal(kept[name], again[name])
        assert np.allclose(weight, kept[name], atol=1e-4)
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-5)


def test_students_of_one_teacher_share_its_states(folder: Path, tmp_path: Path) -> None:
    """What they learn is what they learn from states of their own, and an ablation reads the same cache."""
    plan = recipe.Intermediate(epochs=1, batch_size=16, learning_rate=1e-3)
    weights, places = [], []
    for name, shared in (("own", None), ("first", tmp_path / "all"), ("second", tmp_path / "all")):
        found = pair(folder, kind="tinybert", layers=2, hidden_size=16, heads=2, intermediate_size=32)
        remarks = told(found)
        layers.learn_layers(found, plan, tmp_path / name, 1e9, shared)
        weights.append({name: weight.numpy() for name, weight in found.student.state_dict().items()})
        assert any(remark.startswith("teacher's states") for remark in remarks) == (name != "second")
        places.append(sorted((tmp_path / "all").glob("*/*")))
    assert places[1] == places[2] and len(places[1]) == 1 and not (tmp_path / "first" / "states").exists()
    for name, weight in weights[0].items():
        assert np.array_equal(weight, weights[1][name]) and np.array_equal(weight, weights[2][name])
    found = pair(folder, kind="tinybert", layers=2, hidden_size=16, heads=2, intermediate_size=32)
    less = plan.model_copy(update={"attention": 0.0})
    (epoch,) = layers.learn_layers(found, less, tmp_path / "less", 1e9, tmp_path / "all").epochs
    assert sorted(epoch["losses"]) == ["embedding", "hidden"] and sorted((tmp_path / "all").glob("*/*")) == places[1]


def test_the_bytes_that_are_told_are_those_on_disk(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="tinybert", layers=2, hidden_size=16, heads=2, intermediate_size=32)
    remarks = told(found)
    learn_layers(found, tmp_path)
    assert not remarks[0].startswith("teacher")
    plan = recipe.Intermediate(epochs=1, relations=1)
    layers.learn_layers(found, plan, tmp_path / "kept", 1e9)
    said = next(float(remark.split()[-4]) for remark in remarks if remark.startswith("teacher's states: 48 rows"))
    size = sum(path.stat().st_size for path in (tmp_path / "kept/states").iterdir()) / 1e6
    assert size == pytest.approx(said, abs=0.1)


def test_both_phases_together_keep_what_is_allowed(folder: Path, tmp_path: Path) -> None:
    """Room for the states of the first phase and half of those of the second: that one's teacher runs beside it."""
    quick = {"epochs": 1, "batch_size": 16}
    values = {"intermediate": quick | {"embedding": 0, "attention": 0}, "prediction": quick | {"cosine": 1}}
    plan = recipe.Distil.model_validate(values)
    for name, share, kept in (("little", 2.5, ["intermediate"]), ("enough", 3.1, ["intermediate", "prediction"])):
        found = pair(folder, kind="distilbert", layers=2)
        one = 4 * 32 * sum(found.train.lengths)  # bytes of the states of one layer; the first phase reads two
        distil.learn(found, plan, share * one, tmp_path / name)
        assert sorted(path.parent.name for path in (tmp_path / name).glob("*/states")) == kept
        size = sum(path.stat().st_size for path in (tmp_path / name).glob("*/states/*"))
        assert size < 1.1 * share * one


def test_a_full_disk_is_seen_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    found = pair(folder, **NARROW)
    remarks = told(found)
    plan = recipe.Intermediate(epochs=1, batch_size=16)
    layers.learn_layers(found, plan, tmp_path, 1e9)
    assert not (tmp_path / "states").exists()
    assert any("0.0 MB are free" in one and "runs beside the student" in one for one in remarks)
    with pytest.raises(DiskFullError, match="teacher's answers"):
        answers.teacher_answers(found, tmp_path / "logits")


def test_answers_are_compared_in_float32(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []
    own = answers.soft_loss
    monkeypatch.setattr(answers, "soft_loss", lambda *args: kinds.append(args[1].dtype) or own(*args))
    plan = recipe.Prediction(epochs=1, batch_size=16, precision="bfloat16")
    answers.learn_answers(pair(folder, kind="distilbert", layers=2), plan, tmp_path)
    assert set(kinds) == {torch.float32}


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("gpt")
    source = tiny_gpt(home / "source", "gpt2", layers=4)
    gpt_transfer.start(source, home / "model", 3).save_pretrained(home / "model")
    return home / "model"


DECODER = {"kind": "distilgpt", "layers": 2}


def test_a_gpt_learns_patiently_from_the_last_real_piece(
    gpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, given = pair(gpt, **DECODER), []
    own = layers.patient_error
    monkeypatch.setattr(layers, "patient_error", lambda ours, theirs: given.append(theirs) or own(ours, theirs))
    learn_layers(found, tmp_path, **ALONE, patient=1.0, batch_size=48)
    features = found.train.features
    arrays = {name: torch.from_numpy(array) for name, array in encoding.collate(features, found.pad_id).items()}
    with torch.no_grad():
        states = found.teacher.base_model(
            input_ids=arrays["input_ids"], attention_mask=arrays["attention_mask"], output_hidden_states=True
        ).hidden_states[2]
    last = states[torch.arange(48), arrays["attention_mask"].sum(1) - 1]
    norms = sorted(float(one.norm()) for one in last)
    assert sorted(float(one.norm()) for one in given[0][0]) == pytest.approx(norms, rel=1e-4)
    assert norms[-1] - norms[0] > 1e-2  # the first pieces of all texts would be the same


def test_the_last_state_of_a_gpt_is_what_its_head_reads(gpt: Path, tmp_path: Path) -> None:
    """A student whose norm above the layers is off is seen by the cosine, in either phase."""
    found = without_dropout(pair(gpt, kind="distilgpt", layers=4))
    with torch.no_grad():
        found.student.transformer.ln_f.bias.add_(torch.linspace(-2, 2, 32))
    (inside,) = learn_layers(found, tmp_path / "inside", **ALONE, cosine=1.0)
    plan = recipe.Prediction(epochs=1, batch_size=16, learning_rate=1e-9, cosine=1)
    (after,) = answers.learn_answers(found, plan, tmp_path / "after").epochs
    assert inside["cosine"] > 0.01 and after["losses"]["cosine"] == pytest.approx(inside["cosine"], rel=1e-3)


@pytest.mark.parametrize("name", ["attention", "relations"])
def test_a_gpt_has_no_scores_and_no_relations_to_teach(gpt: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"distil\.intermediate\.{name}.*encoders alone"):
        learn_layers(pair(gpt, **DECODER), tmp_path, **(ALONE | {name: 1.0}))


def test_a_shared_cache_of_a_gpt_holds_no_scores(gpt: Path, tmp_path: Path) -> None:
    plan = recipe.Intermediate(epochs=1, batch_size=16, attention=0)
    layers.learn_layers(pair(gpt, **DECODER), plan, tmp_path, 1e9, tmp_path / "all")
    (path,) = (tmp_path / "all").glob("*/*")
    assert {name.split("/")[0] for name in load_file(path)} == {"hidden"}


def test_a_rate_that_explodes_stops_before_the_weights_are_lost(folder: Path, tmp_path: Path) -> None:
    student = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "intermediate_size": 32}
    with pytest.raises(
        AttarError, match=r"^intermediate: the loss is (nan|inf).* at step \d+, on the training rows rows:\d+, \d+,"
    ):
        learn_layers(pair(folder, **student), tmp_path / "broken", learning_rate=1e35, epochs=2)
    kept = load_file(tmp_path / "broken/checkpoint.safetensors")
    assert all(np.isfinite(weight).all() for weight in kept.values())
    epochs = learn_layers(pair(folder, **student), tmp_path / "mended", learning_rate=1e-3, epochs=2)
    assert sum(epochs[1].values()) < sum(epochs[0].values())


def said(found: Pair, model: PreTrainedModel) -> Answers:
    """A model's logits on the training rows."""
    return heads.answers(model, found.task.head, found.train.features, found.pad_id)


def divergence(found: Pair) -> float:
    """Mean Kullback-Leibler divergence of the student's probabilities from its teacher's."""
    models = (found.teacher, found.student)
    theirs, ours = (log_softmax(said(found, m), axis=1) for m in models)
    return float((np.exp(theirs) * (theirs - ours)).sum(1).mean())


@pytest.mark.parametrize(("soft", "hard"), [(1.0, 0.0), (0.0, 1.0)])
def test_answers_are_learnt_from_whom_the_weights_say(folder: Path, tmp_path: Path, soft: float, hard: float) -> None:
    """The teacher is random, so what it says and what is true cannot be confused."""
    found = pair(folder, kind="distilbert", layers=2, start="random")
    plan = recipe.Prediction(epochs=25, batch_size=8, learning_rate=2e-3, soft=soft, hard=hard, keep="last")
    before = divergence(found)
    state = answers.learn_answers(found, plan, tmp_path)
    assert set(state.epochs[0]["losses"]) == ({"soft"} if soft else {"hard"})
    truth, teachers_truth = (
        found.task.score(said(found, model), found.train) for model in (found.student, found.teacher)
    )
    if soft:
        assert divergence(found) < 0.5 * before
    else:
        assert divergence(found) > before
        assert truth["accuracy"] > max(0.85, teachers_truth["accuracy"])


def test_the_reverse_divergence_teaches_the_same_answers(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="distilbert", layers=2)
    plan = recipe.Prediction(epochs=8, batch_size=8, learning_rate=2e-3, divergence="reverse", keep="last")
    before = divergence(found)
    state = answers.learn_answers(found, plan, tmp_path)
    assert divergence(found) < 0.5 * before
    assert state.epochs[-1]["losses"]["soft"] < state.epochs[0]["losses"]["soft"]


def test_the_triple_loss_of_distilbert_on_a_task(folder: Path, tmp_path: Path) -> None:
    plan = recipe.Prediction(epochs=1, batch_size=16, learning_rate=1e-9, hard=1, cosine=2)
    state = answers.learn_answers(without_dropout(pair(folder, kind="distilbert", layers=4)), plan, tmp_path / "same")
    assert set(state.epochs[0]["losses"]) == {"soft", "hard", "cosine"}
    assert state.epochs[0]["losses"]["cosine"] < 1e-6
    plan = recipe.Prediction(epochs=4, batch_size=16, learning_rate=1e-3, cosine=2)
    found = pair(folder, kind="distilbert", layers=2)
    state = answers.learn_answers(found, plan, tmp_path / "half", 1e9)
    assert state.epochs[-1]["losses"]["cosine"] < 0.8 * state.epochs[0]["losses"]["cosine"]
    assert (tmp_path / "half/states/00000.safetensors").is_file()
    with pytest.raises(UsageError, match=r"distil\.prediction\.cosine.*equal widths"):
        narrow = pair(folder, kind="tinybert", layers=2, hidden_size=16, intermediate_size=32)
        answers.learn_answers(narrow, plan, tmp_path / "narrow")


def test_the_teachers_answers_are_kept_and_give_the_same_student(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="distilbert", layers=2)
    kept = answers.teacher_answers(found, tmp_path / "logits")
    expected = said(found, found.teacher)
    assert all(np.array_equal(kept[number]["logits"], row) for number, row in enumerate(expected))
    plan, weights = recipe.Prediction(epochs=1, batch_size=16), []
    for name in ("new", "again"):  # the second time they are read
        student = pair(folder, kind="distilbert", layers=2)
        remarks = told(student)
        (tmp_path / "run/checkpoint.safetensors").unlink(missing_ok=True)
        answers.learn_answers(student, plan, tmp_path / "run")
        assert any("teacher's answers: 48 rows" in remark for remark in remarks) == (name == "new")
        weights.append(student.student.state_dict())
    assert all(np.array_equal(weight, weights[1][name]) for name, weight in weights[0].items())


def test_answers_of_another_teacher_are_not_used(folder: Path, tmp_path: Path) -> None:
    found = pair(folder, kind="distilbert", layers=2)
    first = answers.teacher_answers(found, tmp_path)[0]["logits"]
    found.teacher = heads.load("sequence", folder).eval()
    found.teacher.classifier.weight.data.zero_()
    assert np.array_equal(answers.teacher_answers(found, tmp_path)[0]["logits"], first)  # known: not asked again
    found.digest = "another"
    assert not np.array_equal(answers.teacher_answers(found, tmp_path)[0]["logits"], first)


PHASE = {
    **{"epochs": 3, "batch_size": 32, "learning_rate": 5e-05, "weight_decay": 0.01, "warmup": 0.1},
    **{"max_grad_norm": 1.0, "freeze_embeddings": False, "average": 0.0, "evaluations": 1, "keep": "best"},
}


def test_keys_are_as_they_were_before_there_were_other_losses() -> None:
    plain = recipe.Distil()
    assert stated(plain, "augment") == {
        "intermediate": {**PHASE, "embedding": 1.0, "hidden": 1.0, "attention": 1.0},
        "prediction": {**PHASE, "soft": 1.0, "hard": 0.0, "temperature": 1.0},
    }
    values = {"intermediate": {"relations": 2, "relation_heads": 4}, "prediction": {"divergence": "reverse"}}
    found = stated(recipe.Distil.model_validate(values | {"cache": {"states": "2GB"}}))
    assert found["cache"] == {"states": 2e9}
    assert found["prediction"].keys() - PHASE.keys() == {"soft", "hard", "temperature", "divergence"}
    assert found["intermediate"].keys() - PHASE.keys() == {*ALONE, "relations", "relation_heads"}

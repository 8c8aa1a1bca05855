"""General distillation: each loss is what its paper says, and the student it leaves is where a task goes on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from attar import pipeline, recipe, students, training
from attar.benchmarks import corpus_memory
from attar.compress import attention, general
from attar.compress.general_losses import GeneralDistillation
from attar.errors import AttarError, UsageError
from attar.recipe_file import parse
from attar.stages.students import _distil_inputs
from attar.tasks import corpus
from attar.teachers import checkpoint, knowledge
from attar.teachers.objectives import pieces
from attar.teachers.objectives.mlm import Masking
from conftest import SENTENCES, save_words, tiny_config, tiny_teacher, tiny_tokenizer
from helpers import Stop, silent, stop_at, written
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForMaskedLM, BertForMaskedLM, PreTrainedModel

WORDS = " ".join(SENTENCES).replace(",", "").replace("?", "").split()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = random.Random(2)
    lines = [" ".join(chance.choices(WORDS, k=chance.randint(4, 12))) + "." for _ in range(200)]
    return written(tmp_path_factory.mktemp("texts") / "text.txt", "\n\n".join(lines))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model of four layers with its head; every weight is its own."""
    folder = tmp_path_factory.mktemp("source") / "model"
    words = Tokenizer.from_file(str(tiny_tokenizer(folder)))
    torch.manual_seed(0)
    model = BertForMaskedLM(tiny_config(words.get_vocab_size(), layers=4))
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    save_words(words, folder)
    return folder


def plan(texts: Path, **options: Any) -> recipe.General:
    values = {"batch_size": 16, "max_length": 24, "learning_rate": 2e-3, **options}
    return recipe.General.model_validate({"corpus": {"paths": [str(texts)]}, **values})


TINY: dict[str, Any] = {"soft": 0, "hard": 0, "cosine": 0, "embedding": 1, "hidden": 1, "attention": 1}
NARROW: dict[str, Any] = {"kind": "tinybert", "layers": 2, "hidden_size": 16, "heads": 2, "intermediate_size": 32}


def distil(source: Path, settings: recipe.General, folder: Path, progress: Any = silent, **student: Any) -> Any:
    spec = recipe.Student.model_validate({"layers": 2, **student})
    return general.distil(spec, settings, source, 0, folder, corpus.of(settings.corpus), progress)


def objective(source: Path, settings: recipe.General, **student: Any) -> GeneralDistillation:
    """The losses over the whole teacher and a student without dropout."""
    teacher = knowledge.masked_lm(source)[0].eval()
    spec = recipe.Student.model_validate({"layers": 2, **student})
    built = students.build(teacher, spec, "mlm").eval()
    masking = Masking(pieces.read(source / "tokenizer.json"), 0.3)
    return GeneralDistillation(teacher, built, [2, 4], settings, masking).eval()


def batch(source: Path) -> dict[str, torch.Tensor]:
    """A prepared batch with padding, and the right pieces where some were masked."""
    words = Tokenizer.from_file(str(source / "tokenizer.json"))
    rows = [words.encode(sentence).ids for sentence in SENTENCES]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    found = {"input_ids": ids, "attention_mask": (ids != 0).long(), "token_type_ids": torch.zeros_like(ids)}
    labels = torch.full_like(ids, -100)
    labels[:, 2], labels[1:4, 4] = ids[:, 2], ids[1:4, 4]
    found["input_ids"] = ids.clone().masked_fill(labels != -100, words.token_to_id("[MASK]"))
    return found | {"labels": labels}


def outputs(model: PreTrainedModel, found: dict[str, torch.Tensor]) -> Any:
    taken = {name: found[name] for name in checkpoint.takes(model)}
    return model(**taken, labels=found["labels"], output_hidden_states=True)


@torch.no_grad()
@pytest.mark.parametrize("where", ["all", "masked"])
def test_the_losses_of_distilbert(texts: Path, source: Path, where: str) -> None:
    """Against torch's own losses, as the authors' code uses them, over the library's own logits."""
    settings = plan(texts, soft_pieces=where, temperature=2.0)
    made, found = objective(source, settings), batch(source)
    ours, theirs = outputs(made.model, found), outputs(made.teacher, found)
    real = found["attention_mask"].bool()
    asked = real if where == "all" else found["labels"] != -100
    student, teacher = ours.logits[asked] / 2, theirs.logits[asked] / 2
    divergences = torch.nn.KLDivLoss(reduction="batchmean")(F.log_softmax(student, -1), F.softmax(teacher, -1))
    same = torch.ones(int(real.sum()))
    angles = torch.nn.CosineEmbeddingLoss()(ours.hidden_states[-1][real], theirs.hidden_states[-1][real], same)
    losses = made(found)
    assert set(losses) == {"soft", "hard", "cosine"}
    assert float(losses["soft"]) == pytest.approx(5 * 4 * float(divergences), rel=1e-4)
    assert float(losses["hard"]) == pytest.approx(2 * float(ours.loss), rel=1e-4)
    assert float(losses["cosine"]) == pytest.approx(float(angles), rel=1e-4)


@torch.no_grad()
def test_the_losses_of_tinybert(texts: Path, source: Path) -> None:
    made, found = objective(source, plan(texts, **TINY), **NARROW), batch(source)
    ours, theirs = outputs(made.model, found).hidden_states, outputs(made.teacher, found).hidden_states
    real = found["attention_mask"].bool()

    def error(state: torch.Tensor, target: torch.Tensor, project: torch.nn.Module) -> float:
        return float(F.mse_loss(project(state)[real], target[real]))

    with attention.recordable(made.teacher, made.model):
        losses = made(found)
    assert set(losses) == {"embedding", "hidden", "attention"}
    assert float(losses["embedding"]) == pytest.approx(error(ours[0], theirs[0], made.embedding_map), rel=1e-4)
    layers = error(ours[1], theirs[2], made.hidden_map) + error(ours[2], theirs[4], made.hidden_map)
    assert float(losses["hidden"]) == pytest.approx(layers, rel=1e-4)
    scores = [
        [product(model, layer, found, heads) for layer in numbers]
        for model, numbers, heads in ((made.model, (1, 2), 2), (made.teacher, (2, 4), 4))
    ]
    pairs = real[:, :, None] & real[:, None, :]
    total = 0.0
    for student, teacher in zip(*scores, strict=True):
        pooled = teacher.reshape(len(real), 2, 2, *teacher.shape[2:]).mean(2)  # two of its four heads for each of ours
        total += float(
            torch.stack([F.mse_loss(student[:, head][pairs], pooled[:, head][pairs]) for head in (0, 1)]).mean()
        )
    assert float(losses["attention"]) == pytest.approx(total, rel=1e-4)


def projected(
    model: PreTrainedModel, layer: int, found: dict[str, torch.Tensor], heads: int
) -> dict[str, torch.Tensor]:
    """Queries, keys and values of a layer, from 1, by the library's own modules: (batch, heads, length, d)."""
    inside, kept = model.base_model.encoder.layer[layer - 1].attention.self, {}
    hooks = [
        getattr(inside, name).register_forward_hook(lambda m, a, output, name=name: kept.update({name: output}))
        for name in ("query", "key", "value")
    ]
    outputs(model, found)
    for hook in hooks:
        hook.remove()
    return {name: one.unflatten(-1, (heads, -1)).transpose(1, 2) for name, one in kept.items()}


def product(model: PreTrainedModel, layer: int, found: dict[str, torch.Tensor], heads: int) -> torch.Tensor:
    """Attention scores before the softmax."""
    made = projected(model, layer, found, heads)
    return made["query"] @ made["key"].transpose(-1, -2) / made["query"].shape[-1] ** 0.5


@torch.no_grad()
@pytest.mark.parametrize(("kinds", "layer"), [(["query", "key", "value"], 3), (["attention", "value"], None)])
def test_the_relations_of_minilm(texts: Path, source: Path, kinds: list[str], layer: int | None) -> None:
    """Row by row over the real pieces alone, by torch's own softmax and divergence."""
    alone = {"soft": 0, "hard": 0, "cosine": 0, "relations": 2.0}
    settings = plan(texts, **alone, relation_kinds=kinds, relation_layer=layer, relation_heads=2)
    made, found = objective(source, settings, **NARROW), batch(source)
    ours, theirs = projected(made.model, 2, found, 2), projected(made.teacher, layer or 4, found, 2)
    total = 0.0
    for kind in kinds:
        first, second = ("query", "key") if kind == "attention" else (kind, kind)
        sums, count = 0.0, 0
        for row, length in enumerate(found["attention_mask"].sum(1).tolist()):
            logs = [
                F.log_softmax(m[first][row, :, :length] @ m[second][row, :, :length].mT / m[first].shape[-1] ** 0.5, -1)
                for m in (ours, theirs)
            ]
            sums += float(F.kl_div(logs[0], logs[1], log_target=True, reduction="sum"))
            count += 2 * length
        total += sums / count
    with attention.recordable(made.teacher, made.model):
        losses = made(found)
    assert set(losses) == {"relations"}
    assert float(losses["relations"]) == pytest.approx(2 * total, rel=1e-4)


@torch.no_grad()
def test_maps_start_from_a_fit(texts: Path, source: Path) -> None:
    made, found = objective(source, plan(texts, **TINY), **NARROW), batch(source)
    with attention.recordable(made.teacher, made.model):
        before = made(found)
    rows = {name: found[name].numpy() for name in ("input_ids", "attention_mask", "token_type_ids")}
    made.fit([rows])
    with attention.recordable(made.teacher, made.model):
        after = made(found)
    assert after["embedding"] < 0.7 * before["embedding"] and after["hidden"] < 0.7 * before["hidden"]
    assert after["attention"] == before["attention"]


@torch.no_grad()
def test_padding_never_contributes(texts: Path, source: Path) -> None:
    made, found = objective(source, plan(texts, embedding=1.0, hidden=1.0)), batch(source)
    longer = {name: F.pad(tensor, (0, 5), value=-100 if name == "labels" else 0) for name, tensor in found.items()}
    for name, loss in made(longer).items():
        assert float(loss) == pytest.approx(float(made(found)[name]), rel=1e-4), name


@torch.no_grad()
def test_a_student_of_all_layers_answers_masks_as_its_teacher(source: Path) -> None:
    found, teacher = batch(source), knowledge.masked_lm(source)[0].eval()
    for kind in ("distilbert", "tinybert"):
        spec = recipe.Student.model_validate({"kind": kind, "layers": 4})
        student = students.build(teacher, spec, "mlm").eval()
        mask = found["attention_mask"].bool()
        ours, theirs = outputs(student, found).logits, outputs(teacher, found).logits
        assert torch.allclose(ours[mask], theirs[mask], atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "student"), [({}, {}), (TINY, NARROW), ({"cosine": 0, "hard": 0, "hidden": 1}, NARROW)]
)
def test_it_learns_and_leaves_a_stock_folder(
    texts: Path, source: Path, tmp_path: Path, weights: dict[str, Any], student: dict[str, Any]
) -> None:
    found = distil(source, plan(texts, epochs=6, **weights), tmp_path, **student)
    epochs = found["training"][0]["epochs"]
    first, last = (sum(epochs[place]["losses"].values()) for place in (0, -1))
    assert last < 0.95 * first
    assert found["layers"] == [2, 4] and found["rows"]["dev"] >= 1
    kind = AutoModelForMaskedLM if weights is not TINY else AutoModel
    model, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not [name for name in report["missing_keys"] if "pooler" not in name]
    own = [weight.numel() for name, weight in model.named_parameters() if "pooler" not in name]
    assert found["parameters"] == sum(own)
    assert (tmp_path / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_one_step_lowers_the_losses(texts: Path, source: Path) -> None:
    for settings, student in ((plan(texts), {}), (plan(texts, **TINY), NARROW)):
        made, found = objective(source, settings, **student), batch(source)
        with attention.recordable(made.teacher, made.model):
            before = torch.stack(list(made(found).values())).sum()
            before.backward()
            with torch.no_grad():
                for weight in made.parameters():
                    if weight.grad is not None:
                        weight -= 1e-3 * weight.grad / (weight.grad.norm() + 1e-6)
                assert sum(made(found).values()) < before


def test_a_killed_distillation_ends_with_the_same_bytes(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a teacher without a head, killed while that is trained and again later."""
    source = tiny_teacher(tmp_path / "teacher", layers=4)
    settings = plan(texts, epochs=2, limit=60)
    distil(source, settings, tmp_path / "whole")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    for phase, step in (("head", 2), ("general", 3)):
        with pytest.raises(Stop):
            distil(source, settings, tmp_path / "cut", stop_at(phase, step))
    distil(source, settings, tmp_path / "cut")
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == resumed


@pytest.mark.parametrize(
    ("options", "student", "words"),
    [
        ({}, NARROW, "distil.general.cosine"),
        ({"max_length": 80}, {}, "the teacher holds 64 pieces"),
        ({"batch_size": 4}, {"kind": "distilgpt"}, "student.kind"),
        ({"relations": 1, "relation_heads": 3}, {}, "distil.general.relation_heads"),
        ({"relations": 1, "relation_layer": 9}, {}, "distil.general.relation_layer"),
    ],
)
def test_what_cannot_be_is_refused(
    texts: Path, source: Path, tmp_path: Path, options: dict[str, Any], student: dict[str, Any], words: str
) -> None:
    with pytest.raises(AttarError) as caught:
        distil(source, plan(texts, **options), tmp_path, **student)
    assert words in caught.value.line()


def test_a_teacher_without_a_head_may_be_refused(texts: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no masked-LM head"):
        distil(teacher, plan(texts, head=None), tmp_path, layers=1)
    assert distil(teacher, plan(texts, head=None, **TINY), tmp_path, kind="tinybert", layers=1)["parameters"]


def test_a_corpus_shorter_than_a_batch(source: Path, tmp_path: Path) -> None:
    few = written(tmp_path / "few.txt", "\n\n".join(SENTENCES[:4]))
    found = distil(source, plan(few, max_length=12), tmp_path / "few")
    assert found["rows"]["train"] + found["rows"]["dev"] < 16
    one = written(tmp_path / "one.txt", SENTENCES[0])
    with pytest.raises(AttarError, match="give more text") as caught:
        distil(source, plan(one), tmp_path / "one")
    assert caught.value.where == "distil.general.corpus"


@pytest.mark.skipif(not corpus_memory.STATUS.exists(), reason="the peak of resident memory is read from /proc")
def test_memory_does_not_grow_with_the_corpus(texts: Path, source: Path, tmp_path: Path) -> None:
    line = texts.read_text("utf-8")
    peaks = []
    for times in (4, 40):
        path = written(tmp_path / f"{times}.txt", "\n\n".join([line] * times))
        peaks.append(corpus_memory.distil(str(source), corpus.Corpus(path), tmp_path / str(times)))
    assert 0 < peaks[1] < 1.1 * peaks[0]


def test_nothing_to_learn_is_refused(texts: Path) -> None:
    with pytest.raises(ValueError, match="all weights are 0"):
        plan(texts, soft=0, hard=0, cosine=0)


def values(texts: Path, source: Path, rows: Path, settings: recipe.General | None, **student: Any) -> dict[str, Any]:
    quick = {"epochs": 1, "batch_size": 8}
    distil = {
        "intermediate": None,
        "prediction": {**quick, "epochs": 0},
        "general": settings and settings.model_dump(mode="json"),
    }
    return {
        "name": "x",
        "task": {"train": {"path": str(rows)}, "max_length": 16},
        "teacher": {"model": str(source), "training": quick},
        "student": {"layers": 2, **student},
        "distil": distil,
        "export": {"lengths": [16]},
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = [f"{n % 2}\t{SENTENCES[n % 8]}" for n in range(40)]
    return written(tmp_path_factory.mktemp("rows") / "rows.tsv", "label\ttext\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("student", [{}, NARROW])
def test_tasks_share_one_general_student_and_go_on_from_it(
    texts: Path, source: Path, rows: Path, tmp_path: Path, student: dict[str, Any]
) -> None:
    settings = plan(texts, epochs=2, **({"cosine": 0} if student else {}))
    one = pipeline.run(parse(values(texts, source, rows, settings, **student)), tmp_path / "one", until="distil")
    assert [stage["name"] for stage in one.stages] == ["teach", "general", "distil"]
    models = (AutoModel.from_pretrained(tmp_path / "one" / name) for name in ("student", "general"))
    ours, theirs = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items() if "pooler" not in name)
    other = written(tmp_path / "other.tsv", rows.read_text().replace("music", "noise"))
    two = pipeline.run(parse(values(texts, source, other, settings, **student)), tmp_path / "two", until="distil")
    assert [stage["reused"] for stage in two.stages] == [False, True, False]
    bare = pipeline.run(parse(values(texts, source, rows, None, **student)), tmp_path / "bare", until="distil")
    assert bare.keys["teach"] == one.keys["teach"] and bare.keys["distil"] != one.keys["distil"]
    assert "general" not in _distil_inputs(bare)["distil"]


def test_another_tokenizer_is_refused(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "general")
    words = Tokenizer.from_file(str(source / "tokenizer.json"))
    words.add_tokens(["zebra"])
    words.save(str(tmp_path / "general" / "tokenizer.json"))
    with pytest.raises(AttarError, match="different tokenizers"):
        general.check_pieces(tmp_path / "general", source)
    general.check_pieces(source, tmp_path / "general")  # a teacher may have learnt more


def test_random_weights_are_no_teacher(texts: Path, source: Path, rows: Path) -> None:
    stated = values(texts, source, rows, plan(texts))
    stated["teacher"]["start"] = "random"
    with pytest.raises(UsageError, match="throws away"):
        parse(stated)

"""Students: what starts from the teacher computes what the teacher computes, and every student reloads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attar import recipe, students
from attar.compress import attention, losses
from attar.compress import states as compressed
from attar.errors import UsageError
from attar.students import head_map, layer_map, narrow
from attar.students.heads import parts
from attar.teachers import checkpoint, heads, layout
from conftest import tiny_teacher
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_teacher(tmp_path_factory.mktemp("deep") / "model", layers=4)


@pytest.fixture
def teacher_model(deep: Path) -> PreTrainedModel:
    return heads.load("sequence", deep).eval()


IDS = {"input_ids": torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(0))}
IDS["attention_mask"] = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7])


def states(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        hidden = model(**IDS, output_hidden_states=True).hidden_states[-1]
    return hidden * IDS["attention_mask"][..., None]


def test_layer_maps() -> None:
    assert layer_map.resolve("uniform", 3, 6) == [2, 4, 6]
    assert layer_map.resolve("uniform", 4, 12) == [3, 6, 9, 12]
    assert layer_map.resolve("uniform", 4, 6) == [2, 3, 5, 6]
    assert layer_map.resolve("top", 2, 6) == [5, 6]
    assert layer_map.resolve("bottom", 2, 6) == [1, 2]
    assert layer_map.resolve([1, 6], 2, 6) == [1, 6]
    for wrong in ([1], [2, 1], [0, 3], [3, 7], [2, 2]):
        with pytest.raises(UsageError, match="layer_map"):
            layer_map.resolve(wrong, 2, 6)
    with pytest.raises(UsageError, match=r"student\.layers"):
        layer_map.resolve("uniform", 7, 6)


@given(st.integers(1, 24), st.integers(1, 24))
def test_every_named_map_rises_within_the_teacher(small: int, large: int) -> None:
    if small <= large:
        for name in ("uniform", "top", "bottom"):
            layers = layer_map.resolve(name, small, large)
            assert layers == sorted(set(layers))
            assert layers[0] >= 1
            assert layers[-1] <= large
        assert layer_map.resolve("uniform", small, large)[-1] == large


def test_a_distilbert_of_all_layers_computes_what_its_teacher_does(teacher_model: PreTrainedModel) -> None:
    student = students.build(teacher_model, recipe.Student(kind="distilbert", layers=4)).eval()
    assert torch.allclose(states(student), states(teacher_model), atol=1e-4)


def test_a_tinybert_of_the_teachers_shape_answers_as_its_teacher(teacher_model: PreTrainedModel) -> None:
    student = students.build(teacher_model, recipe.Student(kind="tinybert", layers=4)).eval()
    with torch.no_grad():
        assert torch.allclose(student(**IDS).logits, teacher_model(**IDS).logits, atol=1e-4)


def test_every_second_layer(teacher_model: PreTrainedModel) -> None:
    student = students.build(teacher_model, recipe.Student(kind="distilbert", layers=2))
    ours, theirs = layout.read(student), layout.read(teacher_model)
    for place, layer in enumerate((2, 4)):
        assert torch.equal(ours[f"{place}.query.weight"], theirs[f"{layer - 1}.query.weight"])
        assert torch.equal(ours[f"{place}.down.bias"], theirs[f"{layer - 1}.down.bias"])
    assert torch.equal(ours["position"], theirs["position"] + theirs["segment"][0])


def test_a_narrow_start_is_closer_to_the_teacher_than_a_random_one(teacher_model: PreTrainedModel) -> None:
    spec = recipe.Student(kind="tinybert", layers=4, hidden_size=24, heads=4, intermediate_size=48)
    started = students.build(teacher_model, spec).eval()
    units = narrow.hidden_units(layout.read(teacher_model), layout.shape(teacher_model), 24)
    target = states(teacher_model)[..., units]
    torch.manual_seed(0)
    blank = students.build(teacher_model, spec.model_copy(update={"start": "random"})).eval()

    def alike(model: PreTrainedModel) -> float:
        return float(torch.cosine_similarity(states(model)[0], target[0], dim=-1).mean())

    assert alike(started) > 0.5
    assert alike(started) > alike(blank) + 0.3


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(**IDS).logits


@pytest.mark.parametrize("count", [8, 16])
def test_more_heads_than_the_teachers_add_up_to_its_own(teacher_model: PreTrainedModel, count: int) -> None:
    """Where a score fits into the narrower heads, nothing else is lost: each writes its part of what one wrote."""
    with torch.no_grad():
        for layer in range(4):
            for part in layout.linear(teacher_model, layer, "query").parameters():
                part.view(4, 8, -1)[:, 32 // count :] = 0  # scores of the rank of a student's head
    student = students.build(teacher_model, recipe.Student(kind="tinybert", layers=4, heads=count)).eval()
    assert torch.allclose(logits(student), logits(teacher_model), atol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_and_wider_heads_write_what_all_of_their_share_did(teacher_model: PreTrainedModel, count: int) -> None:
    """Where the heads of a share look alike, their one head computes what they did; none is dropped."""
    with torch.no_grad():
        for layer in range(4):
            for name in ("query", "key"):
                for part in layout.linear(teacher_model, layer, name).parameters():
                    heads_of = part.view(count, 4 // count, 8, -1)
                    heads_of[:, 1:] = heads_of[:, :1].clone()
    student = students.build(teacher_model, recipe.Student(kind="tinybert", layers=4, heads=count)).eval()
    assert torch.allclose(logits(student), logits(teacher_model), atol=1e-3)


def test_a_wider_head_is_full(teacher_model: PreTrainedModel) -> None:
    spec = recipe.Student(kind="tinybert", layers=2, hidden_size=16, heads=1, intermediate_size=32)
    found = layout.read(students.build(teacher_model, spec))
    for name in ("query", "key", "value", "output"):
        assert torch.linalg.matrix_rank(found[f"0.{name}.weight"], rtol=1e-2) > 8  # of a teacher's head


def test_a_student_head_starts_with_the_scores_that_it_is_taught(teacher_model: PreTrainedModel) -> None:
    """With all units and room for every rank: the mean of its share, as the attention loss pools them."""
    student = students.build(teacher_model, recipe.Student(kind="tinybert", layers=4, heads=2)).eval()
    with torch.no_grad(), attention.recordable(student, teacher_model):
        ours, theirs = (
            compressed.run(model, IDS, compressed.Wanted(scores=frozenset({1}))).scores[1]
            for model in (student, teacher_model)
        )
    assert losses.attention_error(ours, losses.pool_heads(theirs, 2), IDS["attention_mask"]) < 1e-4


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_what_heads_write_adds_up_whatever_their_numbers(large: int, small: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    products = [torch.randn(5, 3, generator=generator) @ torch.randn(3, 6, generator=generator) for _ in range(large)]
    parts = narrow._parted(products, head_map.shares(large, small))
    assert len(parts) == small
    assert torch.allclose(torch.stack(parts).sum(0), torch.stack(products).sum(0), atol=1e-3)


@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 10), st.integers(0, 99))
def test_low_rank_is_the_best_of_its_rank(n: int, m: int, rank: int, seed: int) -> None:
    product = torch.randn(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, right = narrow.low_rank(product, rank)
    assert left.shape == (n, rank)
    assert right.shape == (rank, m)
    values = torch.linalg.svdvals(product)
    assert float((product - left @ right).norm()) == pytest.approx(float(values[rank:].norm()), abs=1e-9)


def families() -> dict[str, PreTrainedModel]:
    small = {
        "vocab_size": 70,
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    torch.manual_seed(1)
    return {
        "bert": BertForSequenceClassification(BertConfig(**small, num_labels=3)),
        "electra": ElectraForSequenceClassification(ElectraConfig(**small, embedding_size=32, num_labels=3)),
        "roberta": RobertaForSequenceClassification(
            RobertaConfig(**small, max_position_embeddings=40, type_vocab_size=1, num_labels=3, pad_token_id=1)
        ),
        "distilbert": DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=70, n_layers=2, dim=32, n_heads=4, hidden_dim=64, num_labels=3)
        ),
    }


@pytest.mark.parametrize("family", ["electra", "roberta", "distilbert"])
@pytest.mark.parametrize("kind", ["distilbert", "tinybert"])
def test_every_family_can_teach(family: str, kind: str, tmp_path: Path) -> None:
    families()[family].save_pretrained(tmp_path / "teacher")
    teacher = heads.load("sequence", tmp_path / "teacher").eval()
    student = students.build(teacher, recipe.Student(kind=kind, layers=2)).eval()
    assert torch.allclose(states(student), states(teacher), atol=1e-4)


HEADS = ("sequence", "tokens", "span", "choice")


def with_head(head: str, family: str, folder: Path) -> PreTrainedModel:
    """A saved teacher of a family with a head, loaded."""
    encoder = families()[family]
    encoder.config.num_labels = {"tokens": 5, "span": 2, "choice": 1}.get(head, 3)
    torch.manual_seed(2)
    heads.HEADS[head].stock.from_config(encoder.config).save_pretrained(folder)
    return heads.load(head, folder).eval()


def answers(model: PreTrainedModel, head: str) -> torch.Tensor:
    """Logits; (3, 5) or (3, 9, 5) and so on, those of padding 0."""
    arrays = {name: array.numpy() for name, array in IDS.items()}
    with torch.no_grad():
        logits = heads.feed(model, head, arrays | {"token_type_ids": torch.zeros_like(IDS["input_ids"]).numpy()})
    return logits * IDS["attention_mask"][..., None] if logits.ndim == 3 else logits


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "distilbert"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_of_every_family_goes_to_its_students(head: str, family: str, tmp_path: Path) -> None:
    teacher = with_head(head, family, tmp_path / "teacher")
    stock = {"sequence": "SequenceClassification", "tokens": "TokenClassification", "span": "QuestionAnswering"}
    for kind, name in (("distilbert", "DistilBert"), ("tinybert", "Bert")):
        student = students.build(teacher, recipe.Student(kind=kind, layers=2), head).eval()
        assert type(student).__name__ == f"{name}For{stock.get(head, 'MultipleChoice')}"
        dense, out = parts(student)
        their_dense, their_out = parts(teacher)
        assert out is not None
        assert their_out is not None
        assert torch.equal(out.weight, their_out.weight)
        assert torch.equal(out.bias, their_out.bias)
        assert (dense is None) == (head in ("tokens", "span")) == (their_dense is None)
        if dense is not None and their_dense is not None:
            assert torch.equal(dense.weight, their_dense.weight)
        if dense is None or (family, kind) in (("bert", "tinybert"), ("distilbert", "distilbert")):
            assert torch.allclose(answers(student, head), answers(teacher, head), atol=1e-4)  # the same function
        checkpoint.save(student, tmp_path / kind)
        again, kept = heads.load(head, tmp_path / kind).eval(), student.state_dict()
        assert all(torch.equal(weight, kept[name]) for name, weight in again.state_dict().items())
        # on some processors the last bit depends on where in memory a weight lies
        assert torch.allclose(answers(again, head), answers(student, head), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("head", HEADS)
def test_a_narrow_head_reads_the_kept_units(head: str, tmp_path: Path) -> None:
    teacher = with_head(head, "bert", tmp_path)
    spec = recipe.Student(kind="tinybert", layers=2, hidden_size=16, intermediate_size=32)
    student = students.build(teacher, spec, head)
    units = narrow.hidden_units(layout.read(teacher), layout.shape(teacher), 16)
    (dense, out), (their_dense, their_out) = parts(student), parts(teacher)
    assert torch.equal(out.weight, their_out.weight[:, units])
    if dense is not None:
        assert torch.equal(dense.weight, their_dense.weight[units][:, units])
    assert answers(student, head).shape == answers(teacher, head).shape


def test_students_reload_with_no_attar(teacher_model: PreTrainedModel, tmp_path: Path) -> None:
    wanted = {}
    for kind, sizes in (("distilbert", {}), ("tinybert", {"hidden_size": 16, "intermediate_size": 40})):
        student = students.build(teacher_model, recipe.Student(kind=kind, layers=2, **sizes)).eval()
        checkpoint.save(student, tmp_path / kind)
        with torch.no_grad():
            wanted[kind] = AutoModel.from_pretrained(tmp_path / kind).eval()(**IDS)[0].flatten()[:5].tolist()
    code = (
        "import json, sys, torch\nfrom transformers import AutoModel\n"
        f"ids = {{'input_ids': torch.tensor({IDS['input_ids'].tolist()}),"
        f" 'attention_mask': torch.tensor({IDS['attention_mask'].tolist()})}}\n"
        "found = {k: AutoModel.from_pretrained(f'{sys.argv[1]}/{k}').eval()(**ids)[0].flatten()[:5].tolist()"
        " for k in ('distilbert', 'tinybert')}\n"
        "assert 'attar' not in sys.modules\nprint(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    for kind, values in json.loads(done.stdout.splitlines()[-1]).items():
        assert values == pytest.approx(wanted[kind], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"kind": "distilbert", "hidden_size": 16}, "student.hidden_size"),
        ({"kind": "tinybert", "hidden_size": 30}, "student.hidden_size"),
        ({"kind": "tinybert", "hidden_size": 64}, "student.start"),
        ({"kind": "tinybert", "layers": 9}, "student.layers"),
    ],
)
def test_a_student_that_cannot_be_is_refused_with_the_reason(
    teacher_model: PreTrainedModel, options: dict, where: str
) -> None:
    with pytest.raises(UsageError) as caught:
        students.build(teacher_model, recipe.Student(**options))
    assert where in caught.value.line()

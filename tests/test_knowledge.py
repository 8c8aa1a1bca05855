"""Knowledge: the losses by numpy, TransE on a graph it can learn, and a tiny BERT that is fused and probed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from attar import recipe, students
from attar.errors import AttarError
from attar.tasks import lama, triples
from attar.tasks.encoding import Arrays, Encoder, Features
from attar.tasks.triples import Files, Graph
from attar.teachers import checkpoint, knowledge, sharing, transe
from attar.teachers.objectives.heads import piece_logits
from attar.teachers.objectives.knowledge import Fusion, corrupt, distance, knowledge_loss, masked_loss
from conftest import SPECIAL, save_words, tiny_config, word_tokenizer
from helpers import Stop
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

PEOPLE = ["anna", "bert", "clara", "david", "emma", "felix", "greta", "hugo"]
TOWNS = ["paris", "rome", "oslo", "berlin", "lisbon", "vienna", "dublin", "prague"]
LANDS = ["france", "italy", "norway", "germany", "portugal", "austria", "ireland", "bohemia"]
TEXT = [f"{person} lives in {town} ." for person, town in zip(PEOPLE, TOWNS, strict=True)]
TEXT += [f"the town of {town} is in {land} ." for town, land in zip(TOWNS, LANDS, strict=True)]
LENGTH = 16


def vocabulary() -> list[str]:
    return [*sorted({word for text in TEXT for word in text.split()}), "near", "far"]


def tiny_folder(folder: Path, masked: bool = True) -> Path:
    """A tiny BERT with its tokenizer, with a masked-LM head or with a classifier's."""
    words = word_tokenizer(vocabulary())
    save_words(words, folder)
    kind = AutoModelForMaskedLM if masked else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind.from_config(tiny_config(words.get_vocab_size(), max_position_embeddings=32)).save_pretrained(folder)
    return folder


def mask(arrays: Arrays) -> tuple[Arrays, npt.NDArray[np.int64]]:
    """Hide a fifth of the ordinary pieces; chance comes from torch's global generator."""
    ids = arrays["input_ids"]
    hidden = (torch.rand(ids.shape).numpy() < 0.2) & (ids >= len(SPECIAL))
    return arrays | {"input_ids": np.where(hidden, 4, ids)}, np.where(hidden, ids, -100)


def corpus(encoder: Encoder, times: int = 4) -> knowledge.Corpus:
    return knowledge.Corpus(encoder.encode([(text, None) for text in TEXT * times]), mask, encoder.pad_id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("masked"))


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Towns lie in lands; some of the people's homelands are held out, and follow from the rest."""
    path = tmp_path_factory.mktemp("graph")
    rows = [f"{person}\tlives_in\t{town}" for person, town in zip(PEOPLE, TOWNS, strict=True)]
    rows += [f"{town}\tlies_in\t{land}" for town, land in zip(TOWNS, LANDS, strict=True)]
    homes = [f"{person}\tcomes_from\t{land}" for person, land in zip(PEOPLE, LANDS, strict=True)]
    (path / "train.txt").write_text("\n".join(rows + homes[:5]) + "\n", "utf-8")
    (path / "dev.txt").write_text("\n".join(homes[5:]) + "\n", "utf-8")
    return triples.read({"train": Files(path / "train.txt"), "dev": Files(path / "dev.txt")})


def entities_of(encoder: Encoder, graph: Graph) -> list[Features]:
    return encoder.encode([(text, None) for text in graph.texts])


@pytest.fixture(scope="module")
def probes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> lama.Probes:
    path = tmp_path_factory.mktemp("lama")
    facts = [("P1", a, b) for a, b in zip(PEOPLE, TOWNS, strict=True)]
    facts += [("P2", a, b) for a, b in zip(TOWNS, LANDS, strict=True)]
    names = ("predicate_id", "sub_label", "obj_label")
    lines = [json.dumps(dict(zip(names, fact, strict=True))) for fact in facts]
    (path / "facts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    templates = [("P1", "[X] lives in [Y] ."), ("P2", "the town of [X] is in [Y] .")]
    lines = [json.dumps({"relation": name, "template": text}) for name, text in templates]
    (path / "relations.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return lama.read(path / "facts.jsonl", path / "relations.jsonl", Encoder(folder / "tokenizer.json", LENGTH))


# losses


@pytest.mark.parametrize("norm", [1, 2])
def test_distance_by_numpy(norm: int) -> None:
    h, r, t = (np.random.default_rng(seed).normal(size=(4, 3, 6)) for seed in range(3))
    expected = np.linalg.norm(h + r - t, norm, axis=-1)
    found = distance(torch.from_numpy(h), torch.from_numpy(r), torch.from_numpy(t), norm)
    assert found.numpy() == pytest.approx(expected)


def test_knowledge_loss_and_its_gradients_by_numpy() -> None:
    generator = np.random.default_rng(0)
    near, far, margin = generator.uniform(0, 9, 5), generator.uniform(0, 9, (5, 3)), 4.0

    def sigmoid(value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 1 / (1 + np.exp(-value))

    expected = np.mean(-np.log(sigmoid(margin - near)) - np.log(sigmoid(far - margin)).sum(1) / 3)
    positive = torch.from_numpy(near).requires_grad_()
    negative = torch.from_numpy(far).requires_grad_()
    loss = knowledge_loss(positive, negative, margin)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss) == pytest.approx(expected)
    assert positive.grad is not None and negative.grad is not None
    assert positive.grad.numpy() == pytest.approx(sigmoid(near - margin) / 5)  # true triples come nearer
    assert negative.grad.numpy() == pytest.approx(-sigmoid(margin - far) / 15)  # false ones go away


def test_golden_values() -> None:
    """ln(1 + e^-1) for a true triple at 3 and a false one at 5, margin 4; ln 2 each at the margin."""
    one, other = torch.tensor([3.0]), torch.tensor([[5.0]])
    assert float(knowledge_loss(one, other, 4.0)) == pytest.approx(2 * 0.3132617, abs=1e-6)
    assert float(knowledge_loss(one, one[None], 3.0)) == pytest.approx(2 * 0.6931472, abs=1e-6)
    far = torch.tensor([500.0])  # nothing overflows far away
    assert float(knowledge_loss(far, far[None], 4.0)) == pytest.approx(496.0)
    assert float(transe.margin_loss(torch.tensor([1.0]), torch.tensor([[1.5, 3.0]]), 1.0)) == pytest.approx(0.25)


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))
def test_a_false_triple_differs_in_one_end(entities: int, negatives: int, seed: int) -> None:
    torch.manual_seed(seed)
    ends = torch.randint(entities, (6, 2))
    rows = torch.stack([ends[:, 0], torch.randint(9, (6,)), ends[:, 1]], 1)
    false = corrupt(rows, entities, negatives)
    assert false.shape == (6, negatives, 3)
    changed = false != rows[:, None]
    assert not changed[..., 1].any()
    assert (changed.sum(-1) == 1).all()
    assert int(false[..., [0, 2]].min()) >= 0 and int(false[..., [0, 2]].max()) < entities


def test_heads_and_tails_are_replaced_alike_by_anyone_else() -> None:
    torch.manual_seed(0)
    false = corrupt(torch.tensor([[1, 0, 2]]).repeat(4000, 1), 4, 1)[:, 0]
    heads, tails = false[false[:, 2] == 2][:, 0], false[false[:, 0] == 1][:, 2]
    assert len(heads) / 4000 == pytest.approx(0.5, abs=0.05)
    assert (torch.bincount(heads, minlength=4) / len(heads)).tolist() == pytest.approx(
        [1 / 3, 0, 1 / 3, 1 / 3], abs=0.05
    )
    assert (torch.bincount(tails, minlength=4) / len(tails)).tolist() == pytest.approx(
        [1 / 3, 1 / 3, 0, 1 / 3], abs=0.05
    )


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "albert", "electra"])
def test_the_head_alone_answers_as_the_whole_model(family: str) -> None:
    from transformers import AutoConfig

    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "dim": 16}
    sizes |= {"intermediate_size": 32, "embedding_size": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2}
    own = (
        sizes if family == "distilbert" else {k: v for k, v in sizes.items() if k not in ("dim", "n_layers", "n_heads")}
    )
    if family == "distilbert":
        own = {k: v for k, v in own.items() if k in ("vocab_size", "dim", "hidden_dim", "n_layers", "n_heads")}
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **own)).eval()
    ids = torch.randint(5, 40, (2, 6))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    labels = torch.where(torch.arange(6) % 3 == 1, ids, -100)
    with torch.no_grad():
        whole = model(**batch, labels=labels)
        states = model.base_model(**batch).last_hidden_state
        assert torch.allclose(piece_logits(model, states[0]), whole.logits[0], atol=1e-5)
        assert float(masked_loss(model, batch, labels)) == pytest.approx(float(whole.loss), rel=1e-5)
        assert float(masked_loss(model, batch, torch.full_like(ids, -100))) == 0.0


def test_fused_distances_by_one_text_at_a_time(folder: Path, graph: Graph) -> None:
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    features = entities_of(encoder, graph)
    model, _ = knowledge.masked_lm(folder)
    fusion = Fusion(model.eval(), len(graph.relations))
    rows = torch.tensor([[[0, 1, 3], [5, 1, 3]], [[2, 0, 2], [2, 0, 7]]])

    def one(number: int) -> Tensor:
        return model.bert(torch.tensor([features[number].input_ids])).last_hidden_state[0, 0]

    def feed(numbers: Tensor) -> dict[str, Tensor]:
        return knowledge._inputs(model, [features[number] for number in numbers.tolist()], encoder.pad_id)

    with torch.no_grad():
        found = fusion.distances(rows, feed, 1)
        for i, j in np.ndindex(2, 2):
            h, r, t = rows[i, j].tolist()
            expected = (one(h) + fusion.relations.weight[r] - one(t)).abs().sum()
            assert float(found[i, j]) == pytest.approx(float(expected), rel=1e-4)


# TransE alone


def composed(groups: int = 20, held: int = 6) -> Graph:
    """a -f-> b, b -g-> c, and a -h-> c, of which some are held out: a translation that follows from two others."""
    names = [f"{letter}{n}" for letter in "abc" for n in range(groups)]
    ids = np.arange(groups)
    first = np.stack([ids, np.zeros_like(ids), groups + ids], 1)
    second = np.stack([groups + ids, np.ones_like(ids), 2 * groups + ids], 1)
    both = np.stack([ids, np.full_like(ids, 2), 2 * groups + ids], 1)
    splits = {"train": np.concatenate([first, second, both[held:]]), "dev": both[:held]}
    return Graph(names, ["f", "g", "h"], names, splits, {})


@pytest.mark.parametrize("norm", [1, 2])
def test_transe_learns_what_translations_can_say(tmp_path: Path, norm: int) -> None:
    made = composed()
    scale = {"dimension": 16, "margin": 4.0} if norm == 1 else {"dimension": 12, "margin": 1.0}
    plan = recipe.TransE.model_validate({"epochs": 300, "batch_size": 64, "learning_rate": 0.02, "norm": norm, **scale})
    untrained, _ = transe.learn(made, plan.model_copy(update={"epochs": 0}), seed=1, folder=tmp_path / "none")
    model, state = transe.learn(made, plan, seed=1, folder=tmp_path / "all")
    assert transe.links(untrained, made, "dev", norm)["mrr"] < 0.3
    assert transe.links(model, made, "train", norm)["mrr"] > 0.95
    assert transe.links(model, made, "dev", norm)["mrr"] > 0.9  # never seen: they follow
    losses = [epoch["losses"]["margin"] for epoch in state.epochs]
    assert losses[-1] < 0.2 * losses[0]
    entities, _ = model.tables()
    assert np.linalg.norm(entities, axis=1) == pytest.approx(np.ones(60), rel=1e-5)


def test_transe_depends_on_its_seed_alone(tmp_path: Path) -> None:
    plan = recipe.TransE.model_validate({"epochs": 2, "batch_size": 16, "dimension": 8})
    tables = [
        transe.learn(composed(), plan, seed=seed, folder=tmp_path / str(n))[0].tables()[0]
        for n, seed in enumerate([3, 3, 4])
    ]
    assert (tables[0] == tables[1]).all() and not (tables[0] == tables[2]).all()


# fusion

PLAN = recipe.Fuse.model_validate(
    {"epochs": 60, "batch_size": 16, "learning_rate": 1e-2, "triples": 21, "negatives": 4, "margin": 4.0}
)


@pytest.fixture(scope="module")
def fused(folder: Path, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict], np.ndarray]:
    """A tiny BERT fused with the graph, as a saved folder; its epochs and relation table."""
    torch.manual_seed(99)  # whatever came before
    path = tmp_path_factory.mktemp("fused")
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    model, _ = knowledge.masked_lm(folder)
    state, relations = knowledge.fuse(
        model, graph, entities_of(encoder, graph), corpus(encoder), PLAN, seed=0, folder=path / "work"
    )
    checkpoint.save(model, path / "teacher")
    checkpoint.save_tokenizer(folder, path / "teacher")
    return path / "teacher", state.epochs, relations


def test_a_fused_teacher_learns_text_and_triples(
    folder: Path, graph: Graph, probes: lama.Probes, fused: tuple[Path, list[dict], np.ndarray]
) -> None:
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    features, (path, epochs, relations) = entities_of(encoder, graph), fused
    for name in ("mlm", "knowledge"):
        assert epochs[-1]["losses"][name] < 0.5 * epochs[0]["losses"][name], name
    before, after = (knowledge.masked_lm(place)[0] for place in (folder, path))
    asked = {"pad_id": encoder.pad_id, "split": "train"}
    found = [knowledge.links(model, graph, features, **asked)["mrr"] for model in (before, after)]
    assert found[1] > found[0] + 0.2
    learnt = knowledge.links(after, graph, features, **asked, relations=relations)["mrr"]
    assert learnt > found[0] + 0.2
    known = [knowledge.probe(model, probes, encoder.pad_id).macro for model in (before, after)]
    assert known[1]["p@10"] > known[0]["p@10"] + 0.5 and known[1]["mrr"] > known[0]["mrr"] + 0.1


def test_the_fusion_costs_nothing_afterwards(folder: Path, fused: tuple[Path, list[dict], np.ndarray]) -> None:
    before, after = (load_file(place / "model.safetensors") for place in (folder, fused[0]))
    assert {name: tensor.shape for name, tensor in after.items()} == {n: tensor.shape for n, tensor in before.items()}
    assert (fused[0] / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert fused[2].shape == (3, 32)
    kind = AutoModelForSequenceClassification
    classifier = checkpoint.load(kind, fused[0], new=True, names=["a", "b", "c"])  # and it goes on as any teacher does
    word = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(classifier.state_dict()[word], after[word])


def test_weight_zero_is_the_text_alone(folder: Path, graph: Graph, tmp_path: Path) -> None:
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    features = entities_of(encoder, graph)
    tables = []
    for name, epochs in (("none", 0), ("some", 2)):
        model, _ = knowledge.masked_lm(folder)
        plan = PLAN.model_copy(update={"weight": 0.0, "epochs": epochs, "weight_decay": 0.0})
        state, table = knowledge.fuse(model, graph, features, corpus(encoder, 1), plan, seed=0, folder=tmp_path / name)
        tables.append(table)
        assert all(set(epoch["losses"]) == {"mlm"} for epoch in state.epochs)
    assert (tables[0] == tables[1]).all()


def test_a_stopped_fusion_ends_with_the_same_weights(folder: Path, graph: Graph, tmp_path: Path) -> None:
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    features, text = entities_of(encoder, graph), corpus(encoder, 1)
    plan = PLAN.model_copy(update={"epochs": 3, "batch_size": 8})
    left = 3  # it stops within the second epoch; the first one's checkpoint stands

    def stopping(arrays: Arrays) -> tuple[Arrays, npt.NDArray[np.int64]]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        return mask(arrays)

    def run(where: str, use: knowledge.Mask) -> dict[str, Tensor]:
        model, _ = knowledge.masked_lm(folder)
        words = knowledge.Corpus(text.features, use, text.pad_id)
        knowledge.fuse(model, graph, features, words, plan, seed=5, folder=tmp_path / where)
        return model.state_dict()

    whole = run("whole", mask)
    with pytest.raises(Stop):
        run("stopped", stopping)
    assert (tmp_path / "stopped" / "checkpoint.safetensors").is_file()
    torch.manual_seed(999)
    again = run("stopped", mask)
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


# asking any model


def test_equal_texts_have_equal_vectors(folder: Path) -> None:
    encoder = Encoder(folder / "tokenizer.json", LENGTH)
    model, _ = knowledge.masked_lm(folder)
    texts = ["paris", "the town of rome", "paris", "oslo", "anna lives in oslo"]
    features = encoder.encode([(text, None) for text in texts])
    table = knowledge.entity_table(model, features, encoder.pad_id, batch_size=2)
    assert (table[0] == table[2]).all() and not (table[0] == table[3]).all()
    with torch.no_grad():
        for number, row in enumerate(features):
            state = model.eval().bert(torch.tensor([row.input_ids])).last_hidden_state[0, 0]
            assert table[number] == pytest.approx(state.numpy(), abs=1e-5)


def test_mean_translations_are_least_squares() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(9, 4))
    rows = np.stack([generator.integers(0, 9, 30), generator.integers(0, 2, 30), generator.integers(0, 9, 30)], 1)
    found = knowledge.mean_translations(table, rows, 3)
    for relation in range(2):
        own = rows[rows[:, 1] == relation]
        solved, *_ = np.linalg.lstsq(np.ones((len(own), 1)), table[own[:, 2]] - table[own[:, 0]], rcond=None)
        assert found[relation] == pytest.approx(solved[0], abs=1e-6)
    assert not found[2].any()  # no triple has it


def test_the_probe_by_one_sentence_at_a_time(folder: Path, probes: lama.Probes) -> None:
    model, new = knowledge.masked_lm(folder)
    assert not new
    ranks = []
    with torch.no_grad():
        for row in probes.rows:
            logits = model.eval()(torch.tensor([row.features.input_ids])).logits[0, row.position]
            ranks.append(1 + int((logits > logits[row.gold]).sum()))
    expected = lama.score(probes.rows, np.array(ranks, float))
    found = knowledge.probe(model, probes, 0, batch_size=3)
    assert found.macro == pytest.approx(expected.macro)
    assert found.relations["P2"] == pytest.approx(expected.relations["P2"])


def test_a_model_without_a_head_gets_one_over_its_frozen_encoder(probes: lama.Probes, tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "classifier", masked=False)
    encoder = Encoder(source / "tokenizer.json", LENGTH)
    plan = recipe.Optimization(epochs=25, batch_size=16, learning_rate=1e-2)
    with pytest.raises(AttarError, match="no masked-LM head"):
        knowledge.readable(source, None, plan, seed=0, folder=tmp_path / "work")
    untrained, new = knowledge.masked_lm(source)
    assert new
    model = knowledge.readable(source, corpus(encoder), plan, seed=0, folder=tmp_path / "work")
    start = untrained.base_model.state_dict()
    assert all(torch.equal(start[name], tensor) for name, tensor in model.base_model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())
    torch.manual_seed(7)
    inputs, labels = corpus(encoder).masked(np.arange(64), model)
    with torch.no_grad():
        before, after = (float(masked_loss(one.eval(), inputs, labels)) for one in (untrained, model))
    assert after < before - 0.5
    assert set(knowledge.probe(model, probes, encoder.pad_id).relations) == {"P1", "P2"}


@pytest.mark.parametrize("kind", ["distilbert", "tinybert"])
def test_a_students_folder_is_probed_like_its_teacher(
    kind: str, fused: tuple[Path, list[dict], np.ndarray], graph: Graph, probes: lama.Probes, tmp_path: Path
) -> None:
    stock = AutoModelForSequenceClassification
    teacher = checkpoint.load(stock, fused[0], new=True, names=["a", "b", "c"])
    narrow = {"hidden_size": 16, "heads": 2} if kind == "tinybert" else {}
    student = students.build(teacher, recipe.Student.model_validate({"kind": kind, "layers": 1, **narrow}))
    checkpoint.save(student, tmp_path / "student")
    checkpoint.save_tokenizer(fused[0], tmp_path / "student")
    encoder = Encoder(tmp_path / "student" / "tokenizer.json", LENGTH)
    plan = recipe.Optimization(epochs=2, batch_size=16, learning_rate=1e-2)
    model = knowledge.readable(tmp_path / "student", corpus(encoder), plan, seed=0, folder=tmp_path / "work")
    found = knowledge.probe(model, probes, encoder.pad_id)
    assert set(found.relations) == {"P1", "P2"} and 0 < found.macro["mrr"] <= 1
    linked = knowledge.links(model, graph, entities_of(encoder, graph), encoder.pad_id, "dev", limit=2)
    assert 0 < linked["mrr"] <= 1


def test_a_teacher_whose_layers_share_is_asked_as_any_other(folder: Path, tmp_path: Path) -> None:
    model, _ = knowledge.masked_lm(folder)
    sharing.share(model.eval(), "attention")
    checkpoint.save(model, tmp_path)
    again, new = knowledge.masked_lm(tmp_path)
    assert not new
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(again.eval()(ids).logits, model(ids).logits)


def test_a_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.1.output.dense.weight"
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, broken / "model.safetensors")
    with pytest.raises(AttarError, match=f"the weights lack {name}"):
        knowledge.masked_lm(broken)
    (broken / "config.json").write_text('{"model_type": "gpt2"}', "utf-8")
    with pytest.raises(AttarError, match="'gpt2' is not one of"):
        knowledge.masked_lm(broken)

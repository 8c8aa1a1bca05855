"""Slots and intents from one stock head: pieces, targets, the loss against its formula, a model that reloads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from attar import recipe
from attar.errors import AttarError
from attar.recipe import Optimization
from attar.tasks import tagging
from attar.tasks.bio import Sentence
from attar.tasks.encoding import Encoder, collate
from attar.tasks.tagging import IGNORED, Labels
from attar.tasks.tokens import EncodedSentences, TokenTask
from attar.teachers import checkpoint, heads
from attar.teachers.finetune import finetune
from attar.teachers.heads.tokens import joint_loss
from helpers import TAGGED, silent
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

SENTENCES = [Sentence(w.split(), t.split(), i, f"rows:{n}") for n, (w, t, i) in enumerate(TAGGED, 1)]
SPEC = recipe.Task.model_validate({"kind": "token_classification", "train": {"path": "seq.in"}})


@pytest.fixture(scope="module")
def encoder(teacher: Path) -> Encoder:
    return Encoder(teacher / "tokenizer.json", 32)


def sentence(text: str, intent: str | None = None) -> Sentence:
    words = text.split(" ")
    return Sentence(words, ["O"] * len(words), intent, "x:1")


def test_the_first_piece_of_each_word(encoder: Encoder) -> None:
    (row,) = tagging.align([sentence("turn brightening lights")], encoder)
    pieces = [encoder.tokenizer.id_to_token(number) for number in row.features.input_ids]
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    assert row.firsts[0] == 1
    starts = [place for place, piece in enumerate(pieces) if not piece.startswith("##")][1:-1]
    assert row.firsts == starts
    assert len(pieces) > 5  # a word did break into several pieces


def test_words_cut_off_or_without_a_piece(teacher: Path) -> None:
    short = Encoder(teacher / "tokenizer.json", 5)
    cut, empty = tagging.align([sentence("turn on the lights in the kitchen"), sentence("turn \u200b on")], short)
    assert cut.features.truncated
    assert cut.firsts[:2] == [1, 2]
    assert cut.firsts[3:] == [-1] * 4
    assert empty.firsts == [1, -1, 2]
    labels = Labels(["O", "B-a"], [])
    logits = np.tile([0.0, 1.0], (len(empty.features.input_ids), 1))
    assert labels.decode(logits, empty.firsts).labels == ["B-a", "O", "B-a"]


@given(st.lists(st.text("abelt'é3-.漢", min_size=1, max_size=6), min_size=1, max_size=6))
def test_words_get_the_pieces_of_the_whole_text(encoder: Encoder, words: list[str]) -> None:
    (row,) = tagging.align([Sentence(words, ["O"] * len(words), None, "x:1")], encoder)
    assert row.features == encoder.encode([(" ".join(words), None)])[0]


def test_a_byte_level_vocabulary_gets_the_pieces_of_the_whole_text(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([row[0] for row in TAGGED] * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, tokenizer.token_to_id(name)) for name in special]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder(tmp_path / "tokenizer.json", 64)
    for row, known in zip(SENTENCES, tagging.align(SENTENCES, encoder), strict=True):
        assert known.features == encoder.encode([(" ".join(row.words), None)])[0]
        assert min(known.firsts) == 1
        assert known.firsts == sorted(set(known.firsts))


def test_targets_stand_at_cls_and_first_pieces(encoder: Encoder) -> None:
    labels = Labels.of(SENTENCES)
    assert labels.names[0] == "O"
    assert labels.intents == ["lights", "music", "weather"]
    assert labels.metric == "joint_accuracy"
    row = SENTENCES[6]
    aligned = tagging.align([row], encoder)
    (targets,) = labels.targets([row], aligned, 20)
    named = {place: labels.names[target] for place, target in enumerate(targets) if target != IGNORED}
    expected = {0: "intent:weather"} | dict(zip(aligned[0].firsts, row.labels, strict=True))
    assert named == expected


def test_labels_survive_as_names_and_others_are_refused() -> None:
    labels = Labels.of(SENTENCES)
    assert Labels.parse(labels.names) == labels
    assert Labels.parse(["B-a", "O"]) == Labels(["B-a", "O"], [])
    for names in (["LABEL_0", "LABEL_1"], ["intent:x", "O", "B-a"], ["B-a", "I-a"], ["O", "intent:x", "B-a"]):
        with pytest.raises(AttarError, match="folder: the outputs are not BIO labels"):
            Labels.parse(names, "folder")


def test_bad_labels_are_named() -> None:
    with pytest.raises(AttarError, match="x:1: this row has no intent"):
        Labels.of([SENTENCES[0], sentence("hello")])
    with pytest.raises(AttarError, match="no word carries a label"):
        Labels.of([sentence("hello")])
    labels = Labels.of(SENTENCES[:3])
    unseen = labels.unseen(SENTENCES[:4])
    assert unseen == ["B-item", "B-mood", "B-time", "intent:music"]
    assert labels.unseen(SENTENCES[:3]) == []


def test_targets_of_an_unknown_label_and_without_cls(encoder: Encoder, tmp_path: Path) -> None:
    labels, row = Labels.of(SENTENCES[:3]), SENTENCES[3]
    with pytest.raises(AttarError, match=r"rows:4: the label 'B-mood' is not one"):
        labels.targets([row], tagging.align([row], encoder), 20)
    from tokenizers import Tokenizer, models, pre_tokenizers

    bare = Tokenizer(models.WordLevel({"turn": 0, "[UNK]": 1}, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.save(str(tmp_path / "tokenizer.json"))
    aligned = tagging.align(SENTENCES[:1], Encoder(tmp_path / "tokenizer.json", 32))
    with pytest.raises(AttarError, match=r"no \[CLS\]"):
        labels.targets(SENTENCES[:1], aligned, 20)


def test_the_joint_loss_is_the_papers(encoder: Encoder) -> None:
    labels = Labels.of(SENTENCES)
    aligned = tagging.align(SENTENCES, encoder)
    width = max(len(row.features.input_ids) for row in aligned)
    targets = labels.targets(SENTENCES, aligned, width)
    logits = torch.randn(len(SENTENCES), width, len(labels.names), generator=torch.Generator().manual_seed(1))
    losses = joint_loss(logits, torch.from_numpy(targets), labels)
    slots, intents = [], []
    count = len(labels.slots)
    for number, (row, known) in enumerate(zip(SENTENCES, aligned, strict=True)):
        table = logits[number].double().numpy()
        state = table[0, count:]
        intents.append(np.log(np.exp(state).sum()) - state[labels.intents.index(str(row.intent))])
        for place, label in zip(known.firsts, row.labels, strict=True):
            state = table[place, :count]
            slots.append(np.log(np.exp(state).sum()) - state[labels.slots.index(label)])
    assert float(losses["slots"]) == pytest.approx(np.mean(slots), rel=1e-5)
    assert float(losses["intent"]) == pytest.approx(np.mean(intents), rel=1e-5)


def test_without_intents_the_loss_is_the_stock_models(teacher: Path, encoder: Encoder) -> None:
    rows = [row._replace(intent=None) for row in SENTENCES]
    task = TokenTask(SPEC, rows)
    assert task.metric == "slot_f1"
    torch.manual_seed(0)
    model = heads.create(task, teacher).eval()
    batch = task.encode(rows, encoder).batch(np.arange(len(rows)), encoder.pad_id)
    arrays = {name: torch.from_numpy(array) for name, array in batch.inputs.items()}
    with torch.no_grad():
        stock = model(**arrays, labels=torch.from_numpy(batch.targets))
        losses = heads.loss(model, task, batch)
    assert set(losses) == {"slots"}
    assert float(losses["slots"]) == pytest.approx(float(stock.loss), rel=1e-5)


def test_a_batch_whose_words_were_all_cut_off_has_a_loss() -> None:
    labels = Labels(["O", "B-a"], ["x", "y"])
    targets = torch.tensor([[3, IGNORED]])
    logits = torch.zeros(1, 2, 4, requires_grad=True)
    losses = joint_loss(logits, targets, labels)
    assert float(losses["slots"]) == 0.0
    assert float(losses["intent"]) == pytest.approx(float(F.cross_entropy(torch.zeros(1, 2), torch.tensor([1]))))


def test_it_learns_and_reloads_as_a_stock_model(teacher: Path, encoder: Encoder, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification

    task = TokenTask(SPEC, SENTENCES)
    torch.manual_seed(0)
    model = heads.create(task, teacher)
    dev = task.encode(SENTENCES, encoder)

    def score() -> dict[str, float]:
        return task.score(heads.answers(model, task.head, dev.features, encoder.pad_id), dev)

    before = score()
    plan = Optimization(epochs=12, batch_size=4, learning_rate=3e-3)
    train, work = task.encode(SENTENCES * 5, encoder), tmp_path / "work"
    state = finetune(model, train, dev, task, encoder.pad_id, plan, seed=1, folder=work, progress=silent)
    after = score()
    assert before["joint_accuracy"] < 0.3
    assert after["joint_accuracy"] > 0.7
    assert after["slot_f1"] > 0.85
    assert set(state.epochs[0]["losses"]) == {"intent", "slots"}
    assert after["joint_accuracy"] == max(epoch["scores"]["joint_accuracy"] for epoch in state.epochs)

    checkpoint.save(model, tmp_path / "tagger")
    assert Labels.parse(checkpoint.classes(tmp_path / "tagger")) == task.known
    again = heads.load("tokens", tmp_path / "tagger")
    answers = heads.answers(model, "tokens", dev.features, encoder.pad_id)
    for one, two in zip(answers, heads.answers(again, "tokens", dev.features, encoder.pad_id), strict=True):
        np.testing.assert_array_equal(one, two)
    stock = AutoModelForTokenClassification.from_pretrained(tmp_path / "tagger").eval()
    (row,) = encoder.encode([(TAGGED[0][0], None)])  # the plain text, with no attar in between but its arrays
    arrays = {name: torch.from_numpy(array) for name, array in collate([row], encoder.pad_id).items()}
    with torch.no_grad():
        logits = stock(**arrays).logits[0]
    best = int(logits[0, len(task.known.slots) :].argmax()) + len(task.known.slots)
    said = task.known.decode(answers[0], dev.aligned[0].firsts)
    assert stock.config.id2label[best] == f"intent:{said.intent}"


def test_padding_changes_no_answer(teacher: Path, encoder: Encoder) -> None:
    task = TokenTask(SPEC, SENTENCES)
    model = heads.create(task, teacher)
    rows = task.encode(SENTENCES, encoder)
    together = heads.answers(model, task.head, rows.features, encoder.pad_id, batch_size=9)
    alone = heads.answers(model, task.head, rows.features, encoder.pad_id, batch_size=1)
    for a, b, pieces in zip(together, alone, rows.lengths, strict=True):
        assert a.shape == (pieces, task.outputs)
        np.testing.assert_allclose(a, b, atol=1e-4)


def perfect(rows: EncodedSentences, labels: Labels) -> list[np.ndarray]:
    """Logits that say what each row says, as far as the head has a word for it."""
    found = []
    for row, known in zip(rows.rows, rows.aligned, strict=True):
        logits = np.zeros((len(known.features.input_ids), len(labels.names)), np.float32)
        for place, label in zip(known.firsts, row.labels, strict=True):
            logits[place, labels.slots.index(label if label in labels.slots else "O")] = 1
        if row.intent in labels.intents:
            logits[0, len(labels.slots) + labels.intents.index(str(row.intent))] = 1
        found.append(logits)
    return found


def test_a_label_of_the_dev_rows_alone_counts_as_wrong_and_is_remarked(encoder: Encoder) -> None:
    task = TokenTask(SPEC, SENTENCES[:3])
    rows = SENTENCES[:4]
    task.check(rows)
    assert task.unseen(SENTENCES[:3]) == ""
    remark = "no training row has B-item, B-mood, B-time and 1 more, so they count as wrong"
    assert task.unseen(rows) == remark
    dev = task.encode(rows, encoder)
    found = task.score(perfect(dev, task.known), dev)
    assert found["joint_accuracy"] == found["sentence_accuracy"] == 0.75
    assert found["slot_recall"] == pytest.approx(6 / 9)
    assert found["slot_precision"] == 1.0
    further = TokenTask(SPEC, SENTENCES[:3], Labels.of(SENTENCES[3:4]).names)  # of a training row that was held out
    assert further.known == Labels.of(rows)
    assert further.score(perfect(dev, further.known), further.encode(rows, encoder))["joint_accuracy"] == 1.0


def test_intents_that_some_rows_lack(encoder: Encoder) -> None:
    without = [row._replace(intent=None) for row in SENTENCES]
    with pytest.raises(AttarError, match="rows:2: this row has no intent, and the training rows have"):
        TokenTask(SPEC, SENTENCES).check([SENTENCES[0], without[1]])
    for metric in ("joint_accuracy", "intent_accuracy"):
        spec = SPEC.model_copy(update={"metric": metric})
        assert TokenTask(spec, SENTENCES).metric == metric
        with pytest.raises(AttarError, match=rf"task\.metric: {metric} needs intents"):
            TokenTask(spec, without)
    task = TokenTask(SPEC, without)
    task.check(SENTENCES)
    dev = task.encode(SENTENCES, encoder)
    found = task.score(perfect(dev, task.known), dev)
    assert found["slot_f1"] == 1.0
    assert "intent_accuracy" not in found


def test_the_rows_that_fit_are_scored_as_they_were(encoder: Encoder) -> None:
    task = TokenTask(SPEC, SENTENCES)
    dev = task.encode(SENTENCES, encoder)
    limit = sorted(dev.lengths)[4]
    part, sequences = dev.fitting(limit)
    assert sequences.tolist() == [row for row, pieces in enumerate(dev.lengths) if pieces <= limit]
    assert 0 < len(part.rows) < len(dev.rows)
    answers = perfect(dev, task.known)
    assert task.score([answers[row] for row in sequences], part)["joint_accuracy"] == 1.0
    one = dev.batch(sequences[:3], encoder.pad_id)
    two = part.batch(np.arange(3), encoder.pad_id)
    np.testing.assert_array_equal(one.targets, two.targets)
    assert one.targets.shape == one.inputs["input_ids"].shape


def test_a_model_that_is_taken_as_it_is_numbers_the_labels(encoder: Encoder) -> None:
    task = TokenTask(SPEC, SENTENCES)
    theirs = [*reversed(task.known.slots), *(f"intent:{name}" for name in reversed(task.known.intents))]
    task.follow(["LABEL_0", "LABEL_1"])
    assert task.known == Labels.of(SENTENCES)
    task.follow(theirs)
    assert task.labels == theirs
    batch = task.encode(SENTENCES[6:7], encoder).batch(np.array([0]), encoder.pad_id)
    assert theirs[batch.targets[0, 0]] == "intent:weather"
    with pytest.raises(AttarError, match=r"teacher\.model: the outputs are not BIO labels and then intents"):
        task.follow([*task.labels[-3:], *task.labels[:-3]])

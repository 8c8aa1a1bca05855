"""Extractive question answering: the loss, the offsets, what is learnt, and classification asked as questions."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from attar.errors import AttarError, UsageError
from attar.recipe import Mixture, Optimization, Task
from attar.tasks import as_question, spans, squad_metrics, windows
from attar.tasks.as_question import Form
from attar.tasks.encoding import Encoder, Features, collate
from attar.tasks.reading import EncodedWindows, ReadingTask, mix
from attar.tasks.spans import Span
from attar.tasks.squad import Answer, Question
from attar.tasks.table import Example
from attar.teachers import heads, question_answering
from attar.teachers.finetune import finetune
from attar.teachers.heads.span import span_loss
from conftest import SENTENCES, tiny_config, tiny_teacher, tiny_tokenizer
from helpers import silent
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import (
    AutoModelForQuestionAnswering,
    BertForQuestionAnswering,
    PreTrainedModel,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

CONTEXT = " ".join(SENTENCES)
ROOMS = ["kitchen", "bedroom", "mountains"]


def bert(words: Path, seed: int = 0) -> PreTrainedModel:
    from tokenizers import Tokenizer

    torch.manual_seed(seed)
    size = Tokenizer.from_file(str(words)).get_vocab_size()
    return BertForQuestionAnswering(tiny_config(size, max_position_embeddings=96, initializer_range=0.2)).eval()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(tiny_tokenizer(tmp_path_factory.mktemp("words")), 64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return bert(tiny_tokenizer(tmp_path_factory.mktemp("words")))


def features(rows: list[windows.Window]) -> list[Features]:
    return [row.features for row in rows]


def reading(rows: list[Question], **settings: object) -> ReadingTask:
    spec = {"kind": "question_answering", "train": {"path": "a.json"}} | settings
    return ReadingTask(Task.model_validate(spec), rows)


def score(model: PreTrainedModel, task: ReadingTask, rows: EncodedWindows, pad_id: int) -> dict[str, float]:
    return task.score(heads.answers(model, "span", rows.features, pad_id), rows)


def about_rooms(count: int, seed: int) -> list[Question]:
    """Random words with one room among them, which is the answer."""
    chooser = random.Random(seed)
    filler = ["light", "music", "warm", "please", "quiet", "evening", "song", "turn", "down", "play"]
    questions = []
    for number in range(count):
        words = chooser.choices(filler, k=chooser.randint(5, 12))
        room = chooser.choice(ROOMS)
        words.insert(chooser.randrange(len(words)), room)
        context = " ".join(words)
        questions.append(Question(str(number), "which room", context, (Answer(room, context.index(room)),)))
    return questions


def test_the_loss_is_that_of_the_stock_model(model: PreTrainedModel, tmp_path: Path) -> None:
    question = Question("q", "which room", CONTEXT, (Answer("bedroom", CONTEXT.index("bedroom")),))
    short = Encoder(tiny_tokenizer(tmp_path), 32)
    rows = [row for row in windows.encode([question], short, 8) if len(row.features.input_ids) == 32]
    arrays = {name: torch.from_numpy(array) for name, array in collate([r.features for r in rows], 0).items()}
    starts, ends = torch.tensor([row.start for row in rows]), torch.tensor([row.end for row in rows])
    assert len(rows) > 1 and starts.any() and not starts.all()
    with torch.no_grad():
        output = model(**arrays, start_positions=starts, end_positions=ends)
    logits = torch.stack([output.start_logits, output.end_logits], -1)
    loss = span_loss(logits, arrays["attention_mask"], starts, ends)
    assert loss.item() == pytest.approx(output.loss.item(), rel=1e-6)


def test_the_loss_by_hand_ignores_padding_and_positions_outside() -> None:
    logits = torch.tensor([[[0.0, 1.0], [2.0, 0.0], [9.0, 9.0]], [[1.0, 1.0], [0.0, 3.0], [0.0, 0.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])

    def entropy(values: list[float], right: int) -> float:
        exps = np.exp(values)
        return float(-np.log(exps[right] / exps.sum()))

    start = (entropy([0.0, 2.0], 1) + entropy([1.0, 0.0, 0.0], 0)) / 2
    end = entropy([1.0, 3.0, 0.0], 1)  # the first row's end is padding, so it is not counted
    loss = span_loss(logits, mask, torch.tensor([1, 0]), torch.tensor([2, 1]))
    assert loss.item() == pytest.approx((start + end) / 2)
    outside = torch.tensor([-1, 7])
    free = logits.clone().requires_grad_()
    nothing = span_loss(free, mask, outside, outside)
    nothing.backward()
    assert nothing.item() == 0.0 and free.grad is not None and not free.grad.any()
    learning = logits.clone().requires_grad_()
    span_loss(learning, mask, torch.tensor([1, 0]), torch.tensor([0, 1])).backward()
    assert learning.grad is not None and not learning.grad[0, 2].any() and learning.grad[0, :2].all()


@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 5), st.integers(0, 2**31))
def test_the_loss_does_not_depend_on_the_padding(rows: int, pieces: int, more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, pieces, 2, generator=generator, dtype=torch.float64)
    starts, ends = torch.randint(0, pieces, (2, rows), generator=generator)
    mask = torch.ones(rows, pieces, dtype=torch.int64)
    expected = (F.cross_entropy(logits[..., 0], starts) + F.cross_entropy(logits[..., 1], ends)) / 2
    padded = F.pad(logits, (0, 0, 0, more), value=100.0)
    loss = span_loss(padded, F.pad(mask, (0, more)), starts, ends)
    assert loss.item() == pytest.approx(expected.item())


def test_answers_come_in_order_whatever_the_batch(model: PreTrainedModel, encoder: Encoder) -> None:
    rows = windows.encode([Question("q", "which room", CONTEXT), *about_rooms(5, 0)], encoder, 16)
    one = heads.answers(model, "span", features(rows), encoder.pad_id, 1)
    many = heads.answers(model, "span", features(rows), encoder.pad_id, 7)
    for row, a, b in zip(rows, one, many, strict=True):
        assert a.shape == (len(row.features.input_ids), 2)
        np.testing.assert_allclose(a, b, atol=1e-5)
    arrays = {name: torch.from_numpy(array) for name, array in collate([rows[0].features], 0).items()}
    with torch.no_grad():
        output = model(**arrays)
    np.testing.assert_allclose(one[0][:, 0], output.start_logits[0], atol=1e-6)
    np.testing.assert_allclose(one[0][:, 1], output.end_logits[0], atol=1e-6)


def test_one_question_is_answered_with_the_characters(model: PreTrainedModel, encoder: Encoder) -> None:
    found = question_answering.answer(model, encoder, "which room", CONTEXT, stride=16, n_best=5, max_length=4)
    assert len(found.spans) == 5
    for span in found.spans:
        assert CONTEXT[span.start : span.end] == span.text != ""
    rows = windows.encode([Question("q", "which room", CONTEXT)], encoder, 16)
    assert len(rows) > 1
    values = heads.answers(model, "span", features(rows), encoder.pad_id)
    best = max(
        float(v[i, 0] + v[j, 1])
        for row, v in zip(rows, values, strict=True)
        for i in range(row.first, row.first + len(row.offsets))
        for j in range(i, min(i + 4, row.first + len(row.offsets)))
    )
    assert found.spans[0].score == pytest.approx(best, abs=1e-5)
    assert found.null == pytest.approx(min(float(v[0].sum()) for v in values), abs=1e-5)


def test_a_model_without_segments_and_with_its_own_positions(tmp_path: Path) -> None:
    from test_windows import byte_level

    encoder = Encoder(byte_level(tmp_path), 64)
    config = RobertaConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=66, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    found = question_answering.answer(RobertaForQuestionAnswering(config), encoder, "which room", CONTEXT)
    assert CONTEXT[found.spans[0].start : found.spans[0].end] == found.text()
    assert found.text() == found.text().strip() != ""
    encoder.max_length = 65
    with pytest.raises(AttarError, match="the model holds 64 pieces"):
        question_answering.answer(RobertaForQuestionAnswering(config), encoder, "which room", CONTEXT)


def test_a_classifiers_folder_gets_a_new_head_and_a_saved_model_keeps_its_own(tmp_path: Path) -> None:
    folder = tiny_teacher(tmp_path / "teacher")  # a classifier of three labels
    with pytest.raises(AttarError, match=r"the weights lack qa_outputs.*finetune: true"):
        heads.load("span", folder)
    torch.manual_seed(1)
    model = heads.create(reading(about_rooms(1, 0)), folder).eval()
    assert model.config.id2label == {0: "start", 1: "end"}
    stock = AutoModelForQuestionAnswering.from_pretrained(folder, num_labels=2)
    for (name, weight), (_, other) in zip(model.named_parameters(), stock.named_parameters(), strict=True):
        assert name.startswith("qa_outputs") or torch.equal(weight, other), name
    encoder = Encoder(folder / "tokenizer.json", 64)
    before = question_answering.answer(model, encoder, "which room", CONTEXT)
    model.save_pretrained(tmp_path / "saved")
    again = heads.load("span", tmp_path / "saved").eval()
    assert question_answering.answer(again, encoder, "which room", CONTEXT) == before


def test_it_learns_where_the_answer_is(tmp_path: Path) -> None:
    encoder = Encoder(tiny_tokenizer(tmp_path), 32)
    model = bert(tmp_path / "tokenizer.json")
    train, dev = about_rooms(160, 1), about_rooms(40, 2)
    dev += [Question(f"none {n}", "which room", "quiet music please", impossible=True) for n in range(3)]
    train += [Question(f"none {n}", "which room", "turn down the song", impossible=True) for n in range(8)]
    task = reading(train)
    rows, dev_rows = task.encode(train, encoder), task.encode(dev, encoder)
    before = score(model, task, dev_rows, encoder.pad_id)
    plan = Optimization(epochs=6, batch_size=16, learning_rate=5e-3)
    state = finetune(
        model, rows, dev_rows, task, encoder.pad_id, plan, seed=0, folder=tmp_path / "work", progress=silent
    )
    scores = [epoch["scores"]["best_f1"] for epoch in state.epochs]
    after = score(model, task, dev_rows, encoder.pad_id)
    assert before["HasAns_f1"] < 0.5 < 0.9 < after["HasAns_f1"]
    assert after["best_f1"] == pytest.approx(max(scores)) and state.kept == 1 + scores.index(max(scores))
    assert state.epochs[-1]["losses"]["span"] < 0.5 * state.epochs[0]["losses"]["span"]
    assert all(0 <= value <= 1 for value in after.values())  # a threshold is no score
    logits = heads.answers(model, "span", dev_rows.features, encoder.pad_id)
    threshold = task.tune(logits, dev_rows)["no_answer_threshold"]
    found = [row.text(threshold) for row in spans.predict(dev, dev_rows.windows, logits)]
    assert squad_metrics.score(dev, found)["f1"] == pytest.approx(after["best_f1"])


SENTIMENT = Form("mood", "What is the mood?", {"neg": "sad", "pos": "glad", "mixed": "not so sad"})
PAIR = Form("same", "Does it mean {text_pair}?", {"0": "no", "1": "yes"}, "{options} | {text}")


def test_an_example_is_asked_as_a_question() -> None:
    question = as_question.ask(Example("what a sunny day", None, "pos", "a.tsv:3"), SENTIMENT, 3)
    assert question.question == "What is the mood?"
    assert question.context == "what a sunny day Options: sad, glad, not so sad."
    assert question.answers == (Answer("glad", question.context.index("glad")),)
    assert (question.id, question.source, question.where) == ("mood/3", "mood", "a.tsv:3")
    assert [option.label for option in question.options] == list(SENTIMENT.options)
    for label, start, end in question.options:
        assert question.context[start:end] == SENTIMENT.options[label]
    pair = as_question.ask(Example("braces {stay} as {text}", "it {does}", "0", "b:1"), PAIR, 1)
    assert pair.question == "Does it mean it {does}?"
    assert pair.context == "no, yes | braces {stay} as {text}" and pair.answers == (Answer("no", 0),)


def test_a_span_means_the_option_it_overlaps_or_spells() -> None:
    asked = as_question.ask(Example("so glad, so sad, so what", None, "pos", "a:1"), SENTIMENT, 1)
    context = asked.context

    def label(text: str, start: int) -> str | None:
        assert context[start : start + len(text)] == text
        return as_question.label_of(asked, Span(text, start, start + len(text), 0.0))

    assert label("glad, not", context.rindex("glad")) == "pos"
    assert label("so sad", context.rindex("so sad")) == "mixed"  # part of a longer option, not the option `sad`
    assert label("sad", context.index("sad, glad")) == "neg"
    assert label("glad,", context.index("glad")) == "pos"  # in the text itself
    assert label("so what", context.index("so what")) is None


def test_option_scores_are_the_logits_of_their_ends(encoder: Encoder, model: PreTrainedModel, tmp_path: Path) -> None:
    examples = [Example(CONTEXT, None, "pos", "a:1"), Example("play the song", None, "neg", "a:2")]
    questions = [as_question.ask(example, SENTIMENT, number) for number, example in enumerate(examples)]
    rows = windows.encode(questions, encoder, 16)
    values = heads.answers(model, "span", features(rows), encoder.pad_id)
    scores = as_question.option_scores(questions, rows, values)
    assert scores.shape == (2, 3)
    best = spans.predict(questions, rows, values, n_best=10_000, max_length=30)
    for row, found, line in zip(questions, best, scores, strict=True):
        known = {(span.start, span.end): span.score for span in found.spans}
        assert line.tolist() == pytest.approx([known[start, end] for _, start, end in row.options], abs=1e-5)
    right = [_labels(row) for row in rows]
    chosen = as_question.option_scores(questions, rows, right).argmax(1)
    assert [list(SENTIMENT.options)[n] for n in chosen] == ["pos", "neg"]
    assert as_question.accuracy(questions, rows, right) == 1.0
    other = questions[1]._replace(answers=(Answer("glad", questions[1].options[1].start),))
    assert as_question.accuracy([questions[0], other], rows, right) == 0.5
    small = Encoder(tiny_tokenizer(tmp_path), 8)
    with pytest.raises(AttarError, match="a:1: the option of 'pos' is whole in no window"):
        cut = windows.encode(questions, small)
        as_question.option_scores(questions, cut, [_labels(row) for row in cut])


def _labels(row: windows.Window) -> np.ndarray:
    values = np.zeros((len(row.features.input_ids), 2), np.float32)
    values[row.start, 0] = values[row.end, 1] = 5
    return values


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"options": {"a": "yes"}}, "two or more labels"),
        ({"options": {"a": "yes", "b": "Yes!"}}, "words of its own"),
        ({"options": {"a": "yes", "b": "the"}}, "words of its own"),
        ({"context": "{text}"}, "must stand once in the context"),
        ({"context": "{options} {options} {text}"}, "must stand once"),
        ({"context": "{{options}} {text}"}, "must stand once"),
        ({"question": "{options}?"}, "must stand once"),
        ({"context": "{options}"}, r"\{text\} somewhere"),
        ({"question": "is {it}?"}, "nothing else in braces"),
        ({"question": "is {"}, "not readable"),
    ],
)
def test_forms_that_cannot_be_asked(form: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Form(**{"name": "x", "question": "is it?", "options": {"a": "yes", "b": "no"}} | form)  # type: ignore[arg-type]


def test_examples_that_do_not_fit_their_form() -> None:
    with pytest.raises(AttarError, match=r"a:1: the label 'poss' has no option.*'pos'"):
        as_question.ask(Example("x", None, "poss", "a:1"), SENTIMENT, 1)
    with pytest.raises(AttarError, match="a:1: the form leaves out the second text"):
        as_question.ask(Example("x", "y", "pos", "a:1"), SENTIMENT, 1)
    with pytest.raises(AttarError, match="a:1: the form asks for a second text"):
        as_question.ask(Example("x", None, "1", "a:1"), PAIR, 1)


def test_mixing_rates_are_those_of_t5() -> None:
    assert as_question.rates({"a": 900, "b": 100}) == pytest.approx({"a": 0.9, "b": 0.1})
    assert as_question.rates({"a": 900, "b": 100}, limit=100) == pytest.approx({"a": 0.5, "b": 0.5})
    assert as_question.rates({"a": 900, "b": 100}, temperature=2) == pytest.approx({"a": 0.75, "b": 0.25})  # 30 : 10
    with pytest.raises(UsageError, match="mixture"):
        as_question.rates({"a": 900, "b": 0})


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30), min_size=1),
    st.integers(0, 120),
    st.integers(0, 9),
    st.sampled_from([None, 5]),
)
def test_a_mixture_takes_every_row_before_any_again(
    sizes: dict[str, int], rows: int, seed: int, limit: int | None
) -> None:
    sets = {name: [f"{name}{n}" for n in range(size)] for name, size in sizes.items()}
    mixed = as_question.mix(sets, rows, seed, limit)
    assert len(mixed) == rows and mixed == as_question.mix(sets, rows, seed, limit)
    times = Counter(mixed)
    for name, share in as_question.rates(sizes, limit).items():
        counts = [times[row] for row in sets[name]]
        assert abs(sum(counts) - rows * share) < 1
        assert max(counts) - min(counts) <= 1


def test_one_model_answers_several_tasks(tmp_path: Path) -> None:
    """Two classifications and a search for a word, by one head over one mixture."""
    encoder = Encoder(tiny_tokenizer(tmp_path), 48)
    model = bert(tmp_path / "tokenizer.json")
    light = Form("light", "is the light on", {"0": "off", "1": "on"}, "{options} {text}")
    topic = Form("topic", "what is the topic", {"m": "music", "w": "weather"}, "{options} {text}")
    chooser = random.Random(0)
    filler = ["please", "the", "in", "house", "every", "now"]

    def examples(form: Form, words: dict[str, str], count: int) -> list[Question]:
        found = []
        for number in range(count):
            label = chooser.choice(list(words))
            text = [*chooser.choices(filler, k=3), words[label]]
            chooser.shuffle(text)
            found.append(as_question.ask(Example(" ".join(text), None, label, f"{form.name}:{number}"), form, number))
        return found

    lights, topics = {"0": "bedroom", "1": "lamp"}, {"m": "song", "w": "rain"}
    rows = [*examples(light, lights, 150), *examples(topic, topics, 300), *about_rooms(150, 3)]
    dev = [*examples(light, lights, 40), *examples(topic, topics, 40), *about_rooms(30, 4)]
    task = reading(rows)
    mixed = mix(rows, Mixture(rows=400, temperature=2), 0)
    assert Counter(row.source for row in mixed) == {"light": 117, "topic": 166, "": 117}  # as the roots of the sizes
    encoded = task.encode(dev, encoder)
    plan = Optimization(epochs=6, batch_size=16, learning_rate=4e-3, keep="last")
    train = task.encode(mixed, encoder)
    state = finetune(
        model, train, encoded, task, encoder.pad_id, plan, seed=0, folder=tmp_path / "work", progress=silent
    )
    scores = score(model, task, encoded, encoder.pad_id)
    assert state.epochs[-1]["scores"] == pytest.approx(scores)
    assert min(scores["light_accuracy"], scores["topic_accuracy"], scores["f1"]) > 0.9
    means = [scores["light_accuracy"], scores["topic_accuracy"], scores["f1"]]
    assert task.metric == "score" and scores["score"] == pytest.approx(np.mean(means))
    found = spans.predict(dev, encoded.windows, heads.answers(model, "span", encoded.features, encoder.pad_id))
    for row, best in list(zip(dev, found, strict=True))[:80]:
        right = next(option.label for option in row.options if option.start == row.answers[0].start)
        if best.spans[0].text == row.answers[0].text:
            assert as_question.label_of(row, best.spans[0]) == right

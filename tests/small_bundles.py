"""Small bundles of every task with random weights, for what reads a bundle and need not know how it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from attar.export import answers, bundle, cached, golden, golden_text, onnx, wrapper
from attar.export.answers import Asked
from attar.export.continuation import Cached, prompt
from attar.export.golden import Fed, Golden
from attar.export.golden_text import GoldenText
from attar.export.manifest import (
    HEADS,
    Artefact,
    AskCard,
    Input,
    Manifest,
    SpanCard,
    TaskCard,
    TokenizerCard,
    TokensCard,
)
from attar.tasks.encoding import Encoder
from attar.tasks.task import Head
from attar.teachers import causal, checkpoint, heads
from conftest import MAX_LENGTH, SENTENCES, TOLERANCE, byte_tokenizer, tiny_config, tiny_tokenizer
from test_causal import tiny_gpt

CONTEXT = " ".join([*SENTENCES, "“한국어”, naïve 🙂 日本語."])
BYTES = "question_answering of bytes"  # RoBERTa's kind of tokenizer
SLOTS, INTENTS = ["O", "B-room", "I-room", "B-time"], ["lights", "music"]
ASK = AskCard(question="which room?", options={"0": "kitchen", "1": "bedroom"}, context="{options}. {text}")
CARDS: dict[str, dict[str, Any]] = {
    "both orders": {"kind": "regression", "pair": True, "both_orders": True},
    "token_classification": {
        "labels": [*SLOTS, *(f"intent:{name}" for name in INTENTS)],
        "tokens": TokensCard(slots=SLOTS, intents=INTENTS, cut="blanks"),
    },
    "question_answering": {
        "labels": ["start", "end"],
        "pair": True,
        "span": SpanCard(stride=6, max_question=8, max_answer=4, n_best=20, no_answer_threshold=3, asks={"rooms": ASK}),
    },
    BYTES: {
        "kind": "question_answering",
        "labels": ["start", "end"],
        "pair": True,
        "span": SpanCard(stride=6, max_question=8, max_answer=4, n_best=20, asks={"rooms": ASK}),
    },
    "multiple_choice": {"pair": True},
    "embedding": {"width": 32},
}


def card(name: str) -> TaskCard:
    """The card of a task."""
    kind = CARDS[name].get("kind", name)
    return TaskCard.model_validate({"kind": kind, "head": HEADS[kind], **CARDS[name]})


def rows(task: TaskCard) -> list[Asked]:
    """What a model of that task is asked."""
    texts = [*SENTENCES, "Héllo, wörld! 日本語 한국어 🙂 " * 9]
    if task.head == "span":
        return [Asked(text, CONTEXT) for text in texts]
    if task.head == "choice":
        return [Asked(text, None, tuple(SENTENCES[:3])) for text in texts]
    return [Asked(text, texts[number - 1] if task.pair else None) for number, text in enumerate(texts)]


def make_all(folder: Path) -> None:
    """Write every bundle, to `folder/NAME/bundle`."""
    own = [name for name in CARDS if name != "both orders"]
    for name in own:
        save(folder / name, card(name).head, name == BYTES)
        make(folder / name, name, folder / name)
    make(folder / "both orders", "both orders", folder / "multiple_choice")  # which has one score of a pair, too
    make_language(folder / "language")


def save(folder: Path, head: Head, of_bytes: bool = False) -> None:
    """A random model with its tokenizer, and its ONNX file."""
    words = tiny_tokenizer(folder / "model")
    if of_bytes:
        byte_tokenizer(blank=False).save(str(words))
    encoder = Encoder(words, MAX_LENGTH)
    outputs = {"choice": 1, "span": 2, "tokens": len(SLOTS) + len(INTENTS)}.get(head, 0)
    config = tiny_config(encoder.tokenizer.get_vocab_size(), 1, num_labels=outputs)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = heads.HEADS[head].stock.from_config(config).eval()
        for key, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape) * (2.0 if "word" in key else 0.2))
    checkpoint.save(model, folder / "model")
    onnx.export_fp32(folder / "model", folder / "model.onnx", head)


def make(folder: Path, name: str, of: Path) -> None:
    """Write the bundle of a task to `folder/bundle`, with the model that was saved in the folder `of`."""
    task, form = card(name), answers.form(card(name))
    head: Head = "choice" if name == "both orders" else task.head
    encoder, model = Encoder(of / "model" / "tokenizer.json", MAX_LENGTH), heads.load(head, of / "model")
    inputs = wrapper.Exportable(model, head).inputs("int64")
    found = []
    folder.mkdir(exist_ok=True)
    for row in rows(task):
        features = form.pose(row, encoder).features
        logits = heads.answers(model, head, features, encoder.pad_id)
        fed = [
            Fed(input_ids=one.input_ids, token_type_ids=one.token_type_ids, logits=values.tolist())
            for one, values in zip(features, logits, strict=True)
        ]
        found.append(Golden(text=row.text, text_pair=row.text_pair, candidates=list(row.candidates), sequences=fed))
    golden.write(folder / "golden.jsonl", found)
    _build(folder, of, name, task, inputs, MAX_LENGTH)


def make_language(folder: Path) -> None:
    """Write the bundle of a language model."""
    lm = causal.load(str(tiny_gpt(folder / "model", "gpt2")))
    task = TaskCard(kind="language_modelling", head="lm", language=cached.describe(lm.model, lm.end_id))
    assert task.language is not None
    inputs = cached.export_fp32(folder / "model", folder / "model.onnx")
    model, encoder = Cached(folder / "model.onnx", task.language), Encoder(folder / "model" / "tokenizer.json", 512)
    encoder.tokenizer.no_truncation()
    found = []
    for text in ["turn on the", "play some quiet music", ""]:
        ids = prompt(encoder, text, task.language)
        pieces = list(model.continued(ids, golden_text.NEW))
        said = str(encoder.tokenizer.decode(pieces, skip_special_tokens=False))
        one = GoldenText(text=text, input_ids=ids, pieces=pieces, continuation=said, nats=model.nats(ids, pieces))
        found.append(one)
    golden.write(folder / "golden.jsonl", found)
    _build(folder, folder, "language", task, inputs, task.language.positions)


def _build(folder: Path, of: Path, name: str, task: TaskCard, inputs: list[Input], most: int) -> None:
    artefact = Artefact(
        file="model.onnx",
        runtime="onnxruntime",
        precision="fp32",
        inputs=inputs,
        golden_error=0.0,
        golden_tolerance=golden_text.TOLERANCES["fp32"] if task.head == "lm" else TOLERANCE,
    )
    manifest = Manifest(
        name=name.replace(" ", "-"),
        attar="0.1.0",
        task=task,
        tokenizer=TokenizerCard(max_length=most, pad_id=0),
        artefacts=[artefact],
        default="model.onnx",
        files={},
    )
    sources = {"model.onnx": of / "model.onnx", "tokenizer.json": of / "model" / "tokenizer.json"}
    bundle.build(folder / "bundle", manifest, sources | {"golden.jsonl": folder / "golden.jsonl"})

"""Tiny real models that tests share: a tokenizer, a random BERT classifier, its artefacts, a bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # before torch counts the cores: every worker is one of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from attar.export.manifest import Artefact, Manifest, TaskCard, TokenizerCard
from helpers import made_once
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertConfig

# A busy machine fails no test by time; in CI (`CI` is set) hypothesis draws the same examples each time.
settings.register_profile("attar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("attar")

# The longest files, longest first: a worker that is given one of them last keeps the others waiting.
LONG = (
    "pipeline", "search", "heads_road", "export", "app", "compress_steps", "single_copies", "gpt_road", "processes",
    "inspect", "light", "peers", "fusion", "language_road",
)  # fmt: skip

LABELS = ["lights", "music", "weather"]
SENTENCES = [
    "turn on the lights in the kitchen",
    "play some quiet music for the evening",
    "will it rain in the mountains tomorrow",
    "make the bedroom lamp a little brighter",
    "stop the song and turn the volume down",
    "how warm is it outside this morning",
    "switch every light in the house off now please",
    "what is the forecast for the weekend, sun or snow?",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_LENGTH = 32
TOLERANCE = 1e-3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the workers take files in this order."""
    order = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def tiny_tokenizer(folder: Path) -> Path:
    """Train a WordPiece tokenizer of about 200 pieces with BERT's special pieces; gives `tokenizer.json`."""
    from tokenizers import processors, trainers

    # Left to the library, `##` characters are numbered by chance, and ties broken by those numbers: they come first.
    letters = sorted({f"##{letter}" for sentence in SENTENCES for letter in sentence if letter.isalpha()})
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=[*SPECIAL, *letters], show_progress=False)
    trained = word_tokenizer([])
    trained.train_from_iterator(SENTENCES, trainer)
    numbers = trained.get_vocab()
    tokenizer = word_tokenizer(sorted(numbers.keys() - set(SPECIAL), key=numbers.__getitem__))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in ("[CLS]", "[SEP]")],
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def word_tokenizer(words: list[str], special: list[str] = SPECIAL) -> Tokenizer:
    """A WordPiece tokenizer of the special pieces and then the given ones; texts get [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = {piece: number for number, piece in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    ends = [(piece, pieces[piece]) for piece in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def byte_tokenizer(blank: bool) -> Tokenizer:
    """A tokenizer in RoBERTa's form; `blank` puts one before the first word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=blank)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*SENTENCES, "한국어 문장 日本語 🙂 naïve"], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=blank)
    return tokenizer


def save_words(tokenizer: Tokenizer, folder: Path) -> None:
    """Save a WordPiece tokenizer beside a model, as `AutoTokenizer` reads it."""
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **special).save_pretrained(folder)


def tiny_config(pieces: int, layers: int = 2, hidden: int = 32, **changes: Any) -> BertConfig:
    """The shape of a small BERT."""
    from transformers import BertConfig

    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 2 * hidden, "max_position_embeddings": 64}
    return BertConfig(vocab_size=pieces, **(sizes | changes))


def tiny_teacher(folder: Path, layers: int = 2, hidden: int = 32, labels: int = len(LABELS), seed: int = 0) -> Path:
    """Save a small random BERT classifier with its tokenizer; every weight, biases too, is its own."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertForSequenceClassification

    words = Tokenizer.from_file(str(tiny_tokenizer(folder)))
    config = tiny_config(words.get_vocab_size(), layers, hidden, num_labels=labels)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config).eval()
        for name, parameter in model.named_parameters():  # words weigh most, so that texts get different answers
            parameter.add_(torch.randn(parameter.shape) * (2.0 if "word" in name else 0.1))
        ids = [torch.tensor([words.encode(sentence).ids]) for sentence in SENTENCES]
        model.classifier.bias.sub_(torch.cat([model(row).logits for row in ids]).mean(0))  # no label always wins
    model.save_pretrained(folder)
    save_words(words, folder)
    return folder


def tiny_bundle(folder: Path, teacher: Path, files: dict[str, Path], task: TaskCard | None = None) -> Manifest:
    """Build a bundle of the teacher with real golden answers; `files` are its artefacts by name."""
    import torch
    from attar.export import bundle
    from attar.export.wrapper import load
    from attar.tasks.encoding import Encoder, collate
    from transformers import AutoModelForSequenceClassification

    task = task or TaskCard(kind="classification", labels=LABELS)
    encoder = Encoder(teacher / "tokenizer.json", MAX_LENGTH)
    model = AutoModelForSequenceClassification.from_pretrained(teacher).eval()
    lines = []
    for number, text in enumerate(SENTENCES):
        other = SENTENCES[number - 1] if task.pair else None
        (row,) = encoder.encode([(text, other)])
        arrays = {name: torch.from_numpy(array) for name, array in collate([row], encoder.pad_id).items()}
        with torch.no_grad():
            logits = model(**arrays).logits[0].tolist()
        golden = {"text": text, "text_pair": other, "input_ids": row.input_ids}
        lines.append(json.dumps(golden | {"token_type_ids": row.token_type_ids, "logits": logits}))
    golden_file = folder.parent / f"{folder.name}-golden.jsonl"
    golden_file.parent.mkdir(parents=True, exist_ok=True)
    golden_file.write_text("\n".join(lines) + "\n", "utf-8")
    wrapper = load(teacher)
    artefacts = [
        Artefact(
            file=name,
            runtime="litert" if name.endswith(".tflite") else "onnxruntime",
            precision="fp32",
            length=int(name.split("-")[-1].split(".")[0]) if name.endswith(".tflite") else None,
            inputs=wrapper.inputs("int32" if name.endswith(".tflite") else "int64"),
            golden_error=0.0,
            golden_tolerance=TOLERANCE,
        )
        for name in files
    ]
    manifest = Manifest(
        name="tiny",
        attar="0.1.0",
        task=task,
        tokenizer=TokenizerCard(max_length=MAX_LENGTH, pad_id=encoder.pad_id),
        artefacts=artefacts,
        default=artefacts[0].file,
        files={},
    )
    sources = {"tokenizer.json": teacher / "tokenizer.json", "golden.jsonl": golden_file, **files}
    return bundle.build(folder, manifest, sources)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny classifier with three labels; do not write into it."""
    return made_once(tmp_path_factory, "teacher", tiny_teacher)


@pytest.fixture(scope="session")
def onnx_file(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny classifier as ONNX in fp32."""
    from attar.export.onnx import export_fp32

    made = made_once(tmp_path_factory, "onnx", lambda folder: export_fp32(teacher, folder / "model.onnx"))
    return made / "model.onnx"


@pytest.fixture(scope="session")
def ort_file(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in onnxruntime's own format, saved by the runtime itself."""
    import onnxruntime

    def make(folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(folder / "model.ort")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])

    return made_once(tmp_path_factory, "ort", make) / "model.ort"


@pytest.fixture(scope="session")
def bundle_folder(teacher: Path, onnx_file: Path, ort_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle with two artefacts; copy it before you damage it."""
    files = {"model.onnx": onnx_file, "model.ort": ort_file}
    inner = Path("tiny", "bundle")
    return made_once(tmp_path_factory, "bundles", lambda made: tiny_bundle(made / inner, teacher, files)) / inner

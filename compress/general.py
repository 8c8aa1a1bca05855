"""The stage `general`: a student that learns from its teacher on plain text, before any task.

- The teacher is the checkpoint that fine-tuning starts from, not what comes out of it (DistilBERT, arXiv 1910.01108;
  TinyBERT, arXiv 1909.10351, section 3.2), so runs that differ in their task share the student that it leaves.
- The corpus is encoded once and drawn from row by row, as in pre-training (`teachers.rows`).
- Losses over the vocabulary need a masked-LM head; a teacher without one, such as a sentence encoder, first gets one
  over its frozen encoder (`knowledge.readable`).
- It leaves a stock checkpoint with its tokenizer: a masked-LM one, a bare encoder where no loss reads a head, or for a
  GPT a causal one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from .. import recipe, students, training
from ..errors import AttarError, UsageError
from ..processes import ALONE, Processes
from ..students import activations
from ..students.heads import Purpose
from ..students.layer_map import resolve
from ..tasks import sharding
from ..tasks.corpus import Corpus
from ..tasks.encoding import Arrays
from ..tasks.shards import Shards
from ..tasks.streams import in_words
from ..teachers import causal, checkpoint, knowledge, masked_text, rows
from ..teachers.objectives import pieces as reading
from ..teachers.objectives.causal import next_piece_errors
from ..teachers.objectives.mlm import Masking
from ..teachers.rows import Integers, Rows
from ..teachers.teach import curve
from . import attention
from .general_losses import GeneralDistillation

PLACE = "distil.general"


def distil(
    spec: recipe.Student,
    plan: recipe.General,
    source: Path,
    seed: int,
    folder: Path,
    corpus: Corpus,
    progress: training.Progress,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Fill `folder` with the student of the checkpoint `source`; gives its curve, sizes and what the corpus held.

    Of several `processes` the first one fills the folder and has results; all of them are given the same. Killed and
    called again, it goes on where it was.
    """
    work = folder / "checkpoints"
    decoder = checkpoint.family(source) in checkpoint.DECODERS
    if processes.first:
        checkpoint.save_tokenizer(source, folder)
        _encode(corpus, source, folder, work / "corpus", decoder, progress)
    processes.wait()
    shards = Shards(work / "corpus")
    pieces = None if decoder else reading.read(folder / "tokenizer.json")
    found = Rows.of(shards, plan.max_length, pieces, seed)
    train, dev = split = rows.divide(len(found), plan.limit, seed, f"{PLACE}.corpus")
    teacher = _teacher(plan, source, lambda: _with_head(plan, source, seed, folder, corpus, progress, processes))
    _fits(teacher, plan)
    torch.manual_seed(seed)  # what is new in the student follows from the seed, in every process
    head: Purpose = "lm" if decoder else "mlm" if plan.predicts else "encoder"
    looked_at = _looked_at(found, train, seed)
    student = students.build(teacher, spec, head, looked_at)
    layers = resolve(spec.layer_map, student.config.num_hidden_layers, teacher.config.num_hidden_layers)
    masking = Masking(pieces, plan.mask_rate, whole_words=plan.whole_words) if pieces else None
    objective = GeneralDistillation(teacher, student, layers, plan, masking).to(training.device())
    objective.fit(looked_at)
    checkpoint.freeze_embeddings(student, plan.freeze_embeddings)

    def further() -> training.Scores:
        return {"perplexity": perplexity(student, found, dev, plan.batch_size)} if decoder else {}

    with attention.recordable(teacher, student) if plan.attention or plan.relations else contextlib.nullcontext():
        state = rows.learn(
            "general",
            objective,
            found,
            split,
            plan,
            seed=seed,
            folder=work,
            progress=progress,
            processes=processes,
            further=further,
        )
    if not processes.first:
        return {}
    checkpoint.save(student.to("cpu"), folder)
    return {
        "training": [curve("general", "general", len(train), state)],
        "rows": {"train": len(train), "dev": len(dev)},
        "parameters": checkpoint.unique_parameters(student),
        "layers": layers,
        "pieces": shards.pieces,
        "corpus": shards.counts,
        "remarks": [f"general distillation: {len(train):,} rows of {in_words(shards.counts)}"],
    }


def check_pieces(general: Path, teacher: Path) -> None:
    """Refuse a general student, by its folder, that reads other pieces than the teacher it is to learn a task from.

    A teacher may have learnt further pieces since, as a GPT does for its task.
    """
    ours, theirs = (Tokenizer.from_file(str(one / "tokenizer.json")).get_vocab() for one in (general, teacher))
    if any(theirs.get(piece) != number for piece, number in ours.items()):
        raise AttarError(
            "the general student and the teacher have different tokenizers",
            where=str(general),
            fix="distil it from this teacher's own checkpoint",
        )


def _encode(
    corpus: Corpus, source: Path, folder: Path, encoded: Path, decoder: bool, progress: training.Progress
) -> None:
    """Encode the corpus; for a decoder each document ends with the end-of-text piece, where the tokenizer has one."""
    words = causal.tokenizer(source) if decoder else None
    end = next((token for token in causal.END_OF_TEXT if words and words.token_to_id(token) is not None), None)
    sharding.build(corpus, folder / "tokenizer.json", encoded, end_of_document=end, progress=progress)


def _teacher(plan: recipe.General, source: Path, with_head: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """The teacher with the head that the losses read, frozen; `with_head` trains the one that it lacks."""
    if checkpoint.family(source) in checkpoint.DECODERS:
        model = checkpoint.load(AutoModelForCausalLM, source, families=checkpoint.DECODERS)
    elif not plan.predicts:
        model, _ = checkpoint.read(AutoModel, source, new=checkpoint.NEW_HEAD)
    else:
        model, new = knowledge.masked_lm(source)
        if new:
            model = with_head()
    return model.to(training.device()).eval().requires_grad_(False)


def _with_head(
    plan: recipe.General,
    source: Path,
    seed: int,
    folder: Path,
    corpus: Corpus,
    progress: training.Progress,
    processes: Processes,
) -> PreTrainedModel:
    """A teacher with a masked-LM head that is trained on the corpus.

    The first process trains it; those that wait read what was trained.
    """
    if plan.head is None:
        raise UsageError(
            "the teacher has no masked-LM head, which `soft` and `hard` ask",
            where=f"{PLACE}.head",
            fix="give it a training, or set `soft` and `hard` to 0",
        )
    if not processes.first:
        processes.wait()
    work = folder / "checkpoints"
    text = masked_text.read(
        plan, folder / "tokenizer.json", work / "corpus", seed=seed, progress=progress, corpus=corpus
    )
    model = knowledge.readable(source, text, plan.head, seed=seed, folder=work / "head", progress=progress)
    if processes.first:
        processes.wait()
    return model


def _looked_at(found: Rows, train: Integers, seed: int) -> list[Arrays]:
    """The training rows that a start by activations looks at, and the fit of the maps; none of a decoder needs them."""
    if found.pieces is None or found.spans is None:
        return []
    features = masked_text.Rows(found.shards, found.spans[train], found.pieces, found.max_length)
    return activations.sample(features, found.pieces.pad, seed)


def _fits(teacher: PreTrainedModel, plan: recipe.General) -> None:
    room = checkpoint.positions(teacher.config)
    if plan.max_length > room:
        raise AttarError(f"the teacher holds {room} pieces", where=f"{PLACE}.max_length", fix=f"set it to {room}")


@torch.inference_mode()
def perplexity(model: PreTrainedModel, found: Rows, numbers: Integers, batch_size: int) -> float:
    """A decoder's perplexity on some windows, each read by itself: exp of the mean over all pieces but first ones."""
    model.eval()
    nats, pieces = 0.0, 0
    for start in range(0, len(numbers), batch_size):
        ids = torch.from_numpy(found.shards.windows(found.max_length)[numbers[start : start + batch_size]])
        batch = {"input_ids": ids.to(model.device), "attention_mask": torch.ones_like(ids).to(model.device)}
        hidden = model.base_model(**batch).last_hidden_state
        errors = next_piece_errors(model, hidden, batch)
        nats, pieces = nats + float(errors.double().sum()), pieces + errors.numel()
    return math.exp(min(nats / pieces, 700.0))

"""Causal language models (GPT-1, GPT-2): how likely a continuation is.

- A likelihood is a sum of log-probabilities in nats over the pieces of a continuation, given what stands before it.
- Batches are padded on the right. A causal model never looks ahead, so padding cannot reach a real piece, and positions
  need no shift; left padding would need position ids, which the stock GPT-1 does not take through `generate`.
- Only the states that predict a scored piece meet the output matrix: logits of whole batches would be hundreds of MB.
- Context that the model cannot hold is cut from the left, and counted.
- Where nothing stands before a text, its first piece is predicted from the end-of-text piece, which divides documents
  in GPT-2's own training.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from .. import training
from ..errors import AttarError
from ..tasks import batching
from . import checkpoint, vocabulary_files

END_OF_TEXT = ("<|endoftext|>", "</s>", "<eos>")
Norm = Literal["none", "pieces", "bytes", "characters"]
Row = tuple[list[int], list[int]]  # pieces of the context, pieces of the continuation
Moved = Callable[[float], None]  # is told which share of the work is done


class Likelihood(NamedTuple):
    """How likely a continuation is; a blank before it counts as a piece may, but not as a byte or character."""

    total: float  # sum of log-probabilities, nats
    pieces: int
    bytes: int
    characters: int
    greedy: bool  # whether each piece is the model's likeliest
    truncated: bool  # whether context was cut

    def by(self, norm: Norm) -> float:
        """The total, or its mean over pieces (GPT-3, arXiv 2005.14165, section 2.4), bytes or characters."""
        lengths = {"none": 1, "pieces": self.pieces, "bytes": self.bytes, "characters": self.characters}
        return self.total / max(1, lengths[norm])


@dataclass(frozen=True)
class Causal:
    """A language model with its tokenizer; `end_id` is the end-of-text piece, where there is one."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    end_id: int | None

    @property
    def positions(self) -> int:
        """How many pieces the model can hold."""
        return checkpoint.positions(self.model.config)

    def pieces(self, text: str) -> list[int]:
        """The text's pieces, without special ones."""
        try:
            return list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        except TypeError:  # half of a surrogate pair
            raise AttarError("a text holds a character that is not Unicode (a lone surrogate)") from None

    def start(self) -> list[int]:
        """What stands before a text's first piece."""
        return [] if self.end_id is None else [self.end_id]

    def row(self, context: str, continuation: str) -> Row:
        """Both texts as pieces; white space between them goes to the continuation."""
        kept = context.rstrip()
        before, after = self.pieces(kept), self.pieces(context[len(kept) :] + continuation)
        before = before or self.start()
        if not before or not after:
            what = "an empty context, and no end-of-text piece to begin with" if after else "an empty continuation"
            raise AttarError(f"{what}: nothing to score")
        return before, after


def load(model: str) -> Causal:
    """The model and tokenizer of a folder or hub id, in evaluation mode on the device of training.

    Raises `AttarError` where it is no GPT-1 or GPT-2, where weights are missing or not safetensors, or where the
    tokenizer has more pieces than the model.
    """
    source = checkpoint.locate(model)
    network = checkpoint.load(AutoModelForCausalLM, source, families=checkpoint.DECODERS)
    words = tokenizer(source)
    vocabulary_files.require(vocabulary_files.size(words), network.config, str(source))
    return Causal(network.to(training.device()).eval(), words, _end_id(network, words))


def tokenizer(source: Path) -> Tokenizer:
    """The checkpoint's fast tokenizer, without truncation or padding of its own."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save_tokenizer(source, Path(folder))
        try:
            words = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception
            raise AttarError(f"not a tokenizer: {error}", where=str(source)) from None
    words.no_padding()
    words.no_truncation()
    return words


def _end_id(model: PreTrainedModel, words: Tokenizer) -> int | None:
    """The end-of-text piece by its name, or as the configuration states it where that is a piece of the tokenizer."""
    named = [words.token_to_id(token) for token in END_OF_TEXT]
    stated = model.config.eos_token_id
    named += stated if isinstance(stated, list) else [stated]
    return next((int(piece) for piece in named if piece is not None and words.id_to_token(piece) is not None), None)


def log_likelihoods(
    lm: Causal, pairs: Sequence[tuple[str, str]], batch_size: int = 16, moved: Moved = lambda share: None
) -> list[Likelihood]:
    """Score pairs of a context and its continuation; in the order of the pairs."""
    rows = [lm.row(context, continuation) for context, continuation in pairs]
    scores = score(lm, rows, batch_size, moved)
    found = []
    for (_, continuation), (total, greedy), (before, after) in zip(pairs, scores, rows, strict=True):
        text = continuation.strip()
        cut = len(before) + len(after) - 1 > lm.positions
        found.append(Likelihood(total, len(after), len(text.encode()), len(text), greedy, cut))
    return found


def score(
    lm: Causal, rows: Sequence[Row], batch_size: int = 16, moved: Moved = lambda share: None
) -> list[tuple[float, bool]]:
    """For each row the sum of log-probabilities (nats) of its continuation, and whether each piece is the likeliest.

    A row needs a piece of context. Raises `AttarError` for a continuation longer than the model.
    """
    longest = max((len(after) for _, after in rows), default=0)
    if longest > lm.positions:
        raise AttarError(f"a continuation of {longest} pieces, and the model holds {lm.positions}")
    sequences = [(before + after)[-lm.positions - 1 :] for before, after in rows]  # the last piece is no input
    found: list[tuple[float, bool]] = [(0.0, True)] * len(rows)
    done, total = 0, sum(len(row) for row in sequences)
    for batch in batching.ordered([len(row) for row in sequences], batch_size):
        numbers = [int(number) for number in batch]
        scores = _score([sequences[number] for number in numbers], [len(rows[number][1]) for number in numbers], lm)
        for number, result in zip(numbers, scores, strict=True):
            found[number] = result
        done += sum(len(sequences[number]) for number in numbers)
        moved(done / total)
    return found


@torch.inference_mode()
def _score(sequences: list[list[int]], counts: list[int], lm: Causal) -> list[tuple[float, bool]]:
    """Score the last `counts` pieces of each sequence in one batch."""
    device = lm.model.device
    width = max(len(sequence) for sequence in sequences) - 1
    ids = torch.zeros((len(sequences), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    scored = torch.zeros_like(ids, dtype=torch.bool)
    for number, (sequence, count) in enumerate(zip(sequences, counts, strict=True)):
        inputs = len(sequence) - 1
        ids[number, :inputs] = torch.tensor(sequence[:-1])
        mask[number, :inputs] = 1
        scored[number, inputs - count : inputs] = True  # the state at i predicts piece i + 1
    states = lm.model.base_model(ids.to(device), attention_mask=mask.to(device))[0]
    logits = lm.model.get_output_embeddings()(states[scored.to(device)]).float()  # (scored pieces, vocabulary)
    targets = torch.tensor([piece for row, count in zip(sequences, counts, strict=True) for piece in row[-count:]])
    losses = F.cross_entropy(logits, targets.to(device), reduction="none").cpu().double()
    likeliest = logits.argmax(1).cpu() == targets
    parts = zip(torch.split(losses, counts), torch.split(likeliest, counts), strict=True)
    return [(-float(loss.sum()), bool(right.all())) for loss, right in parts]

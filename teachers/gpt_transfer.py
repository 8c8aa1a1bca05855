"""Fine-tuning a GPT on a task as GPT-1 does (Radford et al. 2018, sections 3.2 and 3.3).

- Every task becomes sequences of pieces between a start and an extract piece, with a delimiter between two texts
  (figure 1). The four pieces (with padding) join the vocabulary, and the saved `tokenizer.json` writes them itself: a
  device that reads it feeds the model what training did.
- The extract piece's last state goes through one linear layer. The model is the stock sequence classifier of GPT-1 or
  GPT-2: it pools the last piece that is not padding, which is the extract piece, so that transformers'
  `AutoModelForSequenceClassification` reloads it and gives the trained answers.
- Similarity adds the states of both orders before the layer. The layer has no bias, so this is the sum of the stock
  model's two answers, score(a, b) + score(b, a), which every caller can form (`recipe.Task.both_orders`). Multiple
  choice is the stock model with one output for each candidate and a softmax over the candidates (`heads.choice`).
- The loss is the task's plus λ times the language model's on the same sequences (equation 5, λ = 0.5), through the
  transposed embeddings as output matrix; both are means, over rows and over sequences, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, processors
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from .. import training
from ..errors import AttarError
from ..processes import ALONE, Processes
from ..tasks.task import Batch, Task
from . import causal, checkpoint, heads, vocabulary_files

START, DELIMITER, EXTRACT, PAD = "<|start|>", "<|delimiter|>", "<|extract|>", "<pad>"


def start(source: Path, folder: Path, outputs: int = 1, labels: Sequence[str] | None = None) -> PreTrainedModel:
    """A stock classifier with a causal model's weights, its new pieces and a new head; the tokenizer goes to `folder`.

    `outputs` is the number of classes, or 1 for a regression and for a choice: a value that stays as it is, which
    transformers calls a regression. The new weights are drawn from torch's random state.
    """
    words = causal.tokenizer(source)
    names = list(labels or [f"LABEL_{number}" for number in range(outputs)])
    model = checkpoint.load(
        AutoModelForSequenceClassification,
        source,
        families=checkpoint.DECODERS,
        new=True,
        names=names,
        problem_type="regression" if outputs == 1 else "single_label_classification",
    )
    vocabulary_files.require(vocabulary_files.size(words), model.config, str(source))
    pieces = _add_pieces(words)
    model.resize_token_embeddings(max(vocabulary_files.size(words), model.config.vocab_size), mean_resizing=False)
    model.config.pad_token_id = pieces[PAD]
    folder.mkdir(parents=True, exist_ok=True)
    special = {"bos_token": START, "sep_token": DELIMITER, "cls_token": EXTRACT, "pad_token": PAD}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    return model


def _add_pieces(words: Tokenizer) -> dict[str, int]:
    """Add the special pieces, where they are not there, and let the tokenizer write the formats; gives their ids."""
    names = [START, DELIMITER, EXTRACT, PAD]
    words.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    vocabulary = words.get_vocab()
    pieces = {name: vocabulary[name] for name in names}
    words.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {EXTRACT}",
        pair=f"{START} $A {DELIMITER} $B {EXTRACT}",
        special_tokens=[(name, pieces[name]) for name in names if name != PAD],
    )
    return pieces


def losses(
    model: PreTrainedModel,
    task: Task,
    batch: Batch,
    lm_weight: float = 0.5,
    dropout: float = 0.1,
    processes: Processes = ALONE,
) -> training.Losses:
    """The loss of the task's head and λ times the language model's on the same sequences (equation 5).

    Of several processes each reads its sequences. `dropout` is that before the linear layer (section 4.1). Raises
    `AttarError` for λ above 0 where the model's output matrix was not its embeddings.
    """
    if lm_weight and not model.config.tie_word_embeddings:
        what = "the model's output matrix is not its embeddings, and a classifier keeps none"
        raise AttarError(what, where="teacher.lm_weight", fix="set it to 0")
    own, weight = processes.share(batch.inputs)
    inputs = checkpoint.tensors(own, ("input_ids", "attention_mask"), model.device)
    mask = inputs["attention_mask"]
    states = model.base_model(**inputs)[0]  # (sequences, pieces, hidden)
    extract = states[torch.arange(len(mask), device=mask.device), mask.sum(1) - 1]
    extract = processes.gather(extract, len(batch.owner))
    logits = model.score(_dropped(extract, batch, dropout) if model.training else extract)
    found = heads.hard_loss(logits, task, batch)
    if lm_weight:
        found["lm"] = processes.part(lm_weight * _lm_loss(model, states, **inputs), mask[:, 0].sum(), weight)
    return found


def _dropped(states: Tensor, batch: Batch, rate: float) -> Tensor:
    """Dropout on the states, (sequences, hidden), that leaves out the same units in all sequences of a row.

    So it is that of the sum of both orders, and candidates are compared by the same units, as in the authors' code.
    """
    kept = F.dropout(states.new_ones(len(batch.targets), states.shape[1]), rate)
    return states * kept[torch.from_numpy(batch.owner).to(states.device)]


def _lm_loss(model: PreTrainedModel, states: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """-L1 of equation 5: per sequence the mean over its pieces (delimiter and extract too), then over sequences."""
    real = attention_mask[:, 1:].bool()
    logits = F.linear(states[:, :-1][real], model.get_input_embeddings().weight)  # (real pieces, vocabulary)
    losses = states.new_zeros(real.shape).masked_scatter(
        real, F.cross_entropy(logits, input_ids[:, 1:][real], reduction="none")
    )
    return (losses.sum(1) / real.sum(1)).mean()

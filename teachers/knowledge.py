"""A teacher that learns a knowledge graph together with text, and two ways to ask any model what it knows.

- `fuse` adds KEPLER's loss of triples to masked language modelling (arXiv 1911.06136): each step sees a batch of text
  and a batch of triples drawn with replacement, and the two losses are summed. Weight 0 leaves the triples out: the
  control that shows what the text alone did.
- How pieces are masked is the caller's (`Corpus.mask`). It must draw from torch's global generator, whose state the
  checkpoint holds, or an interrupted training would not end with the same bytes.
- The margin is on the scale of L2 distances. Those of L1 are larger, up to √hidden times: there the same margin would
  first draw all entities together.
- `links`: filtered link prediction with entities read from their text. The relation table is not part of a saved
  model, so by default a relation is the mean of t − h over its training triples, which is where the squared error is
  least: teacher before, teacher after and distilled student are asked in one way, with nothing trained.
- `probe`: LAMA's masked sentences. It reads a masked-LM head, and a classifier, a distilled student or a sentence
  encoder such as MiniLM has none: `readable` then trains one on text, over the *frozen* encoder, so that the answers
  show what the encoder knows. Before and after are compared with the same head, plan and text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from .. import training
from ..errors import AttarError
from ..recipe import Fuse, Optimization
from ..tasks import batching, lama, triples
from ..tasks.encoding import Arrays, Features, collate
from ..tasks.triples import Floats, Graph, Triples
from . import checkpoint
from .objectives.heads import piece_logits
from .objectives.knowledge import Fusion, corrupt, entity_states, knowledge_loss, masked_loss

Mask = Callable[[Arrays], tuple[Arrays, npt.NDArray[np.int64]]]  # batch -> masked batch, labels (−100: not asked)
NEW_HEAD = re.compile(r"^(cls|lm_head|predictions|vocab_\w+|generator_\w+)\.")


@dataclass(frozen=True)
class Corpus:
    """Encoded text, and how its pieces are masked."""

    features: Sequence[Features]
    mask: Mask
    pad_id: int

    def masked(self, rows: npt.NDArray[np.int64], model: PreTrainedModel) -> tuple[dict[str, Tensor], Tensor]:
        """The masked inputs of some rows and their labels (rows, length), on the model's device."""
        arrays, labels = self.mask(collate([self.features[row] for row in rows], self.pad_id))
        inputs = checkpoint.tensors(arrays, checkpoint.takes(model), model.device)
        return inputs, torch.from_numpy(labels).to(model.device)


def masked_lm(source: Path) -> tuple[PreTrainedModel, bool]:
    """A masked language model with a checkpoint's weights, and whether its head is new (random, tied to the words)."""
    model, new = checkpoint.read(AutoModelForMaskedLM, source, new=NEW_HEAD)
    return model, bool(new)


def readable(
    source: Path,
    corpus: Corpus | None,
    plan: Optimization,
    *,
    seed: int,
    folder: Path,
    progress: training.Progress = lambda what, done, remark: None,
) -> PreTrainedModel:
    """The model of a folder with a masked-LM head: its own, or one trained on the corpus over the frozen encoder.

    Raises `AttarError` where it has none and there is no corpus to train one on. Checkpoints live in `folder`.
    """
    torch.manual_seed(seed)  # a new head starts from the seed
    model, new = masked_lm(source)
    model.to(training.device())
    if not new:
        return model.eval()
    if corpus is None:
        raise AttarError("the model has no masked-LM head", where=str(source), fix="give text to train one on")
    frozen = {id(weight) for weight in model.base_model.parameters()}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) not in frozen)  # the words are tied: they stay the encoder's

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        model.base_model.eval()  # no dropout in what is only read
        return {"mlm": masked_loss(model, *corpus.masked(rows, model))}

    lengths = [len(row.input_ids) for row in corpus.features]
    training.fit(training.Job("head", model, loss, lengths, plan, seed, folder, progress=progress))
    return model.requires_grad_(True)


def fuse(
    model: PreTrainedModel,
    graph: Graph,
    entities: Sequence[Features],
    corpus: Corpus,
    plan: Fuse,
    *,
    seed: int,
    folder: Path,
    progress: training.Progress = lambda what, done, remark: None,
) -> tuple[training.State, npt.NDArray[np.float32]]:
    """Teach a masked language model its text and the graph; gives the state and the relation table (relations, hidden).

    `entities` are the encoded `graph.texts`. The model ends with the last weights; `checkpoint.save` writes it as a
    stock folder, without the table.
    """
    torch.manual_seed(seed)
    fusion = Fusion(model, len(graph.relations)).to(model.device)
    true = torch.from_numpy(graph.splits["train"])

    def feed(numbers: Tensor) -> dict[str, Tensor]:
        return _inputs(model, [entities[number] for number in numbers.tolist()], corpus.pad_id)

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        found = {"mlm": masked_loss(model, *corpus.masked(rows, model))}
        if plan.weight:
            drawn = true[torch.randint(len(true), (plan.triples,))]
            false = corrupt(drawn, len(graph.entities), plan.negatives)
            far = fusion.distances(torch.cat([drawn[:, None], false], 1), feed, plan.norm)
            found["knowledge"] = plan.weight * knowledge_loss(far[:, 0], far[:, 1:], plan.margin)
        return found

    checkpoint.freeze_embeddings(model, plan.freeze_embeddings)
    lengths = [len(row.input_ids) for row in corpus.features]
    state = training.fit(training.Job("knowledge", fusion, loss, lengths, plan, seed, folder, progress=progress))
    return state, fusion.relations.weight.detach().float().cpu().numpy()


def entity_table(
    model: PreTrainedModel,
    entities: Sequence[Features],
    pad_id: int,
    batch_size: int = 256,
    moved: Callable[[float], None] = lambda share: None,
) -> npt.NDArray[np.float32]:
    """The [CLS] states (entities, hidden) of all texts; equal texts get equal vectors, so that they tie."""
    unique = {tuple(row.input_ids): row for row in entities}
    texts, places = list(unique.values()), {pieces: place for place, pieces in enumerate(unique)}
    table = np.zeros((len(texts), model.config.hidden_size), np.float32)
    model.eval()
    with torch.inference_mode():
        for number, rows in enumerate(batching.ordered([len(row.input_ids) for row in texts], batch_size), 1):
            states = entity_states(model, _inputs(model, [texts[row] for row in rows], pad_id))
            table[rows] = states.float().cpu().numpy()
            moved(min(1.0, number * batch_size / len(texts)))
    return table[[places[tuple(row.input_ids)] for row in entities]]


def mean_translations(table: Floats, rows: Triples, relations: int) -> npt.NDArray[np.float32]:
    """For each relation the mean of t − h over its triples, shape (relations, hidden): least squares for h + r = t."""
    found = np.zeros((relations, table.shape[1]), np.float32)
    for relation in range(relations):
        own = rows[rows[:, 1] == relation]
        if len(own):
            found[relation] = (table[own[:, 2]] - table[own[:, 0]]).mean(0)
    return found


def links(
    model: PreTrainedModel,
    graph: Graph,
    entities: Sequence[Features],
    pad_id: int,
    split: str,
    *,
    relations: Floats | None = None,
    norm: int = 2,
    limit: int | None = None,
    moved: Callable[[float], None] = lambda share: None,
) -> dict[str, float]:
    """Filtered link prediction on the first `limit` triples of a split; `relations` may be a learnt table."""
    table = entity_table(model, entities, pad_id, moved=moved)
    if relations is None:
        relations = mean_translations(table, graph.splits["train"], len(graph.relations))
    score = triples.translation_score(table, relations, norm)
    return triples.link_prediction(graph.splits[split][:limit], graph.known, score, len(table))


def probe(
    model: PreTrainedModel,
    probes: lama.Probes,
    pad_id: int,
    batch_size: int = 64,
    moved: Callable[[float], None] = lambda share: None,
) -> lama.Scores:
    """What a model with a masked-LM head (`readable`) answers to LAMA's sentences."""
    found = np.zeros(len(probes.rows))
    model.eval()
    with torch.inference_mode():
        lengths = [len(row.features.input_ids) for row in probes.rows]
        for number, rows in enumerate(batching.ordered(lengths, batch_size), 1):
            own = [probes.rows[row] for row in rows]
            states = model.base_model(**_inputs(model, [row.features for row in own], pad_id)).last_hidden_state
            places = torch.tensor([row.position for row in own], device=states.device)
            logits = piece_logits(model, states[torch.arange(len(own), device=states.device), places])
            found[rows] = lama.ranks(logits.float().cpu().numpy(), own, probes.candidates)
            moved(min(1.0, number * batch_size / len(lengths)))
    return lama.score(probes.rows, found)


def _inputs(model: PreTrainedModel, features: Sequence[Features], pad_id: int) -> dict[str, Tensor]:
    return checkpoint.tensors(collate(features, pad_id), checkpoint.takes(model), model.device)

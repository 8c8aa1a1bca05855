"""Knowledge-graph fusion: the loss of triples whose entities are read from their text, beside masked words.

- KEPLER (Wang et al., arXiv 1911.06136, section 3): an entity is the [CLS] state of its text, a relation is a vector
  of a table, and the total loss is that of the triples plus that of the masked pieces.
- Negative sampling replaces the head or the tail of a triple by another entity (Bordes et al. 2013, eq. 3).
- The relation table belongs to the training: the model that is saved has a stock encoder's weights and no more, so
  what is built from it costs the same.
- The masked-LM head sees only the pieces that were masked: over all of them its logits would be the largest tensor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from .. import layout
from .base import IGNORED
from .heads import piece_logits

Feed = Callable[[Tensor], dict[str, Tensor]]  # entity numbers (count,) -> the encoder's inputs for their texts


def distance(heads: Tensor, relations: Tensor, tails: Tensor, norm: int) -> Tensor:
    """TransE's ‖h + r − t‖ over the last axis; the shapes (..., hidden) broadcast. KEPLER section 3.2."""
    found: Tensor = torch.linalg.vector_norm(heads + relations - tails, ord=norm, dim=-1)
    return found


def knowledge_loss(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """−log σ(γ − d) − mean log σ(d' − γ), the mean over true distances d (batch,) and false ones d' (batch, negatives).

    KEPLER section 3.2, after RotatE (arXiv 1902.10197, eq. 5) with equal weights of the negatives.
    """
    return -(F.logsigmoid(margin - positive) + F.logsigmoid(negative - margin).mean(1)).mean()


def corrupt(triples: Tensor, entities: int, negatives: int) -> Tensor:
    """False triples (batch, negatives, 3) for triples (batch, 3): one end, chosen by a coin, is another entity.

    An end never becomes itself; that the result may be another true triple is accepted, as in Bordes et al. Draws from
    torch's global generator, which a training's checkpoint holds.
    """
    wrong = triples[:, None].repeat(1, negatives, 1)
    column = 2 * torch.randint(2, (len(triples), negatives, 1))
    other = wrong.gather(2, column) + torch.randint(1, entities, column.shape)
    return wrong.scatter(2, column, other % entities)


def entity_states(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """The [CLS] states (rows, hidden) of a batch of texts."""
    states: Tensor = model.base_model(**batch).last_hidden_state[:, 0]
    return states


class Fusion(nn.Module):
    """A masked language model and the relation table that learns beside it; only `model` is saved."""

    def __init__(self, model: PreTrainedModel, relations: int) -> None:
        super().__init__()
        self.model = model
        self.relations = nn.Embedding(relations, layout.shape(model).hidden)
        nn.init.normal_(self.relations.weight, std=0.02)  # BERT's own spread

    def distances(self, triples: Tensor, feed: Feed, norm: int) -> Tensor:
        """Distances of triples (batch, count, 3), shape (batch, count); each entity's text is read once."""
        ends, places = torch.unique(triples[..., [0, 2]], return_inverse=True)
        states = entity_states(self.model, feed(ends))
        places = places.to(states.device)
        relations = self.relations(triples[..., 1].to(states.device))
        return distance(states[places[..., 0]], relations, states[places[..., 1]], norm)


def masked_loss(model: PreTrainedModel, batch: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Cross-entropy at the masked pieces: labels (batch, length) hold the right piece there and −100 elsewhere.

    BERT, arXiv 1810.04805, section 3.1. A batch without a masked piece has the loss 0.
    """
    states = model.base_model(**batch).last_hidden_state
    masked = labels != IGNORED
    if not bool(masked.any()):
        nothing: Tensor = 0.0 * states.sum()
        return nothing
    return F.cross_entropy(piece_logits(model, states[masked]), labels[masked])

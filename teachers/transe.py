"""TransE alone: what the triples teach without any text; the base line of the fusion.

- One vector for each entity and each relation; a true triple has h + r near t (Bordes et al., "Translating Embeddings
  for Modeling Multi-relational Data", NIPS 2013).
- Margin loss with sampled negatives (eq. 1). Entity vectors have unit length (algorithm 1, line 5): they are divided by
  it wherever they are used, which is the same constraint and needs no step of its own.
- The optimizer is that of every training here (AdamW in place of SGD), without weight decay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import training
from ..recipe import TransE
from ..tasks import triples
from ..tasks.triples import Graph
from .objectives.knowledge import corrupt, distance


class Translation(nn.Module):
    """Tables of entities and relations."""

    def __init__(self, entities: int, relations: int, dimension: int) -> None:
        super().__init__()
        self.entities = nn.Embedding(entities, dimension)
        self.relations = nn.Embedding(relations, dimension)
        bound = 6 / dimension**0.5  # algorithm 1, lines 1-3
        for table in (self.entities, self.relations):
            nn.init.uniform_(table.weight, -bound, bound)
        with torch.no_grad():
            self.relations.weight.copy_(F.normalize(self.relations.weight, dim=-1))

    def distances(self, rows: Tensor, norm: int) -> Tensor:
        """Distances of triples (..., 3), shape (...)."""
        heads = F.normalize(self.entities(rows[..., 0]), dim=-1)
        tails = F.normalize(self.entities(rows[..., 2]), dim=-1)
        return distance(heads, self.relations(rows[..., 1]), tails, norm)

    def tables(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Entity vectors (entities, dimension) of unit length and relation vectors (relations, dimension)."""
        with torch.no_grad():
            entities = F.normalize(self.entities.weight, dim=-1)
            return entities.float().cpu().numpy(), self.relations.weight.float().cpu().numpy()


def margin_loss(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """[γ + d − d']₊, the mean over true distances d (batch,) and false ones d' (batch, negatives): eq. 1."""
    return F.relu(margin + positive[:, None] - negative).mean()


def learn(
    graph: Graph,
    plan: TransE,
    *,
    seed: int,
    folder: Path,
    progress: training.Progress = lambda what, done, remark: None,
) -> tuple[Translation, training.State]:
    """Train the tables on the graph's `train` split; checkpoints live in `folder`."""
    torch.manual_seed(seed)
    model = Translation(len(graph.entities), len(graph.relations), plan.dimension).to(training.device())
    rows = torch.from_numpy(graph.splits["train"])

    def loss(batch: npt.NDArray[np.int64]) -> training.Losses:
        true = rows[batch]
        false = corrupt(true, len(graph.entities), plan.negatives)
        found = model.distances(torch.cat([true[:, None], false], 1).to(training.device()), plan.norm)
        return {"margin": margin_loss(found[:, 0], found[:, 1:], plan.margin)}

    job = training.Job("transe", model, loss, [1] * len(rows), plan, seed, folder, progress=progress)
    return model, training.fit(job)


def links(model: Translation, graph: Graph, split: str, norm: int, limit: int | None = None) -> dict[str, float]:
    """Filtered link prediction on the first `limit` triples of a held-out split (`tasks.triples`)."""
    score = triples.translation_score(*model.tables(), norm)
    return triples.link_prediction(graph.splits[split][:limit], graph.known, score, len(graph.entities))

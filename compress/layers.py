"""The phase `intermediate`: the student learns what happens inside its teacher.

- TinyBERT (arXiv 1909.10351, eq. 7-9): embeddings, hidden states and attention scores, each layer from its mapped one.
- Beside them, each with its own weight: self-attention relations of one layer (MiniLM), the [CLS] states of the mapped
  layers (PKD), the direction of the last hidden state (DistilBERT). The recipe's default is TinyBERT's three.
- Projections carry states into the teacher's width where the widths differ. They start from a least-squares fit and
  stay out of the student (`projections`). W_h is one for all layers, as in TinyBERT's code, or one for each.
- The weighted losses are summed over layers, so a deeper student has a larger sum, as in the papers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .. import recipe, training
from ..errors import UsageError
from ..students import activations
from ..teachers import checkpoint, layout
from . import attention, losses, projections, relations, states
from .pair import Pair
from .patient import patient_error, summary
from .states import Seen, Wanted
from .teacher_states import TeacherStates, bytes_each

PLACE = "distil.intermediate"


class Projections(nn.Module):
    """The student with the linear maps that carry its states into the teacher's width: W_e (eq. 9) and W_h (eq. 8)."""

    def __init__(self, pair: Pair, per_layer: bool = False) -> None:
        super().__init__()
        self.student = pair.student
        widths = layout.shape(pair.student).hidden, layout.shape(pair.teacher).hidden
        self.embedding = projections.carrier(*widths)
        each = [projections.carrier(*widths) for _ in pair.layers] if per_layer else []
        self.hidden = nn.ModuleList(each) if per_layer else projections.carrier(*widths)

    def carry(self, states: Tensor, layer: int) -> Tensor:
        """The hidden states of a student layer, counted from 1, in the teacher's width."""
        found: Tensor = self._carrier(layer)(states)
        return found

    def _carrier(self, layer: int) -> nn.Module:
        return self.hidden[layer - 1] if isinstance(self.hidden, nn.ModuleList) else self.hidden

    def fit(self, pair: Pair, plan: recipe.Intermediate) -> None:
        """Start the maps from a least-squares fit over the layers that the plan's losses compare, on training rows."""
        compared = list(enumerate(pair.layers, 1)) if plan.hidden or plan.patient else []
        if plan.cosine:
            compared.append((len(pair.layers), layout.shape(pair.teacher).layers))
        fits: dict[nn.Module, list[tuple[int, int]]] = {self.embedding: [(0, 0)] if plan.embedding else []}
        for student, teacher in dict.fromkeys(compared):
            fits.setdefault(self._carrier(student), []).append((student, teacher))
        ours = activations.sample(pair.train.features, pair.pad_id, pair.seed)
        theirs = activations.sample(pair.lessons.features, pair.teacher_pad, pair.seed)
        projections.fit(fits.items(), pair.student, pair.teacher, ours, theirs)


def check(teacher: PreTrainedModel, student: PreTrainedModel, plan: recipe.Intermediate) -> None:
    """Refuse a loss that these two, of which only the shapes are read, cannot have."""
    if plan.attention and layout.kind(student.config) in checkpoint.DECODERS:
        raise UsageError(
            "attention scores teach encoders alone: a GPT's are of no use where it must not look",
            where=f"{PLACE}.attention",
            fix="set it to 0",
        )
    if plan.relations:
        relations.check(teacher, student, plan, PLACE)
    if plan.patient and layout.shape(student).layers < 2:
        raise UsageError(
            "patient distillation leaves the last layer to the prediction, and the student has only one",
            where=f"{PLACE}.patient",
            fix="set student.layers: 2, or patient: 0",
        )


def wanted(pair: Pair, plan: recipe.Intermediate) -> tuple[Wanted, Wanted]:
    """What the plan's losses read of the teacher and of the student."""
    theirs, ours = set(pair.layers), set(range(1, len(pair.layers) + 1))
    last = layout.shape(pair.teacher).layers
    uses = [
        (plan.embedding, Wanted(hidden=frozenset({0})), Wanted(hidden=frozenset({0}))),
        (plan.hidden, Wanted(hidden=frozenset(theirs)), Wanted(hidden=frozenset(ours))),
        (plan.attention, Wanted(scores=frozenset(theirs)), Wanted(scores=frozenset(ours))),
        (
            plan.relations,
            Wanted(vectors=frozenset({plan.relation_layer or last})),
            Wanted(vectors=frozenset({len(ours)})),
        ),
        (plan.patient, Wanted(hidden=frozenset(pair.layers[:-1])), Wanted(hidden=frozenset(ours - {len(ours)}))),
        (plan.cosine, Wanted(hidden=frozenset({last})), Wanted(hidden=frozenset({len(ours)}))),
    ]
    teacher = student = Wanted()
    for weight, of_teacher, of_student in uses:
        if weight:
            teacher, student = teacher | of_teacher, student | of_student
    return teacher, student


def learn_layers(
    pair: Pair,
    plan: recipe.Intermediate,
    folder: Path,
    allowed: float | None = None,
    shared: Path | None = None,
) -> training.State:
    """The intermediate phase: every loss of the plan whose weight is not zero.

    `allowed` bytes on disk may hold the teacher's states; where they do not suffice it runs beside its student. They
    stand in `folder`, or in `shared`, where other students find them.
    """
    check(pair.teacher, pair.student, plan)
    torch.manual_seed(pair.seed)
    model = Projections(pair, plan.projections == "per_layer").to(pair.device)
    model.fit(pair, plan)
    of_teacher, of_student = wanted(pair, plan)
    held = _held(pair, plan) if shared and allowed else None

    def loss(rows: npt.NDArray[np.int64]) -> training.Losses:
        arrays, weight = pair.own(pair.train.batch(rows, pair.pad_id).inputs)
        teacher = source.of(rows)
        inputs = checkpoint.tensors(arrays, checkpoint.takes(pair.student), pair.device)
        student = states.run(pair.student, inputs, of_student)
        mask = torch.from_numpy(arrays["attention_mask"]).to(pair.device)
        found = layer_losses(pair, plan, model, teacher, student, mask)
        counts = {
            "attention": mask.sum(1).pow(2).sum(),
            "patient": mask[:, 0].sum(),
        }  # the others are means over pieces
        return {name: pair.processes.part(loss, counts.get(name, mask.sum()), weight) for name, loss in found.items()}

    checkpoint.freeze_embeddings(pair.student, plan.freeze_embeddings)
    both = ((pair.teacher, held or of_teacher), (pair.student, of_student))
    with attention.recordable(*(model for model, reads in both if reads.recorded)):
        source = TeacherStates(pair, of_teacher, shared or folder, allowed, held)
        return training.fit(
            training.Job(
                "intermediate",
                model,
                loss,
                pair.train.lengths,
                plan,
                pair.seed,
                folder,
                progress=pair.progress,
                where=pair.train.where,
                processes=pair.processes,
            )
        )


def kept(pair: Pair, plan: recipe.Intermediate, allowed: float | None, shared: Path | None = None) -> int:
    """The bytes that `learn_layers` keeps of the teacher's states with these arguments."""
    of_teacher, _ = wanted(pair, plan)
    need = sum(bytes_each(pair, _held(pair, plan) if shared else of_teacher))
    return need if allowed is not None and need <= allowed and of_teacher != Wanted() else 0


def _held(pair: Pair, plan: recipe.Intermediate) -> Wanted:
    """What a shared cache keeps of the teacher: what this plan reads, and what TinyBERT's losses do."""
    of_teacher, _ = wanted(pair, plan)
    scores = states.NONE if _decoder(pair) else frozenset(pair.layers)
    return of_teacher | Wanted(hidden=frozenset({0, *pair.layers}), scores=scores)


def _decoder(pair: Pair) -> bool:
    return layout.kind(pair.student.config) in checkpoint.DECODERS


def layer_losses(
    pair: Pair, plan: recipe.Intermediate, model: Projections, teacher: Seen, student: Seen, mask: Tensor
) -> training.Losses:
    """The weighted losses of one batch."""
    found: training.Losses = {}
    mapped = list(enumerate(pair.layers, 1))  # (student layer, teacher layer)
    last, top = len(mapped), layout.shape(pair.teacher).layers
    if plan.embedding:
        error = losses.hidden_error(model.embedding(student.hidden[0]), teacher.hidden[0], mask)
        found["embedding"] = plan.embedding * error
    if plan.hidden:
        errors = [losses.hidden_error(model.carry(student.hidden[s], s), teacher.hidden[t], mask) for s, t in mapped]
        found["hidden"] = plan.hidden * torch.stack(errors).sum()
    if plan.attention:
        errors = [
            losses.attention_error(student.scores[s], pair.for_layer(teacher.scores[t], s), mask) for s, t in mapped
        ]
        found["attention"] = plan.attention * torch.stack(errors).sum()
    if plan.relations:
        ours, theirs = student.vectors[last], teacher.vectors[plan.relation_layer or top]
        wide, narrow = (vectors.shape[2] * vectors.shape[4] for vectors in (theirs, ours))
        heads = relations.relation_heads(plan.relation_heads, layout.shape(pair.teacher).heads, wide, narrow)
        found["relations"] = plan.relations * relations.relation_error(ours, theirs, mask, plan.relation_kinds, heads)
    if plan.patient:
        of_student = [model.carry(summary(student.hidden[s], mask, last=_decoder(pair)), s) for s, _ in mapped[:-1]]
        of_teacher = [summary(teacher.hidden[t], mask, last=_decoder(pair)) for _, t in mapped[:-1]]
        found["patient"] = plan.patient * patient_error(of_student, of_teacher)
    if plan.cosine:
        error = losses.cosine_error(model.carry(student.hidden[last], last), teacher.hidden[top], mask)
        found["cosine"] = plan.cosine * error
    return found

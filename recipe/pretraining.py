"""The part `pretrain`: a teacher from plain text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .parts import Columns, Part, Positive, Weight
from .training import PRECISION, Optimization, Precision


class Pretraining(Optimization):
    """The training of `pretrain`; with several processes `batch_size` counts the rows of all of them."""

    precision: Precision = Field("auto", description=PRECISION)


class Corpus(Part):
    """Plain text to learn from."""

    paths: Annotated[list[str], Field(min_length=1)] = Field(
        description="text, JSONL or TSV files, plain, .gz or .xz; patterns as `texts/*.txt`; `$NAME` is of the "
        "environment"
    )
    text: Columns = Field("text", description="column of JSONL or TSV rows; of several names the first one present")
    document: Literal["file", "paragraph"] = Field("file", description="what is a document of a text file")
    passage: Literal["paragraph", "line"] = Field("paragraph", description="what a sentence never crosses")


class PlainText(Part):
    """Rows of plain text in which hidden pieces are guessed."""

    corpus: Corpus
    max_length: int = Field(64, ge=8, description="pieces of a row")
    limit: Positive | None = Field(None, description="use only so many rows (a seeded choice)")
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of the pieces that are to be guessed")
    whole_words: bool = Field(False, description="choose whole words to mask")


class Vocabulary(Part):
    """The pieces of a pre-trained model: WordPiece for encoders, byte-level BPE for decoders."""

    path: str | None = Field(None, description="take this folder's or file's instead of training one")
    size: Positive = 8000
    lowercase: bool | None = Field(None, description="WordPiece; true for a trained one, found out for a taken one")
    min_frequency: Positive = Field(2, description="a pair that is rarer becomes no piece")
    share: float = Field(1.0, gt=0, le=1, description="share of the corpus that the vocabulary is trained on")


class Sharing(Part):
    """Layers with the same weights (ALBERT, arXiv 1909.11942, section 3.1)."""

    part: Literal["all", "attention", "ffn"] = "all"
    group: Positive | None = Field(None, description="layers that share; all of them where not given")


class Pretrain(Part):
    """A teacher from plain text; `teacher.model` is then what comes out of it."""

    corpus: Corpus
    vocabulary: Vocabulary = Vocabulary()
    objective: Literal["mlm", "next_sentence", "sentence_order", "causal", "replaced_token"] = Field(
        "mlm", description="BERT is next_sentence, ALBERT sentence_order, GPT causal, ELECTRA replaced_token"
    )
    shape: str = Field("bert-mini", description="bert-mini, bert-base, albert-mini, electra-mini, gpt1, gpt2-mini …")
    layers: Positive | None = Field(None, description="the shape's where not given, as all sizes")
    hidden_size: Positive | None = None
    heads: Positive | None = None
    intermediate_size: Positive | None = None
    embedding_size: Positive | None = None
    positions: Positive | None = None
    groups: Positive | None = Field(None, description="groups of shared layers (albert)")
    sharing: Sharing | None = Field(None, description="share layers of a BERT or ELECTRA; ALBERT shares by itself")
    start: Literal["random", "neighbours"] = Field(
        "random", description="neighbours: positions start as sinusoids, and four heads look at the pieces beside them"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="of this training; the family's own where not given, and afterwards"
    )
    max_length: int = Field(128, ge=8, description="pieces of a row")
    limit: Positive | None = Field(None, description="use only so many rows (a seeded choice)")
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of the pieces that are to be guessed")
    whole_words: bool = Field(False, description="choose whole words to mask")
    generator_size: float = Field(0.25, gt=0, le=1, description="ELECTRA: the generator's width over the model's")
    tied: Literal["embeddings", "all"] = Field(
        "embeddings", description="ELECTRA: what generator and model share; all asks for a generator_size of 1"
    )
    discriminator_weight: Weight = Field(50.0, description="ELECTRA's weight of the discriminator's loss")
    training: Pretraining = Pretraining(learning_rate=5e-4, epochs=1, keep="last")

    @model_validator(mode="after")
    def _one_size(self) -> Pretrain:
        if self.tied == "all" and self.generator_size != 1:
            raise ValueError("`tied: all` is one encoder for generator and model: set generator_size: 1")
        return self

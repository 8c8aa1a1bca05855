"""A model that is scored: where it lies, and the forms in which scores need it, each loaded once.

A folder may be a run's: a sheet then asks the model before fine-tuning, `pretrained/`, where there is one, and else the
teacher; a recipe asks the teacher.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedModel

from .. import training
from ..errors import AttarError, UsageError
from ..tasks.encoding import Encoder
from ..teachers import causal, checkpoint, knowledge
from ..teachers.causal import Causal
from .record import Model


@dataclass(frozen=True)
class Subject:
    """One model; `name` is what tables call it."""

    name: str
    source: Path

    @cached_property
    def family(self) -> str:
        """The model type."""
        return checkpoint.family(self.source)

    @cached_property
    def lm(self) -> Causal:
        """The model as a language model."""
        return causal.load(str(self.source))

    @cached_property
    def masked(self) -> PreTrainedModel:
        """The encoder with its masked-LM head, which is random where the folder has none (`has_head`)."""
        return self._masked[0]

    @property
    def reader(self) -> PreTrainedModel:
        """The encoder, with its head where it has one."""
        return self.masked if self.has_head else self.masked.base_model

    @property
    def has_head(self) -> bool:
        """Whether the encoder's folder holds a masked-LM head."""
        return not self._masked[1]

    @cached_property
    def _masked(self) -> tuple[PreTrainedModel, bool]:
        model, new = knowledge.masked_lm(self.source)
        return model.to(training.device()).eval(), new

    def encoder(self, max_length: int) -> Encoder:
        """The tokenizer, cutting at `max_length` or at what the model holds."""
        length = min(max_length, checkpoint.positions(self.masked.config))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save_tokenizer(self.source, Path(folder))
            return Encoder(Path(folder, "tokenizer.json"), length)

    def card(self, model: PreTrainedModel) -> Model:
        """The model as the document states it."""
        return Model(
            name=self.name,
            family=self.family,
            parameters=checkpoint.unique_parameters(model),
            weights=checkpoint.digest(self.source),
        )


def subjects(names: Sequence[str], inner: Sequence[str]) -> list[Subject]:
    """The models of these folders, run folders or hub ids; `inner` are the folders of a run, the first one counts."""
    if not names:
        raise UsageError("name a model and a sheet", where="attar score", fix="attar score MODEL SHEET.yaml")
    parts = [Path(name).parts for name in names]
    twice = next((name for place, name in enumerate(names) if parts[place] in parts[:place]), None)
    if twice:
        raise UsageError("the model stands twice", where=twice)
    places = [_place(name, inner) for name in names]
    depths = range(2, max(len(one) for one in parts) + 2)
    shown = next(
        found for depth in depths if len(set(found := ["/".join(one[-depth:]) for one in parts])) == len(parts)
    )
    return [Subject(name, place) for name, place in zip(shown, places, strict=True)]


def _place(name: str, inner: Sequence[str]) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        found = next((folder / one for one in inner if (folder / one / "config.json").is_file()), None)
        if found is None and (folder / "stages").is_dir():
            what = f"the run has no {' and no '.join(f'{one}/' for one in inner)}"
            raise AttarError(what, where=name, fix="finish its `teach` first")
        name = str(found or folder)
    try:
        return checkpoint.locate(name)
    except AttarError as error:
        fix = "name a model's folder, a run's, a hub id or `minilm`" if "teacher.model" in error.fix else error.fix
        raise AttarError(error.what, where=error.where, fix=fix) from None

"""The stage `augment`: more training rows for the student, the words of the first ones changed (arXiv 1909.10351, 3.2).

- Candidates for a word of one piece are what a masked language model guesses in its place (`guesses`), for a word of
  several its neighbours in a space of vectors (`tasks.neighbours`). They are found once for a text, as in the authors'
  script, and all copies draw from them; the paper's Algorithm 1 guesses anew after each replacement.
- The script leaves English stop words as they are; the paper does not, and `keep` can. The word itself may be among
  those that are guessed, as in both; it is not its own neighbour.
- A model without a masked-LM head, such as all-MiniLM, gives neighbours among its embeddings for every word. A head
  that is quickly fitted over a frozen sentence encoder guesses the most frequent pieces in every place: what is hidden
  its encoder was never asked.
- Neighbours depend on the word alone and are found once for each. Guesses cost a pass of the model for each word of
  each text; `mask_rate` hides several words in one pass.
- Rows are worked off in shards, so that a killed run goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModel, PreTrainedModel

from .. import recipe, training
from ..errors import AttarError
from ..files import file_digest, write_text
from ..tasks import augmentation, neighbours
from ..tasks.augmentation import Choice, Row
from ..tasks.task import Indices
from ..tasks.triples import Floats
from ..tasks.words import Reading, Vocabulary, Word
from ..teachers import checkpoint, knowledge
from .guesses import Guesser, Guesses

SHARD = 512  # training rows; guessed, a minute's work


def check(plan: recipe.Augment) -> None:
    """Raise `AttarError` where the recipe names a model or a file that is not there."""
    if plan.model is not None:
        source(plan, Path())
    if plan.vectors and not recipe.expand(plan.vectors).is_file():
        raise AttarError("no such file", where=f"distil.augment.vectors: {plan.vectors}")


def source(plan: recipe.Augment, teacher: Path) -> Path:
    """The folder of the model that is asked: the named one, or what the teacher starts from."""
    if plan.model is None:
        return teacher
    try:
        return checkpoint.locate(plan.model)
    except AttarError as error:
        fix = "set it to a folder or a hub id, or leave it out for the teacher's own"
        raise AttarError(error.what, where=f"distil.augment.model: {plan.model}", fix=fix) from None


def inputs(plan: recipe.Augment, teacher: Path) -> dict[str, Any]:
    """What the stage depends on beside the rows: its part of the recipe, the model's weights, and the vectors."""
    return {
        "augment": plan.model_dump(mode="json", exclude={"model", "vectors"}),
        "named": plan.model is not None,  # and so must have a head
        "weights": checkpoint.digest(source(plan, teacher)),
        "vectors": plan.vectors and file_digest(recipe.expand(plan.vectors)),
    }


def augment(
    spec: recipe.Recipe, teacher: Path, rows: Sequence[Row], folder: Path, progress: training.Progress
) -> dict[str, Any]:
    """Fill `folder` with the changed copies of the training rows; gives how many there are and how they were made.

    Killed and called again with the same folder, it goes on where it was.
    """
    plan, work = spec.distil.augment, folder / "checkpoints"
    assert plan is not None
    asked = source(plan, teacher)
    checkpoint.save_tokenizer(asked, work)
    model, guesses = _model(asked, plan)
    length = min(spec.task.max_length, checkpoint.positions(model.config))
    vocabulary = Vocabulary(work / "tokenizer.json", length, plan.keep)
    embeddings = model.get_input_embeddings().weight.detach().cpu().numpy()
    if vocabulary.tokenizer.get_vocab_size() > len(embeddings):
        what = f"the tokenizer has {vocabulary.tokenizer.get_vocab_size()} pieces and the model {len(embeddings)}"
        raise AttarError(what, where=str(asked), fix="give the model its own tokenizer")
    guess = Guesser(model.to(training.device()).eval(), vocabulary, plan) if guesses else None
    near = _neighbours(rows, vocabulary, embeddings, plan, whole=guess is None)
    starts = range(0, len(rows), SHARD)
    for start in starts:
        path = _shard(work, start)
        if not path.is_file():
            write_text(path, "".join(_lines(spec, rows, start, vocabulary, guess, near)))
        progress("augment", min(1.0, (start + SHARD) / len(rows)), f"{len(rows)} rows")
    count = _join([_shard(work, start) for start in starts], folder / augmentation.NAME)
    how = "guessed by a masked language model" if guess else "neighbours of those there: no masked-LM head"
    made = f"{count} changed copies of {len(rows)} training rows"
    return {
        "rows": len(rows),
        "augmented": count,
        "guessed": guess is not None,
        "weights": checkpoint.digest(asked),
        "remarks": [f"the student learnt from {made} too; new words are {how}"],
    }


def _model(source: Path, plan: recipe.Augment) -> tuple[PreTrainedModel, bool]:
    """The model, and whether it guesses hidden words; one that the recipe names must."""
    if checkpoint.family(source) in checkpoint.DECODERS:
        model, new = checkpoint.read(AutoModel, source, families=checkpoint.FAMILIES)[0], True
    else:
        model, new = knowledge.masked_lm(source)
    if new and plan.model is not None:
        raise AttarError(
            "the model has no masked-LM head",
            where=f"distil.augment.model: {plan.model}",
            fix="name one that has, or leave it out for the neighbours of each word",
        )
    return model, not new


def _shard(work: Path, start: int) -> Path:
    return work / f"rows-{start:09}.jsonl"


def _join(shards: Sequence[Path], path: Path) -> int:
    """Put the shards into one file; gives its lines."""
    count = 0
    with path.open("wb") as file:
        for shard in shards:
            with shard.open("rb") as part:
                count += sum(1 for _ in part)
                part.seek(0)
                shutil.copyfileobj(part, file)
    return count


def _lines(
    spec: recipe.Recipe,
    rows: Sequence[Row],
    start: int,
    vocabulary: Vocabulary,
    guess: Callable[[Sequence[Reading]], Guesses] | None,
    near: dict[str, list[str]],
) -> Iterator[str]:
    """The copies of one shard's rows; a text that stands in several of its rows is asked once."""
    assert spec.distil.augment is not None
    own = rows[start : start + SHARD]
    texts = list(dict.fromkeys(text for row in own for text in augmentation.texts(row)))
    readings = vocabulary.read(texts)
    guessed = guess(readings) if guess else [{} for _ in texts]
    choices = {
        text: [
            Choice(word.start, word.end, _candidates(n, word, found, vocabulary, near)) for n, word in enumerate(words)
        ]
        for text, (_, words), found in zip(texts, readings, guessed, strict=True)
    }
    for number, row in enumerate(own, start):
        known = [choices[text] for text in augmentation.texts(row)]
        for copy in augmentation.copies(row, known, spec.distil.augment, (spec.seed, number)):
            yield augmentation.line(copy, number, spec.task)


def _candidates(
    number: int, word: Word, guessed: dict[int, Indices], vocabulary: Vocabulary, near: dict[str, list[str]]
) -> list[str]:
    return [vocabulary.names[n] for n in guessed[number]] if number in guessed else near.get(word.text, [])


def _neighbours(
    rows: Sequence[Row], vocabulary: Vocabulary, embeddings: Floats, plan: recipe.Augment, *, whole: bool
) -> dict[str, list[str]]:
    """The neighbours of every word that needs them: of several pieces, and with `whole` of one too."""
    found: dict[str, Word] = {}
    for start in range(0, len(rows), SHARD):
        texts = [text for row in rows[start : start + SHARD] for text in augmentation.texts(row)]
        words = (word for reading in vocabulary.read(texts) for word in reading.words)
        found |= {word.text: word for word in words if word.text not in found and (whole or len(word.pieces) > 1)}
    if plan.vectors:
        return neighbours.in_file(list(found.values()), recipe.expand(plan.vectors), plan.candidates)
    return neighbours.among_pieces(list(found.values()), vocabulary, embeddings, plan.candidates)

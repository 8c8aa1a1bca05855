"""The score sheet: one YAML file that lists what models are asked, without training them.

- Typed as a recipe is: unknown keys are refused, every default is visible, `$NAME` in a path reads the environment.
- Each score is a part with its `kind`; a new kind is a type here, in `Entry`, and its line in `run.MEASURES`.
- `limit` scores a seeded choice of the rows, so that a first look is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .. import recipe, recipe_file
from ..errors import UsageError, nearest
from ..files import explain_os_errors
from ..recipe import Columns, Part, Positive, Recipe, Some, Split
from ..tasks.decoding import Decoding
from ..tasks.prompts import Prompt

Norm = Literal["none", "pieces", "bytes", "characters"]
Paths = Annotated[list[str], Field(min_length=1)]
READY = Path(recipe.__file__).parents[1] / "recipes" / "scores"
CANDIDATES = Field(description="length that a candidate's log-likelihood is divided by")


class Score(Part):
    """What all scores have."""

    name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][\w.-]*$", description="what tables call it; its kind where not given"
    )
    limit: Positive | None = Field(None, description="score only so many rows (a seeded choice)")


class Perplexity(Score):
    """Perplexity on a long text, against a unigram model and against random weights of the same shape."""

    kind: Literal["perplexity"]
    texts: Paths = Field(description="text files, joined; `limit` counts lines of a stretch that the seed chooses")
    train: list[str] = Field([], description="text that the unigram model is fitted on; none where not given")
    train_limit: Positive | None = Field(None, description="read only so many lines of it, the first ones")
    random: bool = Field(True, description="score random weights of the same shape too")
    window: Positive | None = Field(None, description="pieces of input; all that the model holds where not given")
    stride: Positive | None = Field(None, description="pieces that the window moves on; half of it where not given")


class LastWord(Score):
    """The last word of a passage, each of its pieces the likeliest (LAMBADA, arXiv 1606.06031)."""

    kind: Literal["last_word"]
    file: Split = Field(description='JSONL rows `{"text": …}`')


class Endings(Score):
    """The likeliest of several endings (HellaSwag, arXiv 1905.07830)."""

    kind: Literal["endings"]
    file: Split = Field(description="a multiple-choice file; `format: hellaswag` and the others of a recipe")
    norm: Annotated[Norm, CANDIDATES] = "pieces"
    text: Columns = Field("text", description="column of the context (`format: columns`)")
    start: str | None = Field(None, description="column of the words that open every ending (columns)")
    candidates: list[str] = Field([], description="their columns, or the one that holds a JSON list (columns)")
    label: Columns = "label"


class Prompted(Score):
    """A classification asked by prompt, with k solved examples before the query (GPT-3, arXiv 2005.14165)."""

    kind: Literal["prompted"]
    file: Split = Field(description="the queries")
    shots: Split | None = Field(None, description="rows that examples are drawn from; the queries' where not given")
    text: Columns = "text"
    text_pair: Columns | None = None
    label: Columns = "label"
    words: dict[str, str] = Field(description="each label's word, which the model is to say")
    pattern: str = Field("{text}", description="an example without its answer; may use `{text}` and `{text_pair}`")
    description: str = Field("", description="stands before all examples")
    separator: str = "\n\n"
    k: Some[Annotated[int, Field(ge=0)]] = Field([0, 1, 4], description="numbers of examples")
    seeds: Some[Annotated[int, Field(ge=0)]] = Field([0, 1, 2], description="of the draws; k = 0 has one")
    balanced: bool = Field(True, description="draw as many examples of each label, to within one")
    norm: Annotated[Norm, CANDIDATES] = "pieces"

    @model_validator(mode="after")
    def _prompt(self) -> Prompted:
        try:
            self.prompt()
        except UsageError as error:
            raise ValueError(f"{error.what}{'; ' if error.fix else ''}{error.fix}") from None
        return self

    def prompt(self) -> Prompt:
        """How an example is written."""
        return Prompt(self.words, self.pattern, self.description, self.separator)


class Facts(Score):
    """Facts asked as sentences with a mask (LAMA, arXiv 1909.01066); for encoders with a masked-LM head, or `head`."""

    kind: Literal["facts"]
    facts: str = Field(description="JSONL with `predicate_id`, `sub_label`, `obj_label`")
    relations: str = Field(description="JSONL with `relation` and `template`")
    candidates: Literal["vocabulary", "shared"] = Field(
        "vocabulary", description="pieces that are ranked: all, or the words that every scored model has"
    )
    max_length: int = Field(128, ge=8, le=512, description="pieces a sentence is cut to")
    head: recipe.MaskedText | None = Field(
        None,
        description="text from which *each* model gets a new masked-LM head over its frozen encoder, as `knowledge` of "
        "a recipe has it: so a student without one can be asked what its teacher is",
    )


class Triples(Part):
    """One split of a knowledge graph."""

    triples: str = Field(description="`head<TAB>relation<TAB>tail` rows")
    words: str | None = Field(None, description="the same rows in words")


class Links(Score):
    """Link prediction over entities that are encoded from their text (filtered; Bordes et al. 2013); for encoders."""

    kind: Literal["links"]
    train: Triples = Field(description="`Triples`, see below; they say which entities and relations there are")
    test: Triples = Field(description="`Triples` whose ends are asked, each in its turn")
    norm: Literal[1, 2] = Field(2, description="distance: L1 or L2")
    unknown: Literal["error", "skip"] = Field("error", description="test rows with what no training triple names")
    max_length: int = Field(32, ge=8, le=512, description="pieces an entity's text is cut to")


WAYS = [
    Decoding(),
    Decoding(method="beam"),
    Decoding(method="sample", top_k=40),
    Decoding(method="sample", top_p=0.95),
    Decoding(method="sample", temperature=0.7),
    Decoding(method="sample"),
]


class Openings(Score):
    """Texts whose openings are gone on with."""

    limit: Positive = Field(100, description="prompts (a seeded choice)")
    texts: Paths = Field(description="text files; a prompt opens a line that is long enough")
    prompt: Positive = Field(16, description="pieces of a prompt")
    length: Positive = Field(64, description="pieces that are made")


class Decodings(Openings):
    """What each way to choose the next pieces makes of a text: likelihood, diversity, repetition, time."""

    kind: Literal["decoding"]
    ways: Some[Decoding] = Field(WAYS, description="ways to choose: `method`, `beams`, `temperature`, `top_k`, `top_p`")


class Speculative(Openings):
    """Greedy text with a smaller model of the same vocabulary as a draft: every smaller one scored beside it."""

    kind: Literal["speculative"]
    limit: Positive = Field(50, description="prompts (a seeded choice)")
    lookahead: Some[Positive] = Field([2, 4, 8], description="pieces that the draft proposes at once")


Entry = Annotated[
    Perplexity | LastWord | Endings | Prompted | Facts | Links | Decodings | Speculative, Field(discriminator="kind")
]


class Sheet(Part):
    """A score sheet."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    scores: Annotated[list[Entry], Field(min_length=1)]

    @model_validator(mode="after")
    def _names(self) -> Sheet:
        names = [entry.name or entry.kind for entry in self.scores]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice:
            raise ValueError(f"two scores are called {twice}; give each a `name`")
        return self


def load(path: Path, settings: list[str]) -> tuple[Sheet | Recipe, str]:
    """What is asked, and where it stands: a score sheet, or a recipe. Both may be named as the ready ones are."""
    place = _find(path)
    values, text = recipe_file.read(place, "score sheet", known=nearest(path.stem, ready()))
    if "task" in values and "scores" not in values:
        return recipe_file.parse(values, where=str(place), text=text, settings=settings), str(place)
    return recipe_file.check(Sheet, values, where=str(place), text=text, settings=settings), str(place)


def ready() -> list[str]:
    """The names of the ready sheets."""
    return sorted(path.stem for path in READY.glob("*.yaml"))


def _find(path: Path) -> Path:
    with explain_os_errors(path, reading=True):
        place = recipe_file.find(path, "recipes/scores")
        return recipe_file.find(path) if place == path else place


def title(entry: Any) -> str:
    """What tables and records call an entry of a sheet."""
    return str(entry.name or entry.kind)

"""What a language model can do without training: zero-, one- and k-shot scores (GPT-2; GPT-3, arXiv 2005.14165).

- LAMBADA: the last word is right where each of its pieces is the likeliest (a greedy guess); its perplexity is over
  words, as GPT-2 gives it.
- A choice is the candidate of the highest likelihood, by default per piece (arXiv 2005.14165, section 2.4). Beside each
  accuracy stand chance, and for labels the share of the commonest one: a small model may well lie below it.
- A prompt that the model cannot hold loses whole examples, the first ones first, so that what is left is well formed;
  how many stayed is part of the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import AttarError, UsageError
from ..tasks.prompts import Candidates, Completion, Prompt, Shots
from ..tasks.table import Example
from . import checkpoint
from .causal import Causal, Moved, Norm, log_likelihoods


class LastWord(NamedTuple):
    """Scores on LAMBADA."""

    accuracy: float
    perplexity: float  # exp of the mean negative log-probability of the word
    items: int
    truncated: int  # passages cut from the left


class ChoiceScore(NamedTuple):
    """Scores on items with candidates."""

    accuracy: float
    chance: float  # mean of 1 / candidates
    majority: float  # share of the commonest right number: the accuracy of always choosing it
    items: int
    truncated: int  # items with a context cut from the left


class ShotScore(NamedTuple):
    """One model's accuracy with k examples."""

    model: str
    parameters: int
    k: int
    accuracies: tuple[float, ...]  # one per seed; with k = 0 seeds change nothing and there is one
    shown: float  # examples that fitted, mean over queries and seeds
    truncated: int  # queries cut from the left, over all seeds
    chance: float
    majority: float
    items: int

    @property
    def mean(self) -> float:
        """Mean accuracy over seeds."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0


def last_words(
    lm: Causal, items: Sequence[Completion], batch_size: int = 16, moved: Moved = lambda share: None
) -> LastWord:
    """LAMBADA's accuracy and perplexity (arXiv 1606.06031; Radford 2019, section 3.3)."""
    _some(items)
    scores = log_likelihoods(lm, [(item.context, item.continuation) for item in items], batch_size, moved)
    return LastWord(
        accuracy=float(np.mean([score.greedy for score in scores])),
        perplexity=float(np.exp(-np.mean([score.total for score in scores]))),
        items=len(items),
        truncated=sum(score.truncated for score in scores),
    )


def choose(
    lm: Causal,
    items: Sequence[Candidates],
    norm: Norm = "pieces",
    batch_size: int = 16,
    moved: Moved = lambda share: None,
) -> tuple[list[int], ChoiceScore]:
    """The number of the likeliest candidate of each item (the first of equals), and the score of these choices."""
    _some(items)
    pairs = [(item.context, candidate) for item in items for candidate in item.candidates]
    scores = log_likelihoods(lm, pairs, batch_size, moved)
    choices, truncated, place = [], 0, 0
    for item in items:
        own = scores[place : place + len(item.candidates)]
        place += len(own)
        choices.append(int(np.argmax([score.by(norm) for score in own])))
        truncated += any(score.truncated for score in own)
    right = np.mean([choice == item.gold for choice, item in zip(choices, items, strict=True)])
    (_, commonest), *_ = Counter(item.gold for item in items).most_common(1)
    chance = np.mean([1 / len(item.candidates) for item in items])
    return choices, ChoiceScore(float(right), float(chance), commonest / len(items), len(items), truncated)


@dataclass(frozen=True)
class KShot:
    """A k-shot evaluation: each query of `queries` after k examples from `shots`, for every k and seed."""

    prompt: Prompt
    queries: Sequence[Example]
    shots: Shots
    counts: Sequence[int] = (0, 1, 2, 4, 8)
    seeds: Sequence[int] = (0, 1, 2)
    norm: Norm = "pieces"
    batch_size: int = 16

    def __post_init__(self) -> None:
        if not self.counts or not self.seeds or min(self.counts) < 0:
            raise UsageError("k-shot evaluation needs a seed and a k of 0 or more", where="shots")

    def run(self, models: Mapping[str, Causal], moved: Moved = lambda share: None) -> list[ShotScore]:
        """The scores of every model and k, smallest model first."""
        _some(self.queries)
        sizes = {name: checkpoint.unique_parameters(lm.model) for name, lm in models.items()}
        names = sorted(models, key=lambda name: (sizes[name], name))
        studies = [(name, k) for name in names for k in self.counts]
        parts = [_part(moved, number, len(studies)) for number in range(len(studies))]
        found = zip(studies, parts, strict=True)
        return [self._score(name, models[name], sizes[name], k, part) for (name, k), part in found]

    def _score(self, name: str, lm: Causal, parameters: int, k: int, moved: Moved) -> ShotScore:
        accuracies, shown, truncated = [], 0, 0
        seeds = self.seeds if k else (0,)
        for number, seed in enumerate(seeds):
            written = [self.write(lm, query, k, seed) for query in self.queries]
            items = [item for item, _ in written]
            _, score = choose(lm, items, self.norm, self.batch_size, _part(moved, number, len(seeds)))
            accuracies.append(score.accuracy)
            shown += sum(count for _, count in written)
            truncated += score.truncated
        mean = shown / (len(self.queries) * len(accuracies))
        return ShotScore(
            name, parameters, k, tuple(accuracies), mean, truncated, score.chance, score.majority, score.items
        )

    def write(self, lm: Causal, query: Example, k: int, seed: int) -> tuple[Candidates, int]:
        """The query's prompt with as many of its k examples as the model holds, and their number."""
        examples = self.shots.draw(k, seed, query)
        longest = max(len(lm.pieces(answer)) for answer in self.prompt.answers())
        while True:
            item = self.prompt.write(query, examples)
            if not examples or len(lm.pieces(item.context)) + longest - 1 <= lm.positions:
                return item, len(examples)
            examples = examples[1:]


def table(scores: Sequence[ShotScore]) -> str:
    """Markdown: a row per model, a column per k, mean ± spread over seeds in points; below it chance and what was cut.

    A star marks a cell whose prompts did not all hold their k examples.
    """
    _some(scores)
    counts = sorted({score.k for score in scores})
    cells = {(score.model, score.k): score for score in scores}
    lines = [
        "| model | parameters | " + " | ".join(f"k = {k}" for k in counts) + " |",
        "|---|---:|" + "---:|" * len(counts),
    ]
    for name, parameters in dict.fromkeys((score.model, score.parameters) for score in scores):
        row = [_cell(cells[name, k]) if (name, k) in cells else "" for k in counts]
        lines.append(f"| {name} | {parameters:,} | " + " | ".join(row) + " |")
    first = scores[0]
    note = f"Accuracy in % over {first.items} queries; chance {100 * first.chance:.1f}, "
    lines += ["", note + f"always the commonest label {100 * first.majority:.1f}."]
    short = [score for score in scores if score.shown < score.k]
    if short:
        lines += ["", "* examples shown where not all fitted: " + "; ".join(_short(score) for score in short) + "."]
    return "\n".join(lines) + "\n"


def _part(moved: Moved, number: int, count: int) -> Moved:
    """The progress of one of `count` equal parts."""
    return lambda share: moved((number + share) / count)


def _cell(score: ShotScore) -> str:
    spread = f" ± {100 * score.spread:.1f}" if len(score.accuracies) > 1 else ""
    return f"{100 * score.mean:.1f}{spread}" + ("*" if score.shown < score.k else "")


def _short(score: ShotScore) -> str:
    return f"{score.model}, k = {score.k}: {score.shown:.1f}"


def _some(items: Sequence[object]) -> None:
    if not items:
        raise AttarError("there is nothing to score: no items")

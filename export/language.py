"""The stages `export` and `verify` of a language model: its artefacts continue texts, and their score is a perplexity.

An artefact is proved by the golden texts (`golden_text`), by its perplexity on the whole dev text, which ONNX Runtime
must give within the recipe's tolerance (percent of PyTorch's, on the same windows), and by its size, in which the table
that is both embedding and output matrix counts once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..benchmarks.machine import cores
from ..benchmarks.record import Check, Model
from ..errors import AttarError
from ..recipe import Recipe
from ..tasks.data import Data
from ..tasks.language import whole, windows
from ..teachers import causal, continuation
from ..teachers.causal import Causal
from . import artefacts, cached, golden, golden_text, proof
from .calibration import Rows
from .continuation import Cached
from .golden_text import GoldenText
from .manifest import LanguageCard, TaskCard

PROMPTS, WORDS = 16, 8  # golden texts, and the words of each
Moved = Callable[[str, float, str], None]


def task_card(folder: Path) -> TaskCard:
    """The card of the language model in a saved folder."""
    lm = causal.load(str(folder))
    language = cached.describe(lm.model, lm.end_id)
    return TaskCard(kind="language_modelling", head="lm", metric="perplexity", language=language)


def make(spec: Recipe, data: Data, teacher: Path, student: Path, folder: Path, progress: Moved) -> dict[str, Any]:
    """Fill `folder` with the artefacts and the student's golden texts; gives one card for each file."""
    results = artefacts.make(spec.export, "lm", teacher, student, folder, progress, Rows(list, 0))
    golden.write(folder / golden.NAME, examples(causal.load(str(student)), data))
    return results


def examples(lm: Causal, data: Data) -> list[GoldenText]:
    """Golden texts of a model: the first words of dev lines, evenly spread."""
    lines = [line.split() for text in data.dev for line in text.text.splitlines()]
    long = [words for words in lines if len(words) > WORDS] or [words for words in lines if words]
    room = max(1, lm.positions - golden_text.NEW)
    found = []
    for number in sorted({int(place) for place in np.linspace(0, len(long) - 1, min(len(long), PROMPTS))}):
        text = " ".join(long[number][:WORDS])
        ids = lm.pieces(text)
        new = continuation.continued(lm, ids, max_new=golden_text.NEW)[0] if len(ids) <= room else []
        if new:
            ((total, _),) = causal.score(lm, [(ids, new)])
            said = lm.tokenizer.decode(new, skip_special_tokens=False)
            found.append(GoldenText(text=text, input_ids=ids, pieces=new, continuation=said, nats=-total))
    if not found:
        raise AttarError("the model goes on with no line of the dev text", where="task.dev")
    return found


def prove(
    spec: Recipe,
    data: Data,
    models: dict[str, Path],
    scores: dict[str, Any],
    cards: list[dict[str, Any]],
    parameters: dict[str, int],
    folder: Path,
    progress: Moved,
) -> dict[str, Any]:
    """Prove every artefact; gives the rows of the main table and the checks.

    `models` are the PyTorch models' folders by "teacher" and "student", `scores` what they score, by split and metric.
    """
    rows, checks = [], []
    lms = {role: causal.load(str(model)) for role, model in models.items()}
    texts = {role: examples(lm, data) for role, lm in lms.items()}
    for number, card in enumerate(cards):
        progress("verify", number / len(cards), card["file"])
        row = proof.row(card, parameters[card["of"]])
        if card["failure"]:
            found = [Check(name=f"{row.name}: made", passed=False, detail=card["failure"])]
        else:
            path, tolerance = folder / card["file"], spec.export.tolerance
            found = _prove(row, path, tolerance, data, lms[row.of], texts[row.of], scores[row.of])
        failed = [check.detail for check in found if not check.passed]
        if failed:
            row.status, row.reason = "rejected", "; ".join(failed)
        rows.append(row.model_dump())
        checks += [check.model_dump() for check in found]
    return {"models": rows, "checks": checks}


def _prove(
    row: Model, path: Path, tolerance: float, data: Data, lm: Causal, texts: list[GoldenText], scores: Any
) -> list[Check]:
    """The checks of one artefact; each fills its part of the row. The long one is made only where the others passed."""
    card = cached.describe(lm.model, lm.end_id)
    row.golden_tolerance = golden_text.TOLERANCES[row.precision]
    try:
        found = golden_text.judge(path, card, row.precision, texts)
        row.golden_error, row.golden_agreement = found[:2]
        checks = [Check(name=f"{row.name}: golden texts", passed=True, detail=found[2])]
    except AttarError as error:
        checks = [Check(name=f"{row.name}: golden texts", passed=False, detail=error.line())]
    checks.append(proof.sized(row, path))
    if all(check.passed for check in checks):
        for split, read in data.splits().items():
            ids = lm.start() + lm.pieces(text := whole([one.text for one in read]))
            row.scores[split] = perplexity(path, card, ids, len(text.split()))
            row.rows[split] = len(ids) - 1
            ours, theirs = row.scores[split]["perplexity"], scores[split]["perplexity"]
            off = 100 * (ours / theirs - 1)
            detail = f"perplexity {ours:.2f} on {split}, {off:+.2f} % from PyTorch; {tolerance:g} % allowed"
            checks.append(Check(name=f"{row.name}: {split} perplexity", passed=abs(off) <= tolerance, detail=detail))
    return checks


def perplexity(path: Path, card: LanguageCard, ids: list[int], words: int) -> dict[str, float]:
    """A text's perplexity, of a piece and of a word, by the windows of `teachers.perplexity`."""
    model = Cached(path, card, cores())
    nats = sum(model.nats(*row) for row in windows(ids, card.positions, max(1, card.positions // 2)))
    return {"perplexity": math.exp(nats / (len(ids) - 1)), "word_perplexity": math.exp(nats / words)}

"""The stage `verify`: no artefact is trusted because it converted.

Each is loaded in its own runtime, in a process of its own, and must
1. give the PyTorch model's logits on the golden examples, within the tolerance of its precision;
2. score what the PyTorch model scores on the whole dev set (the rows that fit, for a fixed length), within the recipe's
   tolerance in points;
3. hold each weight once: its matrices against the unique parameters.

One that fails is reported with the reason, and stays out of the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..benchmarks.machine import cores
from ..benchmarks.record import Check, Model
from ..errors import AttarError
from ..recipe import Recipe
from ..tasks.encoding import Encoder
from ..tasks.task import Answers, Encoded, Task
from . import answers, golden, parity, sizes
from .answers import Form
from .bundle import installed
from .golden import Golden
from .processors import EXACT, kind_here

Outputs = dict[str, Answers]  # split -> the PyTorch model's logits
# Of a weight, where the maker of a file does not say it; of one that was not made, what its narrowest would have.
BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int8-static": 8, "int4": 4, "mixed": 4}


def prove(
    spec: Recipe,
    task: Task,
    form: Form,
    dev: Sequence[Any],
    splits: dict[str, dict[str, Encoded]],
    outputs: dict[str, Outputs],
    cards: list[dict[str, Any]],
    parameters: dict[str, int],
    folder: Path,
    encoders: dict[str, Encoder],
    progress: Callable[[str, float, str], None],
) -> dict[str, Any]:
    """Prove every artefact; gives the rows of the main table and the checks.

    `dev` are the rows of dev as they were read; `splits`, `outputs`, `parameters` and `encoders` are those of the
    PyTorch models, by "teacher" and "student".
    """
    models, checks = [], []
    examples = {
        role: golden.examples(form, dev, splits[role]["dev"], theirs["dev"]) for role, theirs in outputs.items()
    }
    for number, card in enumerate(cards):
        progress("verify", number / len(cards), f"{card['file']} in {card['runtime']}")
        model = row(card, parameters[card["of"]])
        if card["failure"]:
            model.status, model.reason = "rejected", card["failure"]
            models.append(model.model_dump())
            checks.append(Check(name=f"{model.name}: made", passed=False, detail=card["failure"]).model_dump())
            continue
        if installed(model.runtime) is None:
            detail = f"skipped: {model.runtime} is not installed"
            checks.append(Check(name=f"{model.name}: tried", passed=True, skipped=True, detail=detail).model_dump())
            continue
        proof = _Proof(
            model, folder / card["file"], task, splits[card["of"]], outputs[card["of"]], encoders[card["of"]]
        )
        found = [proof.golden(form, examples[card["of"]]), sized(model, proof.path)]
        if all(check.passed for check in found):
            found += [proof.scored(split, spec.export.tolerance) for split in splits[card["of"]]]
        failed = [check for check in found if not check.passed]
        if failed:
            model.status, model.reason = "rejected", "; ".join(check.detail for check in failed)
        models.append(model.model_dump())
        checks += [check.model_dump() for check in found]
    return {"models": models, "checks": checks}


def row(card: dict[str, Any], parameters: int) -> Model:
    """The artefact's row; a file that runs in two runtimes has a row for each."""
    bits = card.get("bits") or BITS[card["precision"]]
    return Model(
        name=f"{card['file']} in {card['runtime']}" if card["again"] else card["file"],
        role="artefact",
        of=card["of"],
        runtime=card["runtime"],
        precision=card["precision"],
        length=card["length"],
        file=f"artefacts/{card['file']}",
        bytes=card["bytes"],
        parameters=parameters,
        parameter_bytes=int(parameters * bits / 8),
        bits=bits,
        processor=card.get("processor"),
        matrices=card.get("matrices", []),
    )


class _Proof:
    """The checks of one artefact; each fills its part of the row."""

    def __init__(
        self, model: Model, path: Path, task: Task, splits: dict[str, Encoded], outputs: Outputs, encoder: Encoder
    ) -> None:
        self.model, self.path, self.task, self.splits = model, path, task, splits
        self.outputs, self.encoder = outputs, encoder
        self.name = model.name

    def golden(self, form: Form, examples: Sequence[Golden]) -> Check:
        """Logits on the golden examples, and whether the answers are the same."""
        fitting = [one for one in examples if one.fits(self.model.length)]
        if not fitting:
            return Check(name=f"{self.name}: golden logits", passed=False, detail="no golden text is short enough")
        posed = [form.pose(one.asked, self.encoder) for one in fitting]
        fed = [(one.features, one.answer) for example in fitting for one in example.sequences]
        tolerance = parity.tolerance(self.model.precision, self.outputs["dev"])
        found = parity.compare(
            self.path, self.model.runtime, fed, tolerance, self.encoder.pad_id, lambda all_: answers.said(posed, all_)
        )
        self.model.golden_tolerance = tolerance
        self.model.golden_error, self.model.golden_agreement = found.max_error, found.agreement
        detail = found.reason or f"largest error {found.max_error:.2g} of {tolerance:.2g} on {len(fitting)} examples"
        return Check(name=f"{self.name}: golden logits", passed=found.passed, detail=detail)

    def scored(self, split: str, tolerance: float) -> Check:
        """The primary metric on a whole split, against the PyTorch model on the same rows."""
        encoded = self.splits[split]
        encoded, sequences = encoded.fitting(self.model.length or max(encoded.lengths))
        rows = encoded.count
        name = f"{self.name}: {split} score"
        if not rows:
            return Check(name=name, passed=False, detail="no text is short enough")
        try:
            found = parity.score_outputs(
                self.path, self.model.runtime, encoded.features, self.encoder.pad_id, self.model.length, threads=cores()
            )
        except AttarError as error:
            return Check(name=name, passed=False, detail=error.line())
        scores = self.task.score(found, encoded)
        self.model.scores[split], self.model.rows[split] = scores, rows
        theirs = self.task.score([self.outputs[split][n] for n in sequences], encoded)[self.task.metric]
        points = 100 * (scores[self.task.metric] - theirs)
        detail = (
            f"{self.task.metric} {100 * scores[self.task.metric]:.2f} on {rows} rows, {points:+.2f} points from "
            f"PyTorch; {tolerance:g} allowed"
        )
        if self.model.processor == "dot-product":
            detail += f"; this processor is {kind_here() or 'of another kind'}, the file is for {', '.join(EXACT)}"
        return Check(name=name, passed=abs(points) <= tolerance + 1e-9, detail=detail)


def sized(model: Model, path: Path) -> Check:
    """Every weight once; `path` is the file."""
    assert model.parameters is not None
    assert model.bits is not None
    try:
        ok, detail = sizes.check(path, model.parameters, model.bits)
    except AttarError as error:
        ok, detail = False, error.line()
    return Check(name=f"{model.name}: size", passed=ok, detail=detail)

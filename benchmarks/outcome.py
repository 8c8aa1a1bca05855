"""A finished run in a terminal: what came out, where it is, what to try."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..export import bundle as bundles
from ..export import manifest
from . import front, study_tables
from .derived import digits, latency_at, setting_of
from .record import Latency, Model, Run, Trial
from .study_record import StudyRecord
from .terminal import table
from .verdict import headline

SHORT = 200  # characters of a context that a command line bears


def run(found: Run, folder: Path) -> Iterator[Table | str]:
    """The table of its models, the verdict, and the paths."""
    metric, setting = found.task["metric"], setting_of(found)
    length, threads = setting or (0, 0)
    rows = table("model", "MB", f"dev {metric}", "p50 ms", "faster", title=found.name)
    if setting:
        rows.caption = f"p50 at {length} pieces, {threads} thread{'s' if threads > 1 else ''}, batch 1"
    for model in found.models:
        score = model.scores.get("dev", {}).get(metric)
        latency = latency_at(model, setting)
        rows.add_row(
            _name(model, found.choice),
            digits(model.bytes / 1e6) if model.bytes else "–",
            figure(metric, score) if score is not None else "–",
            digits(latency.p50_ms) if latency else "–",
            _faster(latency),
        )
    rows.columns[0].no_wrap = True
    yield rows
    language = found.task["kind"] == "language_modelling"
    if not language:  # whose perplexity is no score that is lost or kept in points
        verdict = headline(found)
        yield escape(f"{verdict.sentence} {verdict.budget}")
    for model in found.models:
        if model.status == "rejected":
            yield f"[yellow]rejected[/] {escape(model.name)}: {escape(model.reason)}"
    if found.search:
        yield _tried(found)
    yield from (f"[yellow]{escape(line)}[/]" for line in found.advice)
    report = folder / ("run.json" if language else "report.html")
    yield f"report   {escape(str(report))}\nbundle   {escape(str(folder / 'bundle'))}"
    for note in found.notes:
        yield f"[dim]{escape(note)}[/]"
    yield escape(f"try      {_command(folder / 'bundle')}")


def _tried(found: Run) -> Table:
    """The front of a search, and why it ended."""
    assert found.search is not None
    rows = tried(found.search.trials, found.task["metric"], found.search.winner)
    rows.caption = f"{found.search.ended}; scores of a short distillation"
    return rows


def tried(trials: Sequence[Trial], metric: str, winner: int | None = None) -> Table:
    """The front of the trials, the smallest file first, as it stands while a search goes on too."""
    rows = table("trial", "student", ">MB", ">p50", f">dev {metric}", title="the front of the students tried")
    for trial in sorted(front.front(trials, metric), key=lambda one: front.costs(one, metric) or ()):
        bytes_, ms, lack = front.costs(trial, metric) or (0.0, 0.0, 0.0)
        mark = " ✓" if trial.number == winner else ""
        name = escape(front.described(trial))
        rows.add_row(f"{trial.number}{mark}", name, digits(bytes_ / 1e6), front.milliseconds(ms), f"{-100 * lack:.2f}")
    return rows


def stage(results: dict[str, dict[str, Any]], name: str, folder: Path) -> Iterator[Table | str]:
    """A stage: scores, or what became of each artefact; then the remarks of the run, the folder and the report.

    `results` are those of all stages so far, by name.
    """
    found = results[name]
    if "models" in found:
        rows = table("artefact", "MB", "largest error", "")
        for values in found["models"]:
            model = Model.model_validate(values)
            error = f"{model.golden_error:.2g}" if model.golden_error is not None else "–"
            reason = f"[yellow]rejected: {escape(model.reason)}[/]" if model.status == "rejected" else "ok"
            rows.add_row(escape(model.name), digits((model.bytes or 0) / 1e6), error, reason)
        yield rows
    for split, scores in found.get("scores", {}).items():
        yield f"{split}  " + ", ".join(f"{metric} {figure(metric, value)}" for metric, value in scores.items())
    for remark in (line for one in results.values() for line in one.get("remarks", [])):
        yield f"[dim]{escape(remark)}[/]"
    report, record = folder.parent / "report.html", folder.parent / "run.json"
    yield escape(f"{folder}\n{report if report.is_file() or not record.is_file() else record}")


def figure(metric: str, value: float) -> str:
    """A score × 100; a perplexity as it is."""
    return f"{value:.2f}" if metric.endswith("perplexity") else f"{100 * value:.2f}"


def study(found: StudyRecord, folder: Path) -> Iterator[Table | str]:
    """The table of a study, what failed, and where it is."""
    shown = study_tables.table(found)
    rows = table("", *(f">{' '.join(filter(None, column[1:]))}" for column in shown.columns[1:]), title=found.title)
    for row in shown.rows:
        rows.add_row(*(escape(cell.text + (f" ({cell.note})" if cell.note else "")) for cell in row.cells))
    yield rows
    yield escape(shown.caption)
    for one in found.results:
        if one.problem:
            yield f"[yellow]failed[/] {escape(f'{one.row}, {one.column}: {one.problem}')}"
    if found.left > 0:
        yield f"{found.left} of {found.cells} cells are left; without --row, --column and --seed all are run"
    yield escape(str(folder / "study.json"))


def knowledge(results: dict[str, Any]) -> Iterator[Table | str]:
    """What a teacher learnt of a graph: link prediction before, after and by TransE."""
    rows = table("links", "MRR", "Hits@1", "Hits@3", "Hits@10")
    rows.caption = f"filtered, {results['ranked']} of {results['rows']['dev']} held-out triples"
    for name, scores in results["links"].items():
        rows.add_row(name, *(f"{100 * scores[metric]:.2f}" for metric in ("mrr", "hits@1", "hits@3", "hits@10")))
    yield rows


def _name(model: Model, choice: str | None) -> str:
    """The file, or whose PyTorch model it is; the chosen one stands out."""
    name = escape(model.name if model.role == "artefact" else f"{model.name} (PyTorch)")
    if model.status == "rejected":
        return f"[yellow]{name}, rejected[/]"
    return f"[bold green]{name} ✓[/]" if model.name == choice else name


def _faster(latency: Latency | None) -> str:
    return f"{latency.ratio:.1f}×" if latency and latency.ratio else "–"


def _command(bundle: Path) -> str:
    """A command line, safe to paste, that answers a golden example of the bundle, a plain and short one if it can."""
    examples = bundles.golden_examples(bundle, manifest.load(bundle))
    rows = [example.asked for example in examples]
    plain = [row for row in rows if _plain(row.text, *filter(None, [row.text_pair]), *row.candidates)]
    row = min(plain or rows, key=lambda row: len(row.text_pair or "") > SHORT)
    options = [] if row.text_pair is None else ["--pair", row.text_pair]
    options += [word for candidate in row.candidates for word in ("--candidate", candidate)]
    if any(word.startswith("-") for word in (str(bundle), row.text, *options[1::2])):  # else it would be an option
        joined = [f"{name}={value}" for name, value in zip(options[::2], options[1::2], strict=True)]
        return shlex.join(["attar", "predict", *joined, "--", str(bundle), row.text])
    return shlex.join(["attar", "predict", str(bundle), row.text, *options])


def _plain(*texts: str) -> bool:
    """Nothing that a terminal or a shell could show or read as something else."""
    return all(re.fullmatch(r"[^\W_](?:[\w ,.;?!'-]*\S)?", text) is not None for text in texts)

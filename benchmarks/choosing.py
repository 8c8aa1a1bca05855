"""docs/choosing.md: which student, which start, which losses and which steps, as far as the studies' records tell.

- A section is a question, an answer in a sentence with its figures, and the table they come from.
- A question whose study is not kept has the command that would answer it in place of an answer.
- Speeds of ways to make a student smaller are those of one run in which all took turns, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from . import derived, searches, ways
from .cells import DASH, Cell, Row, Table
from .derived import chosen, digits, latency_at, setting_of, smaller, speed, split_of
from .readings import Answer, gain, own, parameters, retention, seen, with_sign
from .record import Bench, Run
from .rendering import environment, grid, tidy
from .study_record import StudyRecord, mean

GOALS = (98.0, 95.0)  # percent of the teacher's score


def page(runs: Sequence[Run], studies: Sequence[StudyRecord], timed: Mapping[str, Bench] | None = None) -> str:
    """The whole page; `runs` are those with artefacts, `timed` the times of a study's files by the study's name."""
    kept = {study.name: study for study in studies}
    questions = QUESTIONS | {"steps": partial(ways.steps, timed=(timed or {}).get("steps"))}
    words = {name: _told(name, kept, tell) for name, tell in questions.items()}
    made = sizes(runs, kept.get("small"))
    words["sizes"] = grid(made) if made.rows else ""
    words["searches"] = "\n".join(
        f"{searches.told(group)}\n\n{grid(searches.table(group))}" for group in searches.rivals(runs)
    )
    return tidy(environment().get_template("choosing.md.j2").render(**words))


def _told(name: str, kept: Mapping[str, StudyRecord], tell: Callable[[StudyRecord], Answer]) -> str:
    study = kept.get(name)
    if study is None or not any(one.score is not None for one in study.results):
        return f"Not measured yet: `attar study recipes/studies/{name}.yaml` would tell.\n"
    answer = tell(study)
    return " ".join(answer.sentences) + f"\n\n{grid(answer.table)}"


# ---- the answers


def shapes(study: StudyRecord) -> Answer:
    """How small a student can be."""
    kept = {row: retention(study, row) for row in study.rows}
    sizes = {row: parameters(study, row) for row in study.rows}
    known = {row: value for row, value in kept.items() if value is not None}
    sentences = []
    for goal in GOALS:
        fit = [row for row, value in known.items() if value >= goal]
        if fit:
            least = min(fit, key=lambda row: sizes[row])
            size = digits(sizes[least] / 1e6)
            sentences.append(
                f"The smallest that keeps {goal:.0f} % of its teacher's score on average is **{least}** "
                f"({size} million parameters, {known[least]:.1f} %)."
            )
        elif known:
            near = max(known, key=lambda row: known[row])
            sentences.append(f"None keeps {goal:.0f} % on average; {near} is nearest with {known[near]:.1f} %.")
    rows = []
    for name in study.rows:
        each = [mean([one.retention for one in study.at(name, column)]) for column in study.columns]
        rate = mean([one.rate for one in own(study, name)])
        cells = [Cell(name), Cell(digits(sizes[name] / 1e6) if sizes[name] else DASH)]
        cells += [Cell(DASH if value is None else f"{100 * value:.1f}") for value in each]
        value = kept[name]
        cells += [Cell(DASH if value is None else f"{value:.1f}"), Cell(digits(rate) if rate else DASH)]
        rows.append(Row(cells))
    columns = [("", "student", ""), ("", "parameters", "million"), *(("kept", name, "%") for name in study.columns)]
    columns += [("kept", "on average", "%"), ("", "training", "examples/s")]
    return Answer(sentences, Table("shapes", "", f"On average: over {seen(study)}.", columns, rows))


def compared(study: StudyRecord) -> Answer:
    """Every row that is compared with another: the points between them, the largest difference first."""
    pairs = [(row, other) for row, other in study.against.items() if row in study.rows]
    points = {row: mean([gain(study, row, column, other) for column in study.columns]) for row, other in pairs}
    known = {row: value for row, value in points.items() if value is not None}
    pairs.sort(key=lambda pair: -abs(known.get(pair[0], 0.0)))
    sentences = []
    if known:
        most, least = (pick(known, key=lambda row: abs(known[row])) for pick in (max, min))
        sentences.append(
            f"The most hangs on **{most}** ({with_sign(known[most])} points against {study.against[most]})"
        )
        sentences[-1] += f", the least on {least} ({with_sign(known[least])})." if least != most else "."
    rows = []
    for row, other in pairs:
        cells = [Cell(row), Cell(other)]
        cells += [Cell(with_sign(gain(study, row, column, other))) for column in study.columns]
        rows.append(Row([*cells, Cell(with_sign(points[row]))]))
    columns = [("", "with", ""), ("", "against", ""), *(("points", name, "") for name in study.columns)]
    return Answer(
        sentences, Table("compared", "", f"Over {seen(study)}.", [*columns, ("points", "on average", "")], rows)
    )


QUESTIONS: dict[str, Callable[[StudyRecord], Answer]] = {
    "students": shapes,
    "starts": compared,
    "tinybert": compared,
}


def sizes(runs: Sequence[Run], small: StudyRecord | None) -> Table:
    """What stands under a limit on the file: the chosen artefact of every run and of the study of small ones."""
    found = [line for run in runs if (line := _of_run(run))]
    if small:
        found += [line for row in small.rows for column in small.columns if (line := _of_cell(small, row, column))]
    columns = [("", "file", "MB"), ("", "run", ""), ("", "kept", "% of the teacher"), ("", "smaller", "")]
    columns += [("", "speed", "teacher = 1"), ("", "timed at", ""), ("", "seeds", "")]
    rows = [Row(cells) for _, cells in sorted(found, key=lambda pair: pair[0])]
    return Table("sizes", "", "The file is the chosen one, its speed on one thread.", columns, rows)


def _of_run(run: Run) -> tuple[float, list[Cell]] | None:
    """The chosen file's bytes and its line; None where there is none, or no score of it."""
    model, setting = chosen(run), setting_of(run)
    share = derived.kept(run, model, split_of(run))
    if model is None or not model.bytes or share is None:
        return None
    fast, less, at = speed(run, model, setting), smaller(run, model), latency_at(model, setting)
    cells = [Cell(digits(model.bytes / 1e6)), Cell(run.name), Cell(f"{share:.1f}")]
    cells += [Cell(f"{less:.1f}×" if less else DASH), Cell(f"{fast[0]:.1f}×" if fast else DASH)]
    return model.bytes, [*cells, Cell(f"{at.length} pieces" if at and at.length else DASH), Cell("1")]


def _of_cell(study: StudyRecord, row: str, column: str) -> tuple[float, list[Cell]] | None:
    """The same of a study's cell, the mean over its seeds."""
    made = [one for one in study.at(row, column) if one.model and one.retention]
    bytes_, first = (mean([float(one.models[n].bytes or 0) for one in made]) for n in (-1, 0))
    if not bytes_ or not first:
        return None
    kept, fast = mean([one.retention for one in made]) or 0.0, mean([one.speed for one in made])
    cells = [Cell(digits(bytes_ / 1e6)), Cell(f"{column}, {row}"), Cell(f"{100 * kept:.1f}")]
    cells += [Cell(f"{first / bytes_:.1f}×"), Cell(f"{fast:.1f}×" if fast else DASH), Cell(DASH), Cell(str(len(made)))]
    return bytes_, cells

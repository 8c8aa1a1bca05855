"""The report: true, complete, safe, readable, and the same each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attar.benchmarks import record, report
from attar.benchmarks.derived import digits, wilson
from attar.benchmarks.record import Cost, Run
from attar.benchmarks.svg import log_ticks, ticks
from attar.benchmarks.verdict import headline
from attar.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_run import sample

ROOT = Path(record.__file__).parents[1]
PARTS = ["bytes", "scores", "cost", "rows", "golden_error", "ratio"]
WHOLES = ["training", "shares", "layer_times", "checks", "limits", "notes", "choice", "machine"]
VOID = {"meta", "br", "wbr", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Collects tags, attributes, text and table shapes, and insists that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.marks: list[str] = []  # where the marks of plots are put
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


def hostile() -> Run:
    run = sample("<script>alert(1)</script>")
    run.models[4].name = run.choice = 'm"><script>alert(2)</script>|`x`.onnx'
    run.models[8].reason = "<img src=x onerror=alert(3)> & 'so'"
    run.notes = ["</style><script>alert(4)</script>"]
    run.layer_times = {"<script>alert(5)</script>": [{"part": "</text><script>alert(6)</script>", "ms": 1.0}]}
    run.shares = {"</svg><script>": run.shares["teacher"]}
    run.training[0].epochs[0].losses["<script>"] = 0.5
    run.provenance["<b>"] = {"</td><script>": "</table><script>alert(7)</script>"}
    run.recipe["note"] = "</pre><script>alert(8)</script>"
    run.command = "attar compress '<script>alert(9)</script>'"
    run.checks[0].detail = "<script>alert(10)</script>"
    return run


def resolve(value: Any, path: str) -> Any:
    """The value at a JSON path such as `models[3].scores.dev["a b"]`."""
    rest = path
    while rest:
        step = re.match(r'\.?(\w+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]', rest)
        assert step, path
        name, index, quoted = step.groups()
        key = name if name is not None else int(index) if index is not None else json.loads(f'"{quoted}"')
        value = value[key]
        rest = rest[step.end() :]
    return value


@pytest.mark.parametrize("runs", [[sample()], [sample(), sample("second")], [hostile()]], ids=["one", "two", "hostile"])
def test_html_is_balanced_with_unique_ids_and_reachable_links(runs: list[Run]) -> None:
    page = Page(report.html(runs))
    ids = Counter(page.values("id"))
    assert max(ids.values()) == 1
    for link in page.values("href"):
        assert link.startswith("#") and link[1:] in ids
    for names in page.values("aria-labelledby"):
        assert all(name in ids for name in names.split())
    assert [tag for tag, _ in page.tags].count("h1") == 1
    tables = [tag for tag, _ in page.tags].count("table")
    assert tables == [tag for tag, _ in page.tags].count("caption") > 0
    assert all(attrs.get("scope") in ("row", "col", "colgroup") for tag, attrs in page.tags if tag == "th")


@pytest.mark.parametrize("runs", [[sample()], [hostile()]], ids=["sample", "hostile"])
def test_the_page_loads_nothing_and_runs_nothing(runs: list[Run]) -> None:
    text = report.html(runs)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "use",
        "image",
        "b1",
    }
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name in ("src", "srcset")]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style and "http" not in style
    assert {"light dark"} == {a["content"] for _, a in page.tags if a.get("name") == "color-scheme"}


def test_hostile_words_are_shown_as_they_are() -> None:
    page = Page(report.html([hostile()]))
    for number in range(1, 11):
        assert f"alert({number})" in page.words
    assert '"><script>alert(2)</script>|`x`.onnx' in page.words


def test_markdown_has_no_markup_of_the_run_and_every_row_its_cells() -> None:
    text = report.markdown([hostile()])
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "<script" not in prose and "<img" not in prose
    tables = [list(block) for block in tables_of(text)]
    assert len(tables) >= 8
    for rows in tables:
        assert len({len(cells(row)) for row in rows}) == 1
        assert all(re.fullmatch(r" (---|---:) ", cell) for cell in cells(rows[1]))


def tables_of(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def cells(row: str) -> list[str]:
    return re.split(r"(?<!\\)\|", row)[1:-1]


def test_every_model_and_every_reason_is_there() -> None:
    run = sample()
    page, text = Page(report.html([run])), report.markdown([run])
    (rows,) = [rows for rows in tables_of(text) if "status" in rows[0] and "file" in rows[0]]
    assert len(rows) == 2 + len(run.models)
    for model in run.models:
        assert model.name in page.words and model.name in text
        assert model.reason in page.words and model.reason in text
    assert page.words.count("rejected") >= 1
    assert all(check.name in page.words and check.detail in page.words for check in run.checks)
    assert all(note in page.words for note in run.notes)
    assert run.command in page.words and "as found: Apache-2.0" in page.words and "1" * 64 in page.words


def test_each_traced_figure_is_the_value_at_its_path() -> None:
    run = sample()
    stored = json.loads(run.model_dump_json())
    lines = [line for title in Page(report.html([run])).values("title") for line in title.split("\n")]
    exact = [line.split(" = ", 1) for line in lines if " = " in line]
    assert len(exact) > 250
    for path, value in exact:
        assert resolve(stored, path) == json.loads(value), path
    for path in (line for line in lines if re.fullmatch(r"[\w.\[\]]+", line)):
        resolve(stored, path)
    formulas = " ".join(line for line in lines if " / " in line or " × (" in line)
    for path in re.findall(r"models\[\d+\][\w.\[\]]*", formulas):
        resolve(stored, path)


def test_headline_numbers_are_those_of_the_record() -> None:
    run = sample()
    raw = json.loads(run.model_dump_json())
    teacher, chosen = raw["models"][0], next(m for m in raw["models"] if m["name"] == raw["choice"])
    time = next(x for x in chosen["cost"]["latencies"] if (x["length"], x["threads"]) == (64, 1))
    ours, theirs = chosen["scores"]["test"]["accuracy"], teacher["scores"]["test"]["accuracy"]
    verdict = headline(run)
    assert verdict.sentence == (
        f"The {chosen['bytes'] / 1e6:.2f} MB int8 student answers in {time['p50_ms']:.1f} ms "
        f"(one thread, length 64) and scores {100 * ours:.1f} (test accuracy, 1,777 rows), "
        f"{100 * (theirs - ours):.1f} points under its teacher ({100 * theirs:.1f}); "
        f"it is {teacher['bytes'] / chosen['bytes']:.1f}× smaller and "
        f"{time['ratio']:.1f}× faster."
    )
    assert verdict.met is False and verdict.budget.startswith("Budget missed: drop 1.6 points, limit 1.0 points")
    assert "size 8.89 MB, limit 11.1 MB, 2.21 MB to spare" in verdict.budget
    assert "latency 11.1 ms, limit 15.0 ms, 3.90 ms to spare" in verdict.budget
    assert verdict.sentence in Page(report.html([run])).words and verdict.gaps == []


def test_headline_follows_the_split_that_the_drop_was_judged_on() -> None:
    run = sample()
    run.models[4].scores["dev"]["accuracy"] = 0.9199
    run.limits[2].value, run.limits[2].met = (0.9222 - 0.9199) * 100, True
    assert "92.0 (dev accuracy, 888 rows), 0.2 points under its teacher (92.2)" in headline(run).sentence
    assert headline(run).met is True and headline(run).budget.startswith("Budget met")


def test_a_better_larger_slower_student_is_called_so() -> None:
    run = sample()
    run.models[4].scores["test"]["accuracy"] = 0.95
    run.models[4].bytes = 2 * 99_999_999
    for item in run.models[4].cost.latencies:
        item.ratio = 0.5
    run.limits = []
    sentence = headline(run).sentence
    assert "3.0 points over its teacher" in sentence and "2.00× larger and 2.00× slower" in sentence
    assert headline(run).budget == "No budget was set." and headline(run).met is None


def test_what_was_not_measured_is_said() -> None:
    run = sample()
    bare = run.models[4]
    bare.cost, bare.scores, bare.golden_error, bare.bytes = Cost(), {}, None, None
    run.limits[1].value = None
    run.limits[2].value = None
    verdict = headline(run)
    assert verdict.sentence == "The int8 student was made but not measured."
    for words in ("size was not", "latency was not", "not scored", "golden examples", "peak memory was not"):
        assert any(words in gap for gap in verdict.gaps), words
    assert verdict.met is None and "latency was not measured (limit 15.0 ms)" in verdict.budget
    for model in run.models:
        model.cost = Cost()
    words = Page(report.html([run])).words
    assert "Score against latency" not in words and all(gap in words for gap in verdict.gaps)


def test_runs_without_an_artefact_to_choose() -> None:
    run = sample()
    run.choice = None
    assert "No artefact was chosen: 5 of 6 passed" in headline(run).sentence
    for model in run.models:
        model.status = "rejected" if model.role == "artefact" else "ok"
    assert headline(run).sentence == "None of the 6 artefacts passed: every one was rejected."
    run.models = run.models[:1]
    assert headline(run).sentence.startswith("No artefact was made")


@settings(max_examples=40)
@given(st.sets(st.tuples(st.integers(0, 8), st.sampled_from(PARTS))), st.sets(st.sampled_from(WHOLES)))
def test_any_part_may_be_missing(gone: set[tuple[int, str]], empty: set[str]) -> None:
    run = sample()
    for index, name in gone:
        if name == "ratio":
            for item in run.models[index].cost.latencies:
                item.ratio = None
        else:
            blank = {"scores": {}, "rows": {}, "cost": Cost()}.get(name)
            setattr(run.models[index], name, blank)
    for name in empty:
        setattr(run, name, None if name == "choice" else type(getattr(run, name))())
    page = Page(report.html([run]))
    assert all(model.name in page.words for model in run.models)
    for rows in tables_of(report.markdown([run])):
        assert len({len(cells(row)) for row in rows}) == 1


def test_a_teacher_alone_has_no_columns_of_dashes() -> None:
    run = sample("only-taught")
    run.models, run.choice = run.models[:1], None
    run.models[0].cost = Cost()
    table = report.section(run, "run1").tables["models"]
    assert all(cell.text != "–" for row in table.rows for cell in row.cells)
    assert "p50 ms" in [name for _, name, _ in report.section(sample(), "run1").tables["models"].columns]
    page = Page(report.html([run]))
    assert "Every metric on every split" in page.words and "Latency" not in page.words


def test_a_record_with_nothing_in_it_still_has_a_report() -> None:
    run = Run(attar="0", name="empty", created="2001", task={}, recipe={}, machine={}, provenance={})
    assert "No artefact was made" in Page(report.html([run])).words
    assert "# empty" in report.markdown([run])
    with pytest.raises(UsageError):
        report.html([])


def test_a_regression_has_no_interval() -> None:
    run = sample()
    run.task["metric"] = "spearman"
    for model in run.models:
        model.scores = {"dev": {"spearman": model.scores["dev"]["accuracy"]}}
    run.limits = []
    verdict = headline(run)
    assert "(dev spearman, 888 rows)" in verdict.sentence and verdict.certainty == ""
    assert "whisker" not in report.html([run]).split("</style>")[1]


@pytest.mark.parametrize(
    ("proportion", "rows", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0), (0.9, 100, 0.8256, 0.9448)],
)
def test_wilson_against_published_values(proportion: float, rows: int, low: float, high: float) -> None:
    assert wilson(proportion, rows) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_proportion_and_narrows(rows: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, rows))
    low, high = wilson(right / rows, rows)
    wider = wilson(right / rows, rows * 4)
    assert 0 <= low <= right / rows + 1e-12 and right / rows - 1e-12 <= high <= 1
    assert wider[1] - wider[0] < high - low


def test_wilson_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for right, rows in ((775, 872), (1, 3), (1822, 1822)):
        known = stats.binomtest(right, rows).proportion_ci(method="wilson")
        assert wilson(right / rows, rows) == pytest.approx((known.low, known.high), abs=1e-9)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    record.save(sample(), tmp_path / "run.json")
    again = record.load(tmp_path)
    assert report.html([again]) == report.html([sample()])
    assert report.markdown([again]) == report.markdown([sample()])


def test_points_stand_where_their_values_are() -> None:
    run = sample()
    text = report.html([run])
    svg = text[text.index('id="run1-size-title"') : text.index("</svg>", text.index('id="run1-size-title"'))]
    marks = re.findall(
        r"<title>(\S+), .*?: ([\d.]+), accuracy ([\d.]+).*?translate\(([\d.]+) ([\d.]+)\)", svg, re.DOTALL
    )
    assert {name for name, *_ in marks} == {model.name for model in run.models}
    spots = [(float(size), float(score), float(x), float(y)) for _, size, score, x, y in marks]
    assert [x for _, _, x, _ in sorted(spots)] == sorted(x for _, _, x, _ in spots)
    by_score = sorted(spots, key=lambda spot: spot[1])
    assert [y for *_, y in by_score] == sorted((y for *_, y in spots), reverse=True)


def test_comparison_has_teacher_student_and_choice_of_each_run() -> None:
    second = sample("second")
    second.choice = "model.int8.ort"
    runs = [sample(), second]
    (rows,) = [rows for rows in tables_of(report.markdown(runs)) if cells(rows[0])[0].strip() == "run"]
    names = [(cells(row)[0].strip(" *"), cells(row)[1].split()[0]) for row in rows[2:]]
    assert names == [
        ("made-up-sentiment", "teacher"),
        ("made-up-sentiment", "student"),
        ("made-up-sentiment", "model.int8.onnx"),
        ("second", "teacher"),
        ("second", "student"),
        ("second", "model.int8.ort"),
    ]
    page = Page(report.html(runs))
    assert "2 runs compared" in page.words and "all-size-title" in page.values("id")


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(scheme: int) -> None:
    css = (ROOT / "benchmarks/templates/style.css").read_text()
    colours = dict(re.findall(r"--([\w]+): (#\w{6})\b", css.split(":root {")[1 + scheme]))
    assert len(colours) >= 15
    for name in ("ink", "soft", "accent", "good", "bad", *(f"s{n}" for n in range(8))):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    for name in ("ink", "soft", "good"):  # the row of the chosen artefact
        assert contrast(colours[name], colours["wash"]) >= 4.5, name


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@given(st.floats(1e-3, 1e6), st.floats(1.01, 1e5))
def test_ticks_are_inside_the_axis(low: float, ratio: float) -> None:
    high = low * ratio
    for found in (ticks(low, high), log_ticks(low, high)):
        assert found == sorted(set(found)) and all(low <= value <= high * (1 + 1e-9) for value in found)
    assert 2 <= len(ticks(low, high)) <= 8


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (134.4, "134"),
        (99.97, "100"),
        (9.996, "10.0"),
        (9.41, "9.41"),
        (0.83, "0.83"),
        (0.0042, "0.0042"),
        (0, "0.00"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_report_needs_no_torch() -> None:
    heavy = ("torch", "transformers", "scipy", "matplotlib")
    code = f"import sys, attar.results; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"

"""Everybody can read the report: by ear, in the dark, on paper, on a phone, in Korean."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from attar.benchmarks import report
from attar.benchmarks.record import Run
from attar.benchmarks.rendering import TEMPLATES
from sample_run import sample
from test_places import SITES
from test_report import contrast

STYLE = (TEMPLATES / "style.css").read_text("utf-8")
VOID = {"meta", "br", "wbr", "hr"}
KOREAN = "감정-분석 (한국어)"


class Node:
    """An element with its children, text, attributes and parent."""

    def __init__(self, tag: str, attrs: dict[str, str | None], parent: Node | None) -> None:
        self.tag, self.attrs, self.parent, self.children, self.said = tag, attrs, parent, list[Node](), ""

    def walk(self) -> list[Node]:
        return [self, *(one for child in self.children for one in child.walk())]

    def all(self, *tags: str) -> list[Node]:
        return [one for one in self.walk() if one.tag in tags]

    @property
    def text(self) -> str:
        return self.said + "".join(child.text for child in self.children)

    def inside(self, tag: str) -> bool:
        return self.parent is not None and (self.parent.tag == tag or self.parent.inside(tag))


class Tree(HTMLParser):
    """The page as a tree."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = self.at = Node("", {}, None)
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.at = self.at.children[-1]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.children.append(Node(tag, dict(attrs), self.at))

    def handle_endtag(self, tag: str) -> None:
        assert self.at.tag == tag and self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.said += data


def runs(count: int) -> list[Run]:
    found = [sample(), sample(KOREAN)][:count]
    found[-1].targets = SITES
    found[-1].task["labels"] = ["나쁨", "좋음"]
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["one run", "two runs"])
def page(request: pytest.FixtureRequest) -> Node:
    return Tree(report.html(runs(request.param))).root


def test_every_picture_has_a_name_and_says_what_it_shows(page: Node) -> None:
    ids = {one.attrs["id"]: one for one in page.walk() if "id" in one.attrs}
    pictures = [one for one in page.all("svg") if one.attrs.get("aria-hidden") != "true"]
    assert len(pictures) >= 8
    for picture in pictures:
        assert picture.attrs.get("role") == "img"
        title, desc = (ids[name] for name in str(picture.attrs["aria-labelledby"]).split())
        assert (title.tag, desc.tag) == ("title", "desc") and title.parent is desc.parent is picture
        assert title.text.strip() and len(desc.text) > 20, title.text
    for hidden in (one for one in page.all("svg") if one not in pictures):
        assert hidden.parent is not None and hidden.parent.text.strip()  # its words stand beside it


def test_every_table_can_be_read_by_ear(page: Node) -> None:
    tables = page.all("table")
    assert len(tables) >= 12
    for table in tables:
        first = table.children[0]
        assert first.tag == "caption" and (first.text.strip() or table.inside("details"))
        rows = [row for row in table.all("tr") if row.attrs.get("class") != "remark"]
        for row in table.all("tbody")[0].children:
            if row.attrs.get("class") != "remark":
                assert row.children[0].tag == "th" and row.children[0].attrs["scope"] == "row"
        heads = table.all("thead")[0].children
        assert {one.attrs.get("scope") for one in heads[-1].children} == {"col"}
        for group in heads[:-1]:
            spans = [int(one.attrs.get("colspan") or 1) for one in group.children]
            assert sum(spans) == len(heads[-1].children)
            assert all(one.tag == "td" or one.attrs["scope"] == "colgroup" for one in group.children)
        widths = {len(row.children) for row in rows if row not in heads[:-1]}
        assert len(widths) == 1
        region = table.parent
        assert region is not None and region.attrs["role"] == "region" and region.attrs["tabindex"] == "0"
        assert region.attrs["aria-label"]


def test_headings_stand_in_order(page: Node) -> None:
    levels = [int(one.tag[1]) for one in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1 and levels.count(1) == 1 and len(levels) > 8
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert all(one.text.strip() for one in page.all("h1", "h2", "h3", "h4"))


def test_the_page_asks_nobody_for_anything(page: Node) -> None:
    assert not page.all("script", "link", "img", "iframe", "object", "embed", "video", "audio", "use", "image", "base")
    for one in page.walk():
        for name, value in one.attrs.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "style", "xlink:href")
            assert name != "href" or str(value).startswith("#")
    assert not re.search(r"url\(|@import|https?:", STYLE)


def test_language_characters_and_schemes_are_stated(page: Node) -> None:
    (whole,) = page.all("html")
    assert whole.attrs["lang"] == "en"
    metas = [one.attrs for one in page.all("meta")]
    assert {"charset": "utf-8"} in metas
    named = {one.get("name"): one.get("content") for one in metas}
    assert named["color-scheme"] == "light dark" and "width=device-width" in str(named["viewport"])
    assert len(page.all("main")) == 1 and page.all("title")[0].text.strip()


def test_korean_is_shown_as_it_is() -> None:
    data = report.html(runs(2)).encode("utf-8")
    page = Tree(data.decode("utf-8")).root
    for words in (KOREAN, "나쁨", "좋음"):
        assert words in page.text
    assert any("KR" in font for font in re.findall(r"--sans: ([^;]+);", STYLE))
    assert KOREAN in report.markdown(runs(2))


def schemes() -> dict[str, dict[str, str]]:
    """The variables of light, dark and print, each over those before it."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    light, dark, paper = (dict(re.findall(r"--(\w+): ([^;]+);", block)) for block in blocks)
    return {"light": light, "dark": light | dark, "print": light | paper}


def colour(value: str) -> str:
    """#fff as #ffffff."""
    return "#" + "".join(sign * 2 for sign in value[1:]) if len(value) == 4 else value


@pytest.mark.parametrize("name", ["light", "dark", "print"])
def test_every_colour_of_text_stands_out_from_every_ground(name: str) -> None:
    """Each variable that the style gives to words, on each that it gives to a ground; words on bars on the bars."""
    known = schemes()[name]
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"@media[^{]+\{", "", STYLE))
    inks = {found for _, body in rules for found in re.findall(r"(?<![-\w])color: var\(--(\w+)\)", body)}
    inks |= {
        found for rule, body in rules if "text" in rule or ".tick" in rule
        for found in re.findall(r"fill: var\(--(\w+)\)", body)
    } - {"page", "c"}  # fmt: skip
    grounds = {found for _, body in rules for found in re.findall(r"background: var\(--(\w+)\)", body)}
    assert {"ink", "soft", "accent", "good", "bad"} <= inks and grounds == {"page", "wash"}
    series = {f"s{number}" for number in range(8)}  # --c: words in a curve's own colour
    assert series <= known.keys()
    for ink in inks | series:
        for ground in grounds if ink in inks else {"page"}:
            found = contrast(colour(known[ink]), colour(known[ground]))
            assert found >= 4.5, f"{ink} on {ground} in {name}: {found:.2f}"


def test_paper_has_rules_of_its_own() -> None:
    paper = STYLE[STYLE.index("@media print") :]
    assert "@page" in paper and "break-inside: avoid" in paper and "overflow: visible" in paper
    assert {name: colour(value) for name, value in schemes()["print"].items()}["page"] == "#ffffff"


def test_every_table_names_its_file_and_fields(page: Node) -> None:
    fields = "|".join(Run.model_fields)
    for table in page.all("table"):
        if table.inside("details") and table.inside("figure"):
            continue  # the figures of a plot, whose caption names the path
        said = "".join(one.text for one in table.children[0].all("span") if one.attrs.get("class") == "origin")
        assert re.fullmatch(rf"From run\.json( of each run)?: ({fields})(, ({fields}))*\.", said), said
    for figure in page.all("figure"):
        assert re.search(rf"Paths: ({fields})\b", figure.all("figcaption")[0].text), figure.text[:80]

"""Others' figures: each with its source and its hardware, in a table of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attar import results
from attar.benchmarks import published, record
from attar.errors import AttarError
from attar.files import read_json, write_json
from sample_run import sample


def test_every_row_has_its_source_and_hardware() -> None:
    rows = published.load()
    assert {"DistilBERT", "TinyBERT", "MobileBERT", "MiniLM", "ALBERT", "ELECTRA"} <= {
        one.source.partition(",")[0] for one in rows
    }
    for one in rows:
        assert one.source.strip() and one.hardware.strip() and one.setting.strip()
        paper = one.source.partition("arXiv ")[2][:10]
        assert paper in one.url if paper else one.url.startswith("https://huggingface.co/")
    assert len({(one.model, one.source, one.hardware) for one in rows}) == len(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hardware": ""}, "hardware"),
        ({"source": None}, "source"),
        ({"url": "http://example.org"}, "url"),
        ({"time": None, "speed": None}, "neither a time nor a speed"),
        ({"metric": None}, "go together"),
        ({"latency": "3 ms"}, "latency"),
    ],
)
def test_a_row_that_is_not_whole_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    values = read_json(published.FILE)
    values["rows"][4] |= change
    write_json(tmp_path / "published.json", values)
    with pytest.raises(AttarError, match=rf"not a list of published figures: rows\.4.*{said}") as caught:
        published.load(tmp_path / "published.json")
    assert "\n" not in caught.value.line()


def test_they_stand_on_the_results_page_apart_from_ours(tmp_path: Path) -> None:
    record.save(sample(), tmp_path / "runs" / "a.json")
    assert results.main(["--docs", str(tmp_path)]) == 0
    ours, heading, theirs = (tmp_path / "results.md").read_text("utf-8").partition("## Published figures")
    assert heading and "K80" not in ours and "None of them enters a ratio" in theirs
    assert "| TinyBERT 4×312 | 14.5 | 1.20 G | – | 9.4× | 77.0 (GLUE) | NVIDIA K80 |" in theirs

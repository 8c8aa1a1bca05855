"""The progress of a run, where stderr is a file: what is begun is told at once, and then only now and then."""

from __future__ import annotations

import pytest
from attar.benchmarks import progress


def test_what_a_stage_begins_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.stages(quiet=False) as (moved, finished):
        for share in (0.0, 0.5, 1.0):
            moved("teacher's states", share, "60 rows, 0.3 MB on disk")
        moved("intermediate", 0.1, "loss 1.0")
        moved("teacher's states", 1.0, "again")
        finished("distil", 2.0, False)
        moved("intermediate", 0.0, "loss 0.5")
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "teacher's states 0 %, 60 rows, 0.3 MB on disk",
        "intermediate 10 %, loss 1.0",
        "✓ distil     2 s",
        "intermediate 0 %, loss 0.5",
    ]


def test_a_long_stage_is_told_again_and_a_quiet_one_never(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "REMARK_SECONDS", -1.0)
    for quiet, lines in ((False, 3), (True, 0)):
        with progress.stages(quiet) as (moved, _):
            for share in (0.0, 0.5, 1.0):
                moved("finetune", share, "")
        assert len(capsys.readouterr().err.splitlines()) == lines

"""Two repetitions of a bench: what differs by more than their intervals allow is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attar.benchmarks import agreement
from attar.benchmarks.intervals import centre, interval, moods, moody
from scipy.stats import binom

SETTINGS = [(length, threads) for length in (16, 32, 64, 128) for threads in (1, 2)]


def document(path: Path, seed: int, shift: float = 1.0) -> Path:
    """Eight sessions a figure, drawn around the same centres; `shift` moves the times of the second model."""
    draw = np.random.default_rng(seed)
    models = []
    for number, name in enumerate(["a", "b"]):
        latencies = []
        for length, threads in SETTINGS:
            times = 5 * draw.lognormal(0, 0.03, 8) * (shift if number else 1)
            rates = draw.lognormal(0, 0.01, 8) / (shift if number else 1)
            speed = {"ratio": centre(rates), "ratio_interval": interval(rates)} if number else {"ratio": 1.0}
            spread = {"p50_ms": centre(times), "p50_interval": interval(times), **speed}
            rest = dict.fromkeys(["p90_ms", "mean_ms", "min_ms"], 5.0)
            latencies.append({"length": length, "threads": threads, "queries": 9, "sessions": 8, **spread, **rest})
        models.append({"name": name, "runtime": "onnxruntime", "bytes": 1, "latencies": latencies})
    words: dict[str, Any] = {"machine": {}, "protocol": {}, "conditions": {}, "warnings": [], "problems": []}
    path.write_text(json.dumps({"format": "attar-comparison/1", **words, "reference": "a", "models": models}))
    return path


def test_repetitions_of_the_same_agree_and_of_another_do_not(tmp_path: Path, capsys: Any) -> None:
    same = [document(tmp_path / f"{seed}.json", seed) for seed in range(2)]
    assert agreement.main([str(one) for one in same]) == 0
    assert "speeds: " in capsys.readouterr().out
    moved = document(tmp_path / "moved.json", 3, shift=1.1)
    assert agreement.main([str(same[0]), str(moved)]) == 1
    shown = capsys.readouterr().out
    assert "differs" in shown and "speeds: 0 of 8 agree, 6 or more are expected" in shown


def test_figures_disagree_as_often_as_chance_brings() -> None:
    """Over many repetitions of the same, one figure in twenty or fewer: Student's t for eight sessions is wide."""
    draw = np.random.default_rng(0)
    apart = 0
    for _ in range(2000):
        a, b = (draw.lognormal(0, 0.02, 8) for _ in range(2))
        ends = [interval(one) for one in (a, b)]
        assert ends[0] and ends[1]
        apart += not agreement._pair("x", "time", centre(a), centre(b), ends[0], ends[1]).agrees
    assert 0.02 < apart / 2000 < 0.06


def test_times_of_a_busy_machine_agree_within_what_they_state() -> None:
    """Each run meets a mood of its own beside those of its sessions, of which the interval of a mean knows nothing."""
    draw, apart = np.random.default_rng(0), {"plain": 0, "moody": 0}
    for _ in range(500):
        found: dict[str, list[Any]] = {"plain": [], "moody": []}
        centres = []
        for _ in range(2):
            shared = draw.normal(0, 0.1) + draw.normal(0, 0.1, 8)
            times = [np.exp(shared + draw.normal(0, 0.02, 8)).tolist() for _ in range(3)]
            centres.append(centre(times[0]))
            found["plain"].append(interval(times[0]))
            found["moody"].append(moody(times[0], moods(times)))
        for name, ends in found.items():
            apart[name] += not agreement._pair("x", "time", *centres, *ends).agrees
    assert apart["moody"] / 500 < 0.05 < apart["plain"] / 500


def test_where_models_have_nothing_in_common_the_interval_is_that_of_the_mean() -> None:
    opposite = [[1.0, 2.0, 1.0, 2.0], [2.0, 1.0, 2.0, 1.0]]
    assert moods(opposite) == pytest.approx([0.0] * 4)
    assert moody(opposite[0], moods(opposite)) == pytest.approx(interval(opposite[0]))


@pytest.mark.parametrize("count", [1, 7, 20, 60])
def test_what_chance_brings_is_the_binomials(count: int) -> None:
    assert agreement.most(count) == binom.ppf(0.95, count, 0.05)


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: Any) -> None:
    one = document(tmp_path / "a.json", 0)
    empty = tmp_path / "b.json"
    empty.write_text(one.read_text().replace('"length": ', '"length": 9'))
    assert agreement.main([str(one), str(empty)]) == 2
    assert "without --quick" in capsys.readouterr().err
    assert agreement.main([str(one), str(tmp_path / "no.json")]) == 1

"""The recipe words `share`, `prune` and `factorize`: what they may say, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from attar.recipe import Factorize, Prune, Share
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (Prune, {"heads": 1.0}, "heads\n.*less than 1"),
        (Prune, {"ffn": -0.1}, "ffn\n.*greater than or equal to 0"),
        (Prune, {"hidden": 40}, "hidden\n.*less than 1"),
        (Prune, {"layers": float("nan")}, "layers\n"),
        (Prune, {}, "nothing would be cut"),
        (Prune, {"heads": 0.5, "steps": 0}, "steps\n.*greater than 0"),
        (Prune, {"heads": 0.5, "importance": "l1"}, "importance\n"),
        (Share, {"part": "heads"}, "part\n"),
        (Share, {"groups": 0}, "groups\n.*greater than 0"),
        (Share, {"start": "last"}, "start\n"),
        (Factorize, {}, "state one of `rank` and `bytes`"),
        (Factorize, {"rank": 8, "bytes": "1MB"}, "state one of `rank` and `bytes`"),
        (Factorize, {"rank": 0}, "rank\n.*greater than 0"),
        (Factorize, {"bytes": "much"}, "'much' is not a quantity"),
    ],
)
def test_what_is_refused(part: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        part.model_validate(values)


def test_defaults_and_units() -> None:
    assert Share() == Share(part="all", groups=1, start="best")
    assert Prune(heads=0.5).importance == "taylor"
    assert Factorize.model_validate({"bytes": "2MB"}).bytes == 2_000_000

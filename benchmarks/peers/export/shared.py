"""What the scripts of the peers share: what they are given, and how they tell what they made.

    python -m export.SCRIPT STUDENT BUNDLE OUT LENGTH…        (the interpreter is that of the peer's environment)

- Run by a peer's own interpreter, so it imports nothing of attar.
- STUDENT is a Hugging Face folder, BUNDLE attar's bundle of it; OUT holds `calibration.jsonl` (training rows in the
  student's pieces) and gets the files and `said.json`.
- A file that fails is a line, and the other files are made all the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass
class Work:
    """One peer's work."""

    student: Path
    bundle: Path
    out: Path
    lengths: list[int]
    made: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def make(
        self,
        name: str,
        file: str,
        how: Callable[[], object],
        *,
        precision: str = "int8",
        runtime: str = "onnxruntime",
        length: int | None = None,
    ) -> None:
        """Let `how` write a file below `out`, which is a model of that name; `length` is the only one it can run."""
        try:
            how()
            if not (self.out / file).is_file():
                raise FileNotFoundError(f"{file} was not written")
        except Exception as error:  # noqa: BLE001 - programs raise whatever they like
            said = next(iter(str(error).strip().splitlines()), "")
            self.problems.append(f"{name}: {type(error).__name__}: {said[:300]}")
        else:
            words = {"name": name, "file": file, "precision": precision, "runtime": runtime, "length": length}
            self.made.append(words)

    def calibration(self) -> list[dict[str, list[int]]]:
        """Training rows: `input_ids` and `token_type_ids`."""
        return [json.loads(line) for line in (self.out / "calibration.jsonl").read_text("utf-8").splitlines()]

    def golden(self) -> list[dict[str, Any]]:
        """The bundle's golden sequences: `input_ids`, `token_type_ids` and `logits`."""
        rows = [json.loads(line) for line in (self.bundle / "golden.jsonl").read_text("utf-8").splitlines()]
        return [sequence for row in rows for sequence in row.get("sequences", [row])]


def main(peer: Callable[[Work], None], *distributions: str) -> None:
    """Run a peer's script, and keep what it says with the versions of these distributions."""
    student, bundle, out, *lengths = sys.argv[1:]
    work = Work(Path(student), Path(bundle), Path(out), [int(length) for length in lengths])
    peer(work)
    versions = {name: metadata.version(name) for name in distributions}
    said = {"made": work.made, "problems": work.problems, "versions": versions}
    (work.out / "said.json").write_text(json.dumps(said), "utf-8")

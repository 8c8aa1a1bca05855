"""Memory against the size of a corpus: what encoding it takes, and what drawing rows from it does.

    python -m attar.benchmarks.corpus_memory TOKENIZER.json FILE… [--times 1,10]

- Ten times the text is every file under ten names. Each size is read in a fresh process that holds no torch.
- Encoding is judged by the peak of resident memory (`VmHWM`; `getrusage` would count what the parent held before).
- Drawing is judged by what Python and numpy allocate: pages of the mapped files come and go as the system likes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import AttarError, UsageError
from ..tasks import sharding
from ..tasks.corpus import Corpus

MODULE = f"{__package__}.{Path(__file__).stem}"  # `__name__` is another where it is the command
STATUS = Path("/proc/self/status")
ROWS, LENGTH = 500, 32  # that are drawn, and pieces of each


class Reading(NamedTuple):
    """One size of the corpus, all in bytes but the pieces."""

    text: int  # of the files, as they lie on disk
    pieces: int
    disk: int  # of the encoded corpus
    encoding: int  # peak of resident memory, libraries and all
    drawing: int  # peak of what is allocated


def measure(tokenizer_json: Path, files: Sequence[Path], times: Sequence[int] = (1, 10)) -> list[Reading]:
    """A reading of the corpus for each of `times` as much text. Raises `AttarError` where a corpus cannot be read."""
    if not STATUS.exists():
        raise AttarError("the peak of resident memory is read from /proc, which is not here")
    found = []
    for count in times:
        with tempfile.TemporaryDirectory() as space:
            folder = Path(space)
            for number in range(count):
                for place, file in enumerate(files):
                    (folder / f"{number}-{place}-{file.name}").symlink_to(file.resolve())
            command = [sys.executable, "-m", MODULE, "--one", str(tokenizer_json.resolve()), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AttarError((done.stderr.strip().splitlines() or ["the reading ended without a word"])[-1])
        found.append(Reading(*json.loads(done.stdout)))
    return found


def read(tokenizer_json: Path, folder: Path) -> Reading:
    """The reading of this process, of the files in `folder`."""
    corpus = Corpus(sorted(folder.iterdir()))
    out = folder / "encoded"
    built = sharding.build(corpus, tokenizer_json, out)
    encoding = 1024 * int(STATUS.read_text("utf-8").split("VmHWM:")[1].split()[0])
    tracemalloc.start()
    windows = built.windows(LENGTH)
    for row in np.random.default_rng(0).integers(len(windows), size=ROWS):
        windows[int(row)], built.sentence(int(row) % built.sentences)
    drawing = tracemalloc.get_traced_memory()[1]
    disk = sum(path.stat().st_size for path in out.iterdir())
    return Reading(corpus.size, built.pieces, disk, encoding, drawing)


def _numbers(words: str) -> list[int]:
    if not all(word.isdigit() and int(word) for word in words.split(",")):
        raise UsageError(f"{words!r} is not a list of whole numbers such as 1,10", where="--times")
    return [int(word) for word in words.split(",")]


def main(words: Sequence[str] | None = None) -> int:
    """Print a line for each size; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m attar.benchmarks.corpus_memory")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("files", type=Path, nargs="+", help="text or JSONL, plain, .gz or .xz")
    parser.add_argument("--times", default="1,10", help="how many times the text")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    try:
        if given.one:
            print(json.dumps(read(given.tokenizer, given.files[0])))
            return 0
        for one in measure(given.tokenizer, given.files, _numbers(given.times)):
            print(
                f"{one.text / 1e6:8.1f} MB of text  {one.pieces:11,} pieces  {one.disk / 1e6:7.1f} MB encoded  "
                f"peak {one.encoding / 1e6:6.1f} MB  drawing {one.drawing / 1e6:5.2f} MB"
            )
    except AttarError as error:
        print(error.line() if given.one else f"attar: {error.line()}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

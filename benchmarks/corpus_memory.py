"""Memory against the size of a corpus: what encoding it takes, what drawing rows from it does, and distilling on it.

    python -m attar.benchmarks.corpus_memory TOKENIZER.json FILE… [--times 1,10] [--distil MODEL]
        [--out docs/memory/corpus.json]

- Ten times the text is every file under ten names. Each size is read in a fresh process, which holds torch with
  `--distil` alone.
- Encoding is judged by the peak of resident memory (`VmHWM`; `getrusage` would count what the parent held before).
- Drawing is judged by what Python and numpy allocate: pages of the mapped files come and go as the system likes.
- Distilling is judged by the peak of resident memory over as many steps for each size, mapped pages and all: the stage
  `general`, of a masked language model or a GPT, to a student of half its layers.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from .. import __version__, recipe
from ..errors import AttarError, UsageError
from ..files import write_json
from ..tasks import sharding
from ..tasks.corpus import Corpus
from . import machine
from .memory_record import Growth, Reading

MODULE = f"{__package__}.{Path(__file__).stem}"  # `__name__` is another where it is the command
STATUS = Path("/proc/self/status")
ROWS, LENGTH = 500, 32  # that are drawn, and pieces of each
LEARNT = 256  # rows that a student learns from


def measure(
    tokenizer_json: Path, files: Sequence[Path], times: Sequence[int] = (1, 10), model: str | None = None
) -> list[Reading]:
    """A reading of the corpus for each of `times` as much text; distilling is measured where a `model` is named.

    Raises `AttarError` where a corpus cannot be read.
    """
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
            command += ["--distil", model] if model else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AttarError((done.stderr.strip().splitlines() or ["the reading ended without a word"])[-1])
        found.append(Reading.model_validate_json(done.stdout))
    return found


def read(tokenizer_json: Path, folder: Path, model: str | None = None) -> Reading:
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
    tracemalloc.stop()
    disk = sum(path.stat().st_size for path in out.iterdir())
    distilling = distil(model, corpus, folder / "student") if model else 0
    return Reading(
        text=corpus.size,
        pieces=built.pieces,
        disk=disk,
        encoding=encoding,
        drawing=drawing,
        distilling=distilling,
    )


def distil(model: str, corpus: Corpus, folder: Path) -> int:
    """The peak of resident memory, in bytes, of distilling a model on a corpus into `folder`."""
    from ..compress import general
    from ..teachers import checkpoint

    source = checkpoint.locate(model)
    kind = "distilgpt" if checkpoint.family(source) in checkpoint.DECODERS else "distilbert"
    plan = {"corpus": {"paths": [str(path) for path in corpus.files]}, "limit": LEARNT, "max_length": LENGTH}
    found = general.distil(
        recipe.Student.model_validate({"kind": kind}),
        recipe.General.model_validate(plan | {"batch_size": 8}),
        source,
        0,
        folder,
        corpus,
        lambda what, done, remark: None,
    )
    return int(found["training"][0]["peak_memory"])


def _numbers(words: str) -> list[int]:
    if not all(word.isdigit() and int(word) for word in words.split(",")):
        raise UsageError(f"{words!r} is not a list of whole numbers such as 1,10", where="--times")
    return [int(word) for word in words.split(",")]


def _record(found: list[Reading], model: str, words: Sequence[str] | None) -> Growth:
    return Growth(
        attar=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["python", "-m", MODULE, *(sys.argv[1:] if words is None else words)]),
        machine=machine.describe(),
        model=model,
        readings=found,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Print a line for each size; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m attar.benchmarks.corpus_memory")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("files", type=Path, nargs="+", help="text or JSONL, plain, .gz or .xz")
    parser.add_argument("--times", default="1,10", help="how many times the text")
    parser.add_argument("--distil", metavar="MODEL", help="a folder, hub id or minilm: measure distilling from it too")
    parser.add_argument("--out", type=Path, help="write the record here too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    try:
        if given.one:
            print(read(given.tokenizer, given.files[0], given.distil).model_dump_json())
            return 0
        found = measure(given.tokenizer, given.files, _numbers(given.times), given.distil)
        for one in found:
            print(
                f"{one.text / 1e6:8.1f} MB of text  {one.pieces:11,} pieces  {one.disk / 1e6:7.1f} MB encoded  "
                f"peak {one.encoding / 1e6:6.1f} MB  drawing {one.drawing / 1e6:5.2f} MB"
                + (f"  distilling {one.distilling / 1e6:6.1f} MB" if given.distil else "")
            )
        if given.out:
            write_json(given.out, _record(found, given.distil or "", words).model_dump(mode="json"))
    except AttarError as error:
        print(error.line() if given.one else f"attar: {error.line()}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

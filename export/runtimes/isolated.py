"""Run a model file in a process of its own: `python -m attar.export.runtimes.isolated FOLDER`.

- Old runtimes abort the process on some files. Here the child dies, and the caller gets one clear error.
- The child is light (no torch); arrays travel as `.npz` without pickle in a temporary folder.
- Batches and logits travel flattened, a few arrays in all, so that ten thousand rows cost no more than one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import AttarError
from . import Arrays, open_model

Logits = npt.NDArray[np.float32]


def run_isolated(
    path: Path, runtime: str, batches: Sequence[Arrays], threads: int = 1, timeout: float = 3600.0
) -> list[Logits]:
    """Logits of each batch, as a runner gives them, from a fresh process; `timeout` is in seconds for all of them.

    Errors: what the runtime says of the file or the arrays; its death, by the name of the signal; its silence.
    """
    if not batches:
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {"path": str(path.resolve()), "runtime": runtime, "threads": threads}
        (folder / "request.json").write_text(json.dumps(request), "utf-8")
        shapes = np.array([batch["input_ids"].shape for batch in batches], np.int64)
        flat = {key: np.concatenate([np.ravel(batch[key]) for batch in batches]) for key in batches[0]}
        np.savez(folder / "inputs.npz", shapes=shapes, **flat)
        _child(folder, path, runtime, timeout)
        with np.load(folder / "outputs.npz", allow_pickle=False) as outputs:
            logits: Logits = outputs["logits"]
            sizes = outputs["shapes"]
    parts = np.split(logits, np.cumsum(sizes.prod(axis=1))[:-1])
    return [part.reshape(size) for part, size in zip(parts, sizes, strict=True)]


def _child(folder: Path, path: Path, runtime: str, timeout: float) -> None:
    """Run the child to its end and explain what became of it."""
    # The working folder is the temporary one: `-m` puts it first on the import path, and it has no modules to shadow.
    command = [sys.executable, "-m", __name__, str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise AttarError(f"{runtime} gave no answer in {timeout:g} s", where=str(path)) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise AttarError(
            f"{runtime} died with {name} on this file", where=str(path), fix="do not ship it for this runtime"
        )
    if (error := folder / "error.json").is_file():
        told = json.loads(error.read_text("utf-8"))
        raise AttarError(told["what"], where=told["where"] or str(path), fix=told["fix"])
    if done.returncode or not (folder / "outputs.npz").is_file():
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AttarError(f"{runtime} failed: {last[0]}", where=str(path))


def main(folder: Path) -> int:
    """The child: read the request, run every batch, write the logits or the error."""
    request = json.loads((folder / "request.json").read_text("utf-8"))
    with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
        flat = dict(inputs.items())
    shapes = flat.pop("shapes")
    ends = np.cumsum(shapes.prod(axis=1))
    try:
        runner = open_model(Path(request["path"]), request["runtime"], request["threads"])
        logits = [
            runner.run({name: values[end - rows * width : end].reshape(rows, width) for name, values in flat.items()})
            for (rows, width), end in zip(shapes, ends, strict=True)
        ]
    except AttarError as error:
        told = {"what": error.what, "where": error.where, "fix": error.fix}
        (folder / "error.json").write_text(json.dumps(told), "utf-8")
        return 1
    sizes = np.array([one.shape for one in logits], np.int64)
    np.savez(folder / "outputs.npz", logits=np.concatenate([one.ravel() for one in logits]), shapes=sizes)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

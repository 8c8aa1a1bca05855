"""Classification by prompt: zero-, one- and k-shot accuracy, beside chance and the commonest label."""

from __future__ import annotations

from collections.abc import Iterator

from ..recipe import Split, Task
from ..tasks import data, table
from ..tasks.prompts import Shots
from ..tasks.table import Example
from ..teachers.zero_shot import KShot
from .measures import Job, Material, cut, some, timed
from .record import Result
from .sheet import Prompted


def read(entry: Prompted, seed: int) -> Material:
    """The queries, and the rows that examples are drawn from."""
    queries = some(_rows(entry, entry.file), entry.limit, seed)
    pool = _rows(entry, entry.shots or entry.file)
    prompt = entry.prompt()
    for row in (*queries, *pool):
        prompt.gold(row)  # a label without a word is told before anything is computed
    digests = {"queries": data.digest(queries), "shots": data.digest(pool)}
    return Material((queries, Shots(pool, entry.balanced)), len(queries), digests)


def _rows(entry: Prompted, split: Split) -> list[Example]:
    return table.read(split, Task(train=[split], text=entry.text, text_pair=entry.text_pair, label=entry.label))


def score(job: Job) -> Iterator[Result]:
    """A result for each number of examples; the spread is the sample standard deviation over seeds."""
    queries, shots = job.content
    for number, k in enumerate(job.entry.k):
        study = KShot(job.entry.prompt(), queries, shots, [k], job.entry.seeds, job.entry.norm)
        with timed() as clock:
            (found,) = study.run({job.subject.name: job.subject.lm}, job.part(number, len(job.entry.k)))
        yield Result(
            model=job.subject.name,
            condition={"k": k},
            metrics={"accuracy": found.mean, "spread": found.spread, "shown": found.shown},
            baselines={"chance": {"accuracy": found.chance}, "majority": {"accuracy": found.majority}},
            rows=found.items,
            values=list(found.accuracies),
            remarks=cut(found.truncated, "queries"),
            seconds=clock.seconds,
        )

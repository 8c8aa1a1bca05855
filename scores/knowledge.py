"""What an encoder knows: facts as masked sentences, and links between entities that it reads as texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from .. import debian, training
from ..files import file_digest, value_digest
from ..recipe import expand
from ..tasks import data, lama, triples
from ..teachers import knowledge, new_head
from .measures import Job, Material, some, timed
from .record import Result
from .sheet import Facts, Links, Triples


def read_facts(entry: Facts, seed: int) -> Material:  # noqa: ARG001 - a vocabulary says what can be asked
    """The files' places; which facts can be asked, and are chosen from, is the vocabulary's affair."""
    files = {"facts": expand(entry.facts), "relations": expand(entry.relations)}
    rows = lama.written(files["facts"])
    digests = {"facts": data.digest(rows), "relations": file_digest(files["relations"])}
    return Material(files, min(len(rows), entry.limit or len(rows)), digests)


def score_facts(job: Job) -> Iterator[Result]:
    """Precision at 1 and 10 and the mean reciprocal rank, means over the relations."""
    entry, subject = job.entry, job.subject
    encoder = subject.encoder(entry.max_length)
    words = None
    if entry.candidates == "shared":
        words = lama.shared_words([other.encoder(entry.max_length).tokenizer for other in job.others])
    with timed() as clock:
        model = _headed(job) if entry.head else subject.masked
        probes = lama.read(job.content["facts"], job.content["relations"], encoder, words)
        probes = replace(probes, rows=some(probes.rows, entry.limit, job.seed))
        found = knowledge.probe(model, probes, encoder.pad_id, moved=job.moved)
    skipped = [f"{count:,} facts not asked: {reason}" for reason, count in probes.skipped.items()]
    yield Result(
        model=subject.name,
        metrics=found.macro,
        rows=len(probes.rows),
        parts=found.relations,
        remarks=skipped,
        seconds=clock.seconds,
    )


def _headed(job: Job) -> PreTrainedModel:
    """The model with a new head over its frozen encoder; heads are kept in the user's cache."""
    cache = debian.home("ATTAR_HEADS", "heads")
    cache.mkdir(parents=True, exist_ok=True)
    source = new_head.trained(
        job.subject.source, job.entry.head, cache, job.seed, lambda what, done, remark: job.moved(done)
    )
    return knowledge.masked_lm(source)[0].to(training.device()).eval()


def read_links(entry: Links, seed: int) -> Material:
    """The graph, of whose test rows `limit` are asked; the others still count as true when ranks are filtered."""
    graph = triples.read({"train": _files(entry.train), "test": _files(entry.test)}, entry.unknown)
    asked = graph.splits["test"]
    chosen = asked[some(range(len(asked)), entry.limit, seed)]
    digests = {name: value_digest(rows.tolist()) for name, rows in graph.splits.items()}
    digests["entities"] = value_digest(graph.texts)
    left = graph.skipped["test"]
    remarks = [f"{left:,} test rows name what no training triple does"] if left else []
    content = replace(graph, splits=graph.splits | {"asked": chosen})
    return Material(content, len(chosen), digests, remarks)


def score_links(job: Job) -> Iterator[Result]:
    """Filtered ranks as head and as tail, with a relation as the mean of t − h over its training triples."""
    entry, subject, graph = job.entry, job.subject, job.content
    encoder = subject.encoder(entry.max_length)
    with timed() as clock:
        texts = encoder.encode([(text, None) for text in graph.texts])
        options: dict[str, Any] = {"norm": entry.norm, "moved": job.moved}
        found = knowledge.links(subject.masked, graph, texts, encoder.pad_id, "asked", **options)
    middle = (len(graph.entities) + 1) / 2
    yield Result(
        model=subject.name,
        metrics=found,
        baselines={"chance": _blind(len(graph.entities)) | {"mr": middle}},
        rows=len(graph.splits["asked"]),
        seconds=clock.seconds,
    )


def _blind(entities: int) -> dict[str, float]:
    """What a random order of all entities scores in the mean: each rank is as likely as any other."""
    ranks = range(1, entities + 1)
    hits = {f"hits@{k}": min(1.0, k / entities) for k in (1, 3, 10)}
    return {"mrr": sum(1 / rank for rank in ranks) / entities, **hits}


def _files(split: Triples) -> triples.Files:
    words: Path | None = expand(split.words) if split.words else None
    return triples.Files(expand(split.triples), words)

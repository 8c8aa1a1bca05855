"""The stage `knowledge`: a teacher that has learnt a knowledge graph beside text, as a stock Hugging Face folder.

- KEPLER (arXiv 1911.06136), as `knowledge.fuse` does it. A teacher without a masked-LM head, such as a sentence
  encoder, first gets one over its frozen encoder: the errors of a random head would undo what the encoder knows.
- Judged by filtered link prediction over the graph's held-out triples, with every relation the mean of t − h over its
  training triples (`knowledge.links`): `before`, which is this base line as it is, and `after` are asked in one way.
  `learnt relations` asks the fused encoder with the relation vectors of its training, and `TransE` is a model of the
  triples alone.
- The masked-LM head is saved, because the next masked model needs it; the relation table is not, nor is a pooler, which
  this training does not touch and fine-tuning begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from .. import recipe, training
from ..errors import AttarError
from ..files import file_digest, read_json, write_json, write_text
from ..tasks import triples
from ..tasks.encoding import Encoder, Features
from ..tasks.triples import Graph
from . import checkpoint, knowledge, masked_text, transe
from .teach import curve

Scores = dict[str, float]
SPLIT = "dev"


def inputs(spec: recipe.Knowledge) -> dict[str, Any]:
    """What the stage depends on beside the weights it starts from: its part of the recipe, and all of its files."""
    paths = (path for split in (spec.graph.train, spec.graph.dev) for path in (split.triples, split.words))
    return {
        "knowledge": spec.model_dump(mode="json"),
        "graph": [file_digest(recipe.expand(path)) if path else None for path in paths],
        "corpus": masked_text.files(spec).digest(),
    }


def read(graph: recipe.Graph, encoder: Encoder) -> tuple[Graph, list[Features]]:
    """A graph whose entities the vocabulary has words for, and their texts (`Graph.texts`) encoded."""
    unknown = {encoder.tokenizer.token_to_id(piece) for piece in ("[UNK]", "<unk>")}

    def encode(texts: Sequence[str]) -> list[Features]:
        return encoder.encode([(text, None) for text in texts])

    def sayable(texts: Sequence[str]) -> list[bool]:
        empty = set(encode([""])[0].input_ids)
        return [bool(set(row.input_ids) - empty - unknown) for row in encode(texts)]

    found = triples.load(graph, sayable)
    return found, encode(found.texts)


def fuse(spec: recipe.Knowledge, source: Path, seed: int, folder: Path, progress: training.Progress) -> dict[str, Any]:
    """Fill `folder` with the fused teacher, which starts from `source`; gives its curves, what was skipped, and links.

    Killed and called again with the same folder, it goes on where it was.
    """
    _check_lengths(spec, source)
    checkpoint.save_tokenizer(source, folder)
    work, tokenizer_json = folder / "checkpoints", folder / "tokenizer.json"
    graph, entities = read(spec.graph, Encoder(tokenizer_json, spec.entity_length))
    text = masked_text.read(spec, tokenizer_json, work / "corpus", seed=seed, progress=progress)
    model = knowledge.readable(source, text, spec.head, seed=seed, folder=work / "head", progress=progress)

    def links(learnt: triples.Floats | None = None) -> dict[str, Scores]:
        return _links(spec, knowledge.entity_table(model, entities, text.pad_id), graph, learnt)

    found = {"before": _once(work / "before.json", links)["means"]}
    state, relations = knowledge.fuse(
        model, graph, entities, text, spec.fuse, seed=seed, folder=work / "fuse", progress=progress
    )
    curves = [curve("knowledge", "fuse", len(text.features), state)]
    after = links(relations if spec.fuse.weight else None)
    found |= {{"means": "after", "learnt": "after, learnt relations"}[name]: scores for name, scores in after.items()}
    if spec.transe:
        alone, state = transe.learn(graph, spec.transe, seed=seed, folder=work / "transe", progress=progress)
        curves.append(curve("knowledge", "transe", len(graph.splits["train"]), state))
        found["TransE"] = transe.links(alone, graph, SPLIT, spec.transe.norm, spec.links)
    checkpoint.save(model.to("cpu"), folder)
    write_text(folder / "README.md", _card(checkpoint.licence(source)))
    rows = {name: len(split) for name, split in graph.splits.items()}
    return {
        "training": curves,
        "rows": {"text": len(text.features), **rows},
        "entities": len(graph.entities),
        "relations": len(graph.relations),
        "skipped": {"unknown": graph.skipped, "wordless": graph.wordless},
        "truncated": sum(row.truncated for row in entities),
        "links": found,
        "ranked": min(rows[SPLIT], spec.links or rows[SPLIT]),
        "remarks": remarks(graph, entities, spec.entity_length),
        "parameters": checkpoint.unique_parameters(model),
        "weights": checkpoint.digest(source),
    }


def remarks(graph: Graph, entities: Sequence[Features], length: int) -> list[str]:
    """What was skipped or cut, a line each."""
    unknown, wordless = "an entity or relation that no training triple has", "an entity without words in the vocabulary"
    lines = [
        f"skipped {count} {name} triples: {reason}"
        for counts, reason in ((graph.skipped, unknown), (graph.wordless, wordless))
        for name, count in counts.items()
        if count
    ]
    cut = sum(row.truncated for row in entities)
    return lines + ([f"cut the words of {cut} entities to {length} pieces"] if cut else [])


def _links(
    spec: recipe.Knowledge, table: triples.Floats, graph: Graph, learnt: triples.Floats | None
) -> dict[str, Scores]:
    """Link prediction over an entity table (entities, hidden) by mean translations, and by `learnt` ones if given."""
    relations = {"means": knowledge.mean_translations(table, graph.splits["train"], len(graph.relations))}
    if learnt is not None:
        relations["learnt"] = learnt
    asked, known = graph.splits[SPLIT][: spec.links], graph.known
    return {
        name: triples.link_prediction(
            asked, known, triples.translation_score(table, vectors, spec.fuse.norm), len(table)
        )
        for name, vectors in relations.items()
    }


def _once(path: Path, compute: Callable[[], dict[str, Scores]]) -> dict[str, Scores]:
    """What was computed before the run was killed is not computed again."""
    if not path.is_file():
        write_json(path, compute())
    found: dict[str, Scores] = read_json(path)
    return found


def _check_lengths(spec: recipe.Knowledge, source: Path) -> None:
    checkpoint.family(source)  # explains a configuration that does not load
    limit = checkpoint.positions(AutoConfig.from_pretrained(source, trust_remote_code=False))
    for name in ("max_length", "entity_length"):
        if getattr(spec, name) > limit:
            raise AttarError(f"the teacher holds {limit} pieces", where=f"knowledge.{name}", fix=f"set it to {limit}")


def _card(licence: str) -> str:
    """A model card that carries the licence of the model it was made from."""
    stated = "" if licence.startswith("unknown") else f"license: {licence.partition(' (')[0]}\n"
    return f"---\n{stated}---\n\nA masked language model, fused with a knowledge graph (arXiv 1911.06136).\n"

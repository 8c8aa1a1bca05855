"""Every byte and every millisecond of a file has its layer."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from attar.benchmarks import graphs, layer_tables, layers, profile
from attar.benchmarks.graphs import Constant, Graph, Node
from attar.benchmarks.parts import Place, place_of
from attar.benchmarks.profile import Profile
from attar.benchmarks.record import LayerPart
from sample_run import sample
from test_inspect import int8_file as int8_file

HIDDEN, WIDE = 32, 64  # of the tiny teacher, which has two layers
ATTENTION = 4 * (HIDDEN * HIDDEN + HIDDEN) + 2 * HIDDEN
FEED_FORWARD = 2 * HIDDEN * WIDE + WIDE + HIDDEN + 2 * HIDDEN
ARRAYS = {name: np.ones((1, 16), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}


def by_place(found: list[LayerPart]) -> dict[tuple[str, int | None], LayerPart]:
    made = {(one.part, one.layer): one for one in found}
    assert len(made) == len(found)
    return made


@pytest.mark.parametrize("name", ["onnx_file", "ort_file", "int8_file"])
def test_the_parts_add_up_to_the_file_and_to_the_profile(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    run = profile.profile(path, ARRAYS)
    found = by_place(layers.parts(path, run))
    assert sum(one.bytes for one in found.values()) == path.stat().st_size
    assert sum(one.ms or 0 for one in found.values()) == pytest.approx(sum(run.times.values()))
    for layer in (1, 2):
        for part, size in (("attention", ATTENTION), ("feed-forward", FEED_FORWARD)):
            one = found[part, layer]
            assert one.parameters == size and one.ms and one.ms > 0
            assert one.bytes == 4 * size if name != "int8_file" else size <= one.bytes < 4 * size
    assert found["embeddings", None].ms and found["head", None].ms
    rest = [one for place, one in found.items() if place[0] not in layers.ORDER]
    assert sum(one.ms or 0 for one in rest) < 0.5 * sum(run.times.values())


def test_without_a_profile_the_bytes_are_known_and_no_times(onnx_file: Path) -> None:
    found = layers.parts(onnx_file)
    assert [one.ms for one in found] == [None] * len(found)
    order = [(one.layer, one.part) for one in found]
    assert order[:6] == [
        (None, "embeddings"),
        (1, "attention"),
        (1, "feed-forward"),
        (2, "attention"),
        (2, "feed-forward"),
        (None, "head"),
    ]


def graph(nodes: list[Node]) -> Graph:
    weights = ("wte.weight", "h.0.attn.q.weight", "h.0.attn.k.weight", "h.0.mlp.weight", "h.1.attn.q.weight")
    return Graph([Constant(f"transformer.{name}", (99,), 396) for name in weights], nodes)


NODES = [
    Node("Cast", "mask", ("attention_mask",), ("m",)),
    Node("Gather", "words", ("transformer.wte.weight", "input_ids"), ("x",)),
    Node("DynamicQuantizeLinear", "scale", ("x",), ("x8", "s")),
    Node("MatMul", "q", ("x8", "transformer.h.0.attn.q.weight"), ("a",)),
    Node("MatMul", "k", ("x8", "transformer.h.0.attn.k.weight"), ("b",)),
    Node("MatMul", "scores", ("a", "b"), ("c",)),
    Node("Add", "masked", ("m", "c"), ("d",)),
    Node("MatMul", "up", ("d", "transformer.h.0.mlp.weight"), ("e",)),
    Node("Gelu", "gelu", ("e",), ("f",)),
    Node("MatMul", "next", ("f", "transformer.h.1.attn.q.weight"), ("g",)),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_node_is_where_its_weight_is_or_where_its_input_was_made(seed: int) -> None:
    """Whatever the order in which a file keeps its nodes."""
    nodes = list(NODES)
    random.Random(seed).shuffle(nodes)
    first = Place("attention", 1)
    found = layers.places(graph(nodes))
    assert found.pop("scale") == first  # it is for what reads it
    assert found == {
        "mask": layers.NOWHERE,
        "words": Place("embeddings"),
        **dict.fromkeys(("q", "k", "scores", "masked"), first),
        **dict.fromkeys(("up", "gelu"), Place("feed-forward", 1)),
        "next": Place("attention", 2),
    }


def test_a_shared_layer_takes_the_time_of_all_its_uses() -> None:
    weight = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight"
    nodes = [Node("MatMul", name, (before, weight), (name,)) for before, name in (("x", "one"), ("one", "two"))]
    run = Profile(Graph([Constant(weight, (8, 8), 256)], nodes), {("one", "MatMul"): 1.5, ("two", "MatMul"): 2.5})
    assert layers._times(run) == {Place("attention", 1): 4.0}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("bert.encoder.layer.11.attention.self.query.weight", ("attention", 12)),
        ("/bert/encoder/layer.3/intermediate/dense/MatMul", ("feed-forward", 4)),
        ("distilbert.transformer.layer.1.ffn.lin1.weight", ("feed-forward", 2)),
        ("transformer.h.0.mlp.c_fc.weight", ("feed-forward", 1)),
        ("bert.embeddings.word_embeddings.weight", ("embeddings", None)),
        ("pre_classifier.weight", ("head", None)),
        ("val_83", None),
    ],
)
def test_names_tell_the_layer(name: str, place: tuple[str, int | None] | None) -> None:
    assert place_of(name) == place


def test_the_table_and_the_bars_hold_every_part() -> None:
    run = sample()
    assert run.layers is not None
    table = layer_tables.layers_table(run)
    assert [(row.cells[0].text, row.cells[0].note) for row in table.rows][:3] == [
        ("embeddings", ""),
        ("layer 1", "attention"),
        ("layer 1", "feed-forward"),
    ]
    shares = [float(row.cells[3].text) for row in table.rows]
    assert sum(shares) == pytest.approx(100, abs=0.4)
    size, time = layer_tables.layers_figures(run, "x")
    assert size.svg.count('class="part"') == len(run.layers.parts)
    assert time.svg.count('class="part"') == sum(bool(one.ms) for one in run.layers.parts)
    for number, one in enumerate(run.layers.parts):
        assert f"layers.parts[{number}].bytes" in size.svg
        assert (f"layers.parts[{number}].ms" in time.svg) == bool(one.ms)


def test_a_runtime_without_a_profiler_has_bytes_alone() -> None:
    run = sample()
    assert run.layers is not None
    run.layers.length = None
    for one in run.layers.parts:
        one.ms = None
    table = layer_tables.layers_table(run)
    assert "no profiler" in table.caption and [group for group, *_ in table.columns] == ["", "", "bytes", "bytes"]
    assert [figure.title for figure in layer_tables.layers_figures(run, "x")] == ["The bytes of the file"]
    run.layers = None
    assert layer_tables.layers_table(run).rows == [] and layer_tables.layers_figures(run, "x") == []


def test_the_profile_is_of_the_graph_that_ran(onnx_file: Path) -> None:
    run = profile.profile(onnx_file, ARRAYS)
    assert {name for name, _ in run.times} <= {node.name for node in run.graph.nodes}
    assert len(run.graph.nodes) < len(graphs.read(onnx_file).nodes)  # the runtime fused some
    shown = profile.operators(run, top=2)
    assert len(shown) == 3 and shown[-1]["part"] == "other"
    assert sum(one["share"] for one in shown) == pytest.approx(1)

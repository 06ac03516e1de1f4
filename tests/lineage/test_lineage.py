import dataclasses
import json
import xml.etree.ElementTree as ET

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import squareform
from support.definition import distance as defined_distance

from sac_fast.lineage.forest import groups_of, related_pairs, spanning_forest
from sac_fast.lineage.graph import save_graph
from sac_fast.lineage.relatives import Edge, find_relatives

N, K = 24, 5
ALPHA = 0.02  # of 66 distances between 12 independents: the threshold is the smallest of them


def family(rng, size, spread):
    """A model and size − 1 models near it, as outputs."""
    first = rng.standard_normal((N, K))
    return [first, *(first + spread * rng.standard_normal((N, K)) for _ in range(size - 1))]


@pytest.fixture(scope="module")
def zoo():
    """Two families, 12 independents and 3 loners, with all distances by the definition."""
    rng = np.random.default_rng(5)
    families = [family(rng, 5, 0.1), family(rng, 3, 0.2)]
    loners = [rng.standard_normal((N, K)) for _ in range(15)]
    names = [f"first/{i}" for i in range(5)] + [f"second/{i}" for i in range(3)]
    names += [f"independent/{i}" for i in range(12)] + [f"loner/{i}" for i in range(3)]
    outputs = [torch.from_numpy(o).float() for o in [*families[0], *families[1], *loners]]
    table = np.array([[defined_distance(a.numpy(), b.numpy(), "pearson") for b in outputs] for a in outputs])
    return names, outputs, table


def lineage_of(zoo, **options):
    names, outputs, _ = zoo
    known = [name for name in names if name.startswith("independent/")]
    return find_relatives(names, outputs, independents=known, metric="pearson", **{"alpha": ALPHA, **options})


def test_relatives_are_the_nearest_with_conformal_and_holm_p_values(zoo):
    names, _, table = zoo
    found = lineage_of(zoo, top=6)
    known = np.array([name.startswith("independent/") for name in names])
    assert list(found.relatives) == names
    for row, name in enumerate(names):
        order = [other for other in np.argsort(table[row], kind="stable") if other != row]
        holm = 0.0
        for rank, (relative, other) in enumerate(zip(found.relatives[name], order, strict=False)):
            assert relative.name == names[other]
            assert relative.distance == pytest.approx(table[row, other], abs=1e-6)
            null = [table[row, i] for i in np.flatnonzero(known) if i not in (row, other)]
            p = (1 + sum(d <= table[row, other] + 1e-7 for d in null)) / (1 + len(null))
            holm = max(holm, min(1.0, (len(names) - 1 - rank) * p))
            assert relative.p_value == pytest.approx(p)
            assert relative.p_holm == pytest.approx(holm)
        assert len(found.relatives[name]) == 6
    assert found.attainable_p_value == pytest.approx(1 / 13)


def test_families_are_the_groups_and_the_forest_spans_them(zoo):
    names, _, table = zoo
    found = lineage_of(zoo)
    known = [row for row, name in enumerate(names) if name.startswith("independent/")]
    between = table[np.ix_(known, known)][np.triu_indices(12, 1)]
    assert found.threshold == pytest.approx(between.min(), abs=1e-6)
    assert found.groups[0] == tuple(f"first/{i}" for i in range(5))
    assert found.groups[1] == tuple(f"second/{i}" for i in range(3))
    below = np.where(table < found.threshold - 1e-6, table, 0)  # the threshold is one of the distances
    expected = minimum_spanning_tree(np.triu(below, 1)).toarray()
    assert sum(edge.distance for edge in found.forest) == pytest.approx(expected.sum(), abs=1e-5)
    assert {(names.index(edge.a), names.index(edge.b)) for edge in found.forest} == set(
        zip(*np.nonzero(expected), strict=True)
    )


def test_only_the_models_asked_for(zoo):
    found = lineage_of(zoo, models=["second/1"], top=2)
    assert {relative.name for relative in found.relatives["second/1"]} == {"second/0", "second/2"}
    assert list(found.relatives) == ["second/1"]


def test_among_few_candidates_holm_counts_these(zoo):
    names, _, table = zoo
    found = lineage_of(zoo, among=["first/0", "second/0"], top=5)
    for name, relatives in found.relatives.items():
        others = [other for other in ("first/0", "second/0") if other != name]
        others.sort(key=lambda other: table[names.index(name), names.index(other)])
        assert [relative.name for relative in relatives] == others
        assert relatives[0].p_holm == pytest.approx(min(1.0, len(others) * relatives[0].p_value))
    assert found.relatives["first/3"][0].name == "first/0"
    assert found.groups == lineage_of(zoo).groups


def test_an_independent_is_not_in_its_own_null(zoo):
    names, _, table = zoo
    found = lineage_of(zoo, models=["independent/0"], top=1)
    (nearest,) = found.relatives["independent/0"]
    row = names.index("independent/0")
    null = [
        table[row, i]
        for i, n in enumerate(names)
        if n.startswith("independent/") and n not in (names[row], nearest.name)
    ]
    expected = (1 + sum(d <= nearest.distance for d in null)) / (1 + len(null))
    assert nearest.p_value == pytest.approx(expected)


def test_without_independents_there_are_distances_only(zoo):
    names, outputs, _ = zoo
    found = find_relatives(names, outputs, top=1)
    assert found.relatives["first/1"][0].p_value is None
    assert found.threshold is None
    assert found.groups == ()
    assert found.attainable_p_value is None
    assert "α = 0.01 needs 99" in found.notes[0]


def test_a_copy_is_no_row_of_its_own():
    rng = np.random.default_rng(1)
    outputs = [torch.from_numpy(rng.standard_normal((N, K))) for _ in range(30)]
    outputs.append(outputs[3].clone())
    names = [f"m{i}" for i in range(31)]
    found = find_relatives(names, outputs, independents=names[8:28], top=1, alpha=0.01)
    assert found.duplicates == {"m3": ("m30",)}
    assert "m30" not in found.relatives
    assert ("m3", "m30", 0.0, "equal") in found.forest
    assert ("m3", "m30") in found.groups


def test_all_pairs_below_the_threshold_however_many():
    rng = np.random.default_rng(2)
    outputs = [torch.from_numpy(row) for row in [*family(rng, 45, 0.05), *family(rng, 5, 0.05)]]
    table = np.array([[defined_distance(a.numpy(), b.numpy(), "cosine") for b in outputs] for a in outputs])
    threshold = float(np.sort(table[:45, :45][np.triu_indices(45, 1)])[600:602].mean())
    pairs = related_pairs(outputs, threshold, "cosine", False)
    expected = {(a, b) for a, b in zip(*np.nonzero(np.triu(table < threshold, 1)), strict=True)}
    assert set(zip(pairs.a, pairs.b, strict=True)) == expected
    np.testing.assert_allclose(pairs.distance, table[pairs.a, pairs.b], atol=1e-9)


def test_groups_are_scipys_average_linkage():
    rng = np.random.default_rng(3)
    outputs = [torch.from_numpy(row) for spread in (0.3, 0.5, 0.7) for row in family(rng, 8, spread)]
    table = np.array([[defined_distance(a.numpy(), b.numpy(), "cosine") for b in outputs] for a in outputs])
    threshold = float(np.quantile(table[np.triu_indices(24, 1)], 0.25))
    labels = fcluster(linkage(squareform(table, checks=False), "average"), threshold, "distance")
    expected = {tuple(np.flatnonzero(labels == label)) for label in set(labels) if (labels == label).sum() > 1}
    pairs = related_pairs(outputs, threshold, "cosine", False)
    groups = groups_of(outputs, pairs, threshold, "cosine", [])
    assert {tuple(group) for group in groups} == expected
    assert len(expected) >= 2
    assert [len(group) for group in groups] == sorted((len(group) for group in expected), reverse=True)


def test_the_forest_of_no_pairs_is_empty():
    rng = np.random.default_rng(4)
    outputs = [torch.from_numpy(rng.standard_normal((N, K))) for _ in range(4)]
    pairs = related_pairs(outputs, 0.0, "cosine", False)
    assert len(pairs.a) == 0
    assert spanning_forest(4, pairs) == []
    assert groups_of(outputs, pairs, 0.0, "cosine", []) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a"]}, "two or more models, got 1, 2"),
        ({"names": ["a", "a"]}, "names must be different, got 'a' twice"),
        ({"independents": ["c"]}, "independents must be among the 2 models, got 'c'"),
        ({"independents": ["a", "a"]}, "independents must be different"),
        ({"models": ["c"]}, "models must be among"),
        ({"among": ["c"]}, "among must be among"),
        ({"among": []}, "among must name at least one"),
        ({"top": 0}, "top must be"),
        ({"top": True}, "top must be"),
        ({"independents": {"a": "cousin"}}, "a kind of independents must be one of same-data-same-architecture, "),
        ({"max_weights": -1}, "max_weights must be at least 0, got -1"),
        ({"source": "c"}, "source must be among the 2 models, got 'c'"),
        ({"siblings": [torch.randn(4, 2)]}, "source must name the model of which the 1 siblings are"),
        ({"alpha": 1.0}, "alpha must lie"),
        ({"metric": "euclid"}, "metric must be"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    arguments = {"names": ["a", "b"], "outputs": [torch.randn(4, 2), torch.randn(4, 2)], **changes}
    with pytest.raises(ValueError, match=message):
        find_relatives(**arguments)


HOSTILE = 'loner/<b>&"]]>\\ \x1b[31m\u202e'


@pytest.fixture
def drawn(zoo):
    names, outputs, _ = zoo
    renamed = [HOSTILE if name == "second/2" else name for name in names]
    return lineage_of((renamed, outputs, None))


def test_graphml_holds_nodes_edges_and_distances(drawn, tmp_path):
    save_graph(tmp_path / "g.graphml", drawn, sources=["first/0"])
    graph = nx.read_graphml(tmp_path / "g.graphml")
    assert graph.number_of_edges() == len(drawn.forest)
    a, b, distance, ground = drawn.forest[0]
    assert graph.edges[a, b] == {"distance": pytest.approx(distance), "ground": "distance", "leaf": ""}
    assert ground == "distance"
    assert graph.nodes["first/0"] == {"group": 0, "independent": False, "source": True}


def test_json_is_node_link_data(drawn, tmp_path):
    save_graph(tmp_path / "g.json", drawn)
    graph = nx.node_link_graph(json.loads((tmp_path / "g.json").read_text()), edges="edges")
    assert graph.number_of_edges() == len(drawn.forest)


def test_svg_is_xml_with_every_model_of_the_forest(drawn, tmp_path):
    save_graph(tmp_path / "g.svg", drawn, sources=["first/0"])
    text = (tmp_path / "g.svg").read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    root = ET.fromstring(text)
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(word.startswith('loner/<b>&"]]>\\ \\x1b[31m\\u202e') for word in words)
    assert sum(word.startswith("first/") for word in words) == 5
    ends = {end for edge in drawn.forest for end in (edge.a, edge.b)}
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == len(ends)


@pytest.mark.parametrize("ending", ["graphml", "json", "dot", "svg"])
def test_names_that_print_alike_stay_nodes_of_their_own(drawn, tmp_path, ending):
    strange = dataclasses.replace(
        drawn,
        independents=("e\x01",),
        groups=(("a\x01", "b"), ("e\x01", "c"), (r"a\x01", r"e\x01")),
        forest=(
            Edge("a\x01", "b", 0.1, "distance"),
            Edge("e\x01", "c", 0.2, "weights"),
            Edge(r"a\x01", r"e\x01", 0.3, "equal"),
        ),
    )
    path = tmp_path / f"g.{ending}"
    save_graph(path, strange, sources=["a\x01"])
    nodes = {r"a\x01", r"a\x01 (2)", r"e\x01", r"e\x01 (2)", "b", "c"}
    if ending in ("graphml", "json"):
        text = path.read_text()
        graph = nx.parse_graphml(text) if ending == "graphml" else nx.node_link_graph(json.loads(text), edges="edges")
        assert set(graph.nodes) == nodes
        assert sorted(len(tree) for tree in nx.connected_components(graph)) == [2, 2, 2]
        assert [name for name, data in graph.nodes(data=True) if data["source"]] == [r"a\x01 (2)"]
        assert graph.edges[r"a\x01 (2)", "b"]["distance"] == 0.1
        assert [name for name, data in graph.nodes(data=True) if data["independent"]] == [r"e\x01 (2)"]
    elif ending == "dot":
        assert path.read_text().count(" -- ") == 3
    else:
        assert path.read_text().count("<circle") == 6
        assert path.read_text().count('class="s"') == path.read_text().count('class="i"') == 1


def test_dot_quotes_names(drawn, tmp_path):
    save_graph(tmp_path / "g.dot", drawn)
    text = (tmp_path / "g.dot").read_text()
    assert r'"loner/<b>&\"]]>\\ \\x1b[31m\\u202e"' in text
    assert text.count(" -- ") == len(drawn.forest)


def test_another_ending_and_a_missing_threshold_are_refused(zoo, drawn, tmp_path):
    with pytest.raises(ValueError, match=r"graph must end in \.graphml, \.dot, \.json, \.svg"):
        save_graph(tmp_path / "g.png", drawn)
    names, outputs, _ = zoo
    with pytest.raises(ValueError, match="graph needs a threshold"):
        save_graph(tmp_path / "g.svg", find_relatives(names, outputs))

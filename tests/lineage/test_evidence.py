"""What speaks for a relation: the pool by kind as `verify` judges, duplicates, weights and siblings."""

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, verify_fingerprints
from sac_fast.lineage import pair_weights
from sac_fast.lineage.duplicates import find_duplicates
from sac_fast.lineage.pair_weights import compare_pairs, near_pairs
from sac_fast.lineage.relatives import Relative, find_relatives
from sac_fast.lineage.result import Edge
from sac_fast.lineage.trees import join

N, K = 40, 6
RNG = np.random.default_rng(11)


def rows(spread=1.0, base=0.0):
    return torch.from_numpy(base + spread * RNG.standard_normal((N, K))).float()


TASK = RNG.standard_normal((N, K))
KINDS = {f"near {i}": "same-data" for i in range(6)} | {f"far {i}": "other-data" for i in range(9)}
OUTPUTS = {name: rows(0.7, TASK) if kind == "same-data" else rows() for name, kind in KINDS.items()}
OUTPUTS["near 5"] = OUTPUTS["near 4"] + 0.01 * rows()  # nearly the same null
OUTPUTS |= {"mine": rows(0.7, TASK), "other": rows(0.7, TASK), "far 0 copy": OUTPUTS["far 0"].clone()}
OUTPUTS["tuned"] = OUTPUTS["mine"] + 0.2 * rows()


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "pearson"])
def test_p_values_are_those_of_verify(declared, metric):
    independents = KINDS if declared else list(KINDS)
    found = find_relatives(list(OUTPUTS), list(OUTPUTS.values()), independents=independents, metric=metric, top=30)
    about = {"probe_hash": "sha256:" + "0" * 64}
    fingerprints = {
        name: Fingerprint(outputs, {**about, "name": name, "kind": KINDS.get(name) if declared else None})
        for name, outputs in OUTPUTS.items()
    }
    compared = 0
    for source in ("mine", "tuned", "near 4", "far 1"):
        for relative in found.relatives[source]:
            nulls = [fingerprints[name] for name in KINDS if name not in (source, relative.name)]
            judged = verify_fingerprints(
                fingerprints[source], fingerprints[relative.name], nulls, score="distance", metric=metric
            )
            assert relative.p_value == judged.verdict.p_value, (source, relative.name)
            compared += relative.p_value < 1
    assert compared > 25
    assert found.attainable_p_value == pytest.approx(1 / 6 if declared else 1 / 15)


def test_copies_with_scaled_outputs_are_one_independent():
    """No hash says so, and the outputs differ: 19 of them would give p = 0.05."""
    one = OUTPUTS["far 0"].double()
    copies = {f"copy {i}": (one * (1 + 1e-6 * i)).float() for i in range(19)}
    some = copies | {"mine": OUTPUTS["mine"], "tuned": OUTPUTS["tuned"]}
    for independents in (list(copies), dict.fromkeys(copies, "other-data")):
        found = find_relatives(list(some), list(some.values()), independents=independents, models=["mine"], top=3)
        (relative,) = [one for one in found.relatives["mine"] if one.name == "tuned"]
        assert relative.p_value == 0.5
        assert found.attainable_p_value == 0.5
        assert found.threshold is None


def test_kinds_that_are_missing_are_named():
    found = find_relatives(list(OUTPUTS), list(OUTPUTS.values()), independents=KINDS, top=2)
    assert found.hypothesis == (
        "The relative was made without the model in whose row it stands, and is one more independent of one of these "
        "kinds: same-data (5), other-data (9)."
    )
    missing = "same-data-same-architecture, same-backbone, other-backbone"
    assert f"no independents of the kinds: {missing}; p says nothing of them" in found.notes
    assert "1 independents are nearly the same model as another one: they count once" in found.notes
    assert "Nothing is said of the kinds same-data-same-architecture, other-classes" in " ".join(found.conditions)
    assert found.to_dict()["conditions"] == list(found.conditions)
    nothing = find_relatives(list(OUTPUTS), list(OUTPUTS.values()), top=2)
    assert (nothing.hypothesis, nothing.conditions) == (None, ())


def test_the_same_weights_in_two_files_are_one_null_and_one_row():
    """20 independents and 20 more files of theirs were 40 nulls, p = 0.0244, with a threshold of 0."""
    torch.manual_seed(0)
    outputs = {f"i{i}": torch.randn(N, K) for i in range(20)}
    mine = torch.randn(N, K)
    twins = {f"{name}.bin": given.clone() for name, given in outputs.items()}
    twins["i0.bin"] = torch.randn(N, K)  # the same hash, though asked for another output
    hashes = {"i0": "sha256:0", "i0.bin": "sha256:0"}
    everyone = {**outputs, **twins, "mine": mine, "stolen": mine + 0.1 * torch.randn(N, K)}
    found = find_relatives(
        list(everyone), list(everyone.values()), independents=[*twins, *outputs], hashes=hashes, top=1
    )
    assert found.duplicates == {f"i{i}": (f"i{i}.bin",) for i in range(20)}
    assert found.relatives["mine"][0].p_value == pytest.approx(1 / 21)
    assert len(found.independents) == 20
    assert found.threshold > 0.1
    assert list(found.relatives) == [*outputs, "mine", "stolen"]
    shown = find_relatives(list(everyone), list(everyone.values()), models=["i3.bin", "mine"], hashes=hashes)
    assert list(shown.relatives) == ["i3.bin", "mine"]
    assert shown.duplicates["i3.bin"] == ("i3",)


def test_equal_labels_and_empty_answers_are_no_duplicates():
    labels = torch.nn.functional.one_hot(torch.arange(N) % K, K).float()
    constant = torch.ones(N, K)
    assert find_duplicates(["a", "b"], [labels, labels.clone()], {}) == {}
    assert find_duplicates(["a", "b"], [constant, constant.clone()], {}) == {}
    assert find_duplicates(["a", "b"], [labels, labels.clone()], {"a": "x", "b": "x"}) == {"a": ("b",)}
    assert find_duplicates(["a", "b"], [rows(), rows()], {}) == {}


def test_pairs_are_the_nearest_of_each_first():
    near = {
        "a": (Relative("b", 0.1, None, None), Relative("c", 0.3, None, None)),
        "b": (Relative("a", 0.1, None, None), Relative("c", 0.2, None, None)),
        "c": (Relative("b", 0.2, None, None), Relative("a", 0.3, None, None)),
    }
    assert near_pairs(near, 9) == [("a", "b", 0.1), ("b", "c", 0.2), ("a", "c", 0.3)]
    assert near_pairs(near, 1) == [("a", "b", 0.1)]


def test_weights_of_pairs_by_holm_and_what_fails(tmp_path):
    sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]

    def save(name, arrays):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return tmp_path / f"{name}.npz"

    a = {f"{i}.weight": RNG.normal(size=size).astype("float32") for i, size in enumerate(sizes)}
    b = {f"{i}.weight": RNG.normal(size=size).astype("float32") for i, size in enumerate(sizes)}
    half = {name: array.astype("float16").astype("float32") for name, array in a.items()}
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    files = {"a": save("a", a), "b": save("b", b), "half": save("half", half), "gone": tmp_path / "gone.npz"}
    files["broken"] = tmp_path / "broken.npz"
    pairs = [("a", "half", 0.1), ("a", "b", 0.2), ("a", "gone", 0.3), ("a", "broken", 0.4), ("a", "unknown", 0.5)]
    found = compare_pairs(pairs, files)
    words = ["weights related", "not distinguished", "no file", "inconclusive", "no file"]
    assert [pair.verdict for pair in found] == words
    assert found[0].leaf == "half"
    assert found[0].p_holm == pytest.approx(3 * found[0].p_value)  # of the three pairs that have files
    assert [pair.p_holm for pair in found[1:]] == [1.0, None, 1.0, None]
    assert found[2].reason == "gone: No such file or directory"
    assert found[4].reason == "unknown: no file of weights is known"
    stamp = pair_weights.FileStamp.of(files["a"])
    changed = pair_weights.FileStamp(stamp.path, stamp.size, stamp.mtime_ns - 1, stamp.ctime_ns, stamp.inode)
    (pair,) = compare_pairs([("a", "half", 0.1)], {**files, "a": changed})
    assert (pair.verdict, pair.reason) == ("no file", "a: the file has changed since the model was asked")


def test_holm_can_take_a_verdict_back(monkeypatch, tmp_path):
    class Result:
        verdict, reason, p_value, facts = "weights related", "", 5e-4, {"coarser": {"a": 0, "b": 1}}

    monkeypatch.setattr(pair_weights, "weights_test", lambda *_, **__: Result)
    (tmp_path / "x").touch()
    files = dict.fromkeys("abc", tmp_path / "x")
    (alone,) = compare_pairs([("a", "b", 0.1)], files)
    assert (alone.verdict, alone.leaf) == ("weights related", "b")
    three = compare_pairs([("a", "b", 0.1), ("a", "c", 0.2), ("b", "c", 0.3)], files)
    assert {(pair.verdict, pair.reason, pair.leaf) for pair in three} == {
        ("inconclusive", "p = 0.0005, but 0.0015 adjusted for all pairs (Holm).", None)
    }


def test_siblings_judge_the_row_of_the_source():
    torch.manual_seed(1)
    task = 2 * torch.randn(200, K)
    source, *siblings = (task + torch.randn(200, K) for _ in range(20))
    outputs = {"mine": source, "honest": task + torch.randn(200, K), "thief": source + 0.5 * torch.randn(200, K)}
    outputs |= {"sibling": siblings[0], "independent": task + torch.randn(200, K)}
    found = find_relatives(
        list(outputs), list(outputs.values()), source="mine", siblings=siblings, independents=["independent"],
        alpha=0.05,
    )  # fmt: skip
    assert found.siblings.verdict == {"honest": "not distinguished", "thief": "derived"}
    (relative,) = [relative for relative in found.relatives["mine"] if relative.name == "thief"]
    assert relative.p_siblings == found.siblings.adjusted["thief"] == 0.05
    assert relative.grounds == ("siblings",)
    assert [(*edge[:2], edge.ground) for edge in found.forest] == [("mine", "thief", "siblings")]
    assert found.forest[0].distance == pytest.approx(relative.distance)
    assert found.groups == (("mine", "thief"),)
    few = find_relatives(list(outputs), list(outputs.values()), source="mine", siblings=siblings[:3])
    assert few.siblings is None
    assert "no sibling test: it needs 4 siblings, got 3" in few.notes


def test_groups_are_the_trees_of_the_forest_and_strong_grounds_go_first():
    edges = [Edge("a", "b", 0.1, "distance"), Edge("b", "c", 0.2, "distance"), Edge("a", "c", 0.3, "weights")]
    groups, forest = join(list("abcde"), [*edges, Edge("d", "e", 0.0, "equal")])
    assert groups == (("a", "b", "c"), ("d", "e"))
    assert forest == (("d", "e", 0.0, "equal"), edges[0], edges[2])


def test_table_and_drawing_have_the_same_edges():
    """Pairs of the table that are related by distance are in one tree, and no others are."""
    found = find_relatives(list(OUTPUTS), list(OUTPUTS.values()), independents=KINDS, alpha=0.02, top=30)
    tree = {name: group for group in found.groups for name in group}
    marked = {
        frozenset((name, relative.name))
        for name, near in found.relatives.items()
        for relative in near
        if "distance" in relative.grounds
    }
    expected = {
        frozenset((name, relative.name))
        for name, near in found.relatives.items()
        for relative in near
        if relative.distance < found.threshold and name in tree and relative.name in tree[name]
    }
    assert marked == expected
    assert frozenset(("mine", "tuned")) in marked
    of_distance = {frozenset(edge[:2]) for edge in found.forest if edge.ground == "distance"}
    assert of_distance <= marked

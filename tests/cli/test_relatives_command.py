import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sac_fast.store import ModelRecord, ModelStore
from sac_fast.store.records import FileStamp

PROBES, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
PREPROCESSING = "sha256:" + "c" * 64
N, K = 60, 6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A source, two models stolen from it, 20 independents, one failure, and one model under other probes."""
    folder = tmp_path_factory.mktemp("zoo") / "store"
    rng = np.random.default_rng(8)
    source = rng.standard_normal((N, K))
    outputs = {"source": source}
    outputs |= {f"stolen-{i}": source + 0.1 * i * rng.standard_normal((N, K)) for i in (1, 2)}
    outputs |= {f"independent-{i:02}": rng.standard_normal((N, K)) for i in range(20)}
    with ModelStore.open(folder, write=True, create=True) as made:
        for number, (name, values) in enumerate(outputs.items()):
            record = ModelRecord(
                name=name,
                path=f"/models/{name}",
                preprocessing_hash=PREPROCESSING,
                probe_hash=PROBES,
                model_hash=f"sha256:{number:064x}",
                tags=("independent",) if name.startswith("independent") else (),
            )
            made.add_results([(record.key, record, torch.from_numpy(values).float())])
        failed = ModelRecord(name="broken", path="/models/broken", probe_hash=PROBES)
        made.add_failure(failed, "truncated", "it is cut off")
        other = ModelRecord(name="source", path="/models/source", probe_hash=OTHER, model_hash=f"sha256:{0:064x}")
        made.add_results([(other.key, other, torch.from_numpy(source))])
    return folder


def test_json_names_the_source_of_the_stolen_models(run, store):
    code, out, _ = run("relatives", store, "--probe-hash", "aaa", "--metric", "pearson", "--json", "--quiet")
    assert code == 0
    found = json.loads(out)
    assert found["probe_hash"] == PROBES
    assert found["models"] == 23
    for stolen in ("stolen-1", "stolen-2"):
        nearest = found["relatives"][stolen][0]
        assert nearest["name"] == "source"
        assert nearest["p_value"] == pytest.approx(1 / 21)
        assert nearest["p_holm"] == 1.0  # 22 candidates, 20 nulls
    assert ["source", "stolen-1", "stolen-2"] in found["groups"]
    assert "1 models without outputs (failed or to be redone) are left out" in found["notes"]


def test_the_table_and_the_drawing(run, store, tmp_path):
    graph = tmp_path / "forest.svg"
    code, out, _ = run(
        "relatives",
        store,
        "--probe-hash",
        PROBES,
        "--name",
        "stolen-2",
        "--graph",
        graph,
        "--source",
        "source",
        "--quiet",
    )
    assert code == 0
    assert "group 1: source, stolen-1, stolen-2" in out
    assert "20 independents; no p-value below 0.0476" in out
    assert "is one more model like these 20 independents of undeclared kind" in " ".join(out.split())
    assert "no file" in out
    assert re.search(r"source +0\.\d+ +0\.0476 .*distance", out)
    assert graph.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message", "expected"),
    [
        ((), "probe_hash must start the hash of one of the store's probe sets", 1),
        (("--probe-hash", "c"), "0 fit", 1),
        (("--probe-hash", "a", "--name", "nobody"), "for --name: must name models with outputs in", 2),
        (("--probe-hash", "a", "--among", "nobody"), "for --among: must name", 2),
        (("--probe-hash", "a", "--source", "nobody"), "for --source: must name", 2),
        (("--probe-hash", "a", "--graph", "x.png"), "graph must end in .graphml, .dot, .json, .svg, got 'x.png'", 2),
        (
            ("--probe-hash", "a", "--no-weights", "--independent", "unknown", "--graph", "x.svg"),
            "for --graph: needs models tagged 'unknown' (zoo.csv, zoo.toml) with at least 99 distances between them",
            2,
        ),
        (("--probe-hash", "a", "--graph", "missing/x.svg"), "the folder of --graph must exist, got 'missing'", 1),
        (("--probe-hash", "a", "--alpha", "0"), "must be between 0 and 1", 2),
        (("--probe-hash", "b"), "at least two models", 1),
    ],
)
def test_what_is_wrong_is_said(run, store, arguments, message, expected):
    code, _, err = run("relatives", store, *arguments)
    assert code == expected
    assert message in " ".join(err.split())


def test_a_drawing_takes_as_many_independents_as_the_threshold(run, store, tmp_path):
    """20 independents have 190 distances: α = 1/191 has a threshold, a smaller one none."""
    graph = (
        "relatives",
        store,
        "--probe-hash",
        "a",
        "--no-weights",
        "--graph",
        tmp_path / "x.svg",
        "--quiet",
        "--alpha",
    )
    assert run(*graph, 1 / 191)[0] == 0
    assert (tmp_path / "x.svg").exists()
    code, out, err = run(*graph, 1 / 192, "--force")
    assert (code, out) == (2, "")
    assert "with at least 191 distances" in " ".join(err.split())


def test_the_table_is_not_lost_for_a_drawing_that_fails(run, store, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("sac_fast.lineage.graph.atomic_write", full)
    code, out, err = run("relatives", store, "--probe-hash", "a", "--graph", tmp_path / "x.svg", "--quiet")
    assert (code, err) == (1, "sac-fast: OSError: disk full\n")
    assert "group 1: source, stolen-1, stolen-2" in out


def test_a_folder_that_is_no_store(run, tmp_path):
    code, _, err = run("relatives", tmp_path)
    assert code == 1
    assert "must be a store" in err


@pytest.fixture
def files(tmp_path):
    """A source, its fine-tuned, pruned and rounded copies and a twin file, 5 siblings, and independents of two kinds.

    Their outputs are made up; the weights are files.
    """
    rng = np.random.default_rng(3)
    sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]

    def weights():
        return {f"{i}.weight": torch.from_numpy(rng.normal(size=size)).float() for i, size in enumerate(sizes)}

    task, mine = 2 * rng.standard_normal((N, K)), weights()
    source = task + rng.standard_normal((N, K))
    kept = {"source": (source, mine, ("source",)), "twin": (source.copy(), mine, ())}
    pruned = {name: array * (torch.rand(array.shape) > 0.3) for name, array in mine.items()}
    kept["pruned"] = (source + 0.1 * rng.standard_normal((N, K)), pruned, ())
    kept |= {f"sibling-{i}": (task + rng.standard_normal((N, K)), weights(), ("sibling",)) for i in range(5)}
    for kind in ("same-data", "other-data"):
        for i in range(6):
            of_kind = (task if kind == "same-data" else 0) + rng.standard_normal((N, K))
            kept[f"{kind}-{i}"] = of_kind, weights(), ("independent", kind)
    folder = tmp_path / "store"
    with ModelStore.open(folder, write=True, create=True) as made:
        for number, (name, (outputs, arrays, tags)) in enumerate(kept.items()):
            path = tmp_path / f"{name}.safetensors"
            save_file(arrays, path)
            record = ModelRecord(
                name=name,
                path=str(path),
                probe_hash=PROBES,
                model_hash=f"sha256:{number:064x}",
                preprocessing_hash=PREPROCESSING,
                tags=tags,
                file=FileStamp.of(path),
            )
            made.add_results([(record.key, record, torch.from_numpy(outputs).float())])
    return folder


def test_weights_siblings_and_kinds_of_a_store(run, files, tmp_path):
    code, out, err = run("relatives", files, "--top", "3", "--json", "--quiet", "--graph", tmp_path / "g.json")
    assert code == 0, err
    found = json.loads(out)
    assert found["duplicates"] == {"source": ["twin"]}
    (row, *_) = found["relatives"]["source"]
    assert (row["name"], row["weights"]) == ("pruned", "weights related")
    assert row["grounds"][0] == "weights"
    assert row["p_value"] == pytest.approx(1 / 7)  # of 6 nulls of each kind
    assert row["p_siblings"] is not None
    assert found["siblings"]["hypothesis"].startswith("The suspect was made without access to the source")
    assert set(found["siblings"]["verdict"]) == {"pruned"}
    assert "same-data (6), other-data (6)" in found["hypothesis"]
    (pair,) = [pair for pair in found["weights"] if {pair["a"], pair["b"]} == {"pruned", "source"}]
    assert (pair["leaf"], pair["older"]) == ("pruned", "source")
    assert found["groups"][0] == ["pruned", "source", "twin"]
    edges = {frozenset((edge["a"], edge["b"])): edge["ground"] for edge in found["forest"]}
    assert edges == {frozenset(("source", "twin")): "equal", frozenset(("source", "pruned")): "weights"}
    drawn = json.loads((tmp_path / "g.json").read_text())["edges"]
    assert {(edge["ground"], edge["leaf"]) for edge in drawn} == {("equal", ""), ("weights", "pruned")}
    assert {frozenset((edge["source"], edge["target"])) for edge in drawn} == set(edges)


def test_the_table_says_what_the_weights_and_siblings_say(run, files):
    code, out, _ = run("relatives", files, "--name", "source", "--top", "2", "--quiet")
    assert code == 0
    shown = " ".join(out.split())
    assert "source (= twin)" in shown
    assert "direction: pruned lost values that source has, so source was not made from it" in shown
    assert "claim: by its time stamp the file of source is the older" in shown
    assert "siblings of source (5), 1 suspects" in shown
    code, out, _ = run("relatives", files, "--no-weights", "--quiet")
    assert "weights" not in out


def test_siblings_go_with_one_source(run, store, tmp_path):
    code, _, err = run("relatives", store, "--probe-hash", "a", "--siblings", tmp_path)
    assert code == 2
    assert "needs --source once, with the name of its source in the store, got 0 sources" in " ".join(err.split())


def test_all_pairs_of_weights_are_compared_once(run, files):
    code, out, err = run("relatives", files, "--top", "1", "--json", "--quiet", "--all-weights")
    assert code == 0, err
    found = json.loads(out)
    pairs = {(pair["a"], pair["b"]): pair for pair in found["weights"]}
    assert set(pairs) == {("pruned", "source")}
    pair = pairs["pruned", "source"]
    assert (pair["verdict"], pair["leaf"], pair["older"]) == ("weights related", "pruned", "source")
    assert pair["p_holm"] < 1e-6
    assert found["groups"][0] == ["pruned", "source", "twin"]
    assert (files / "weights.sqlite").is_file()
    code, out, _ = run("store", "check", files)
    assert code == 0, out
    code, _, err = run("relatives", files, "--all-weights", "--no-weights")
    assert (code, "does not go with --no-weights" in err) == (2, True)

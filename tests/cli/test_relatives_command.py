import json

import numpy as np
import pytest
import torch

from sac_fast.store import ModelRecord, ModelStore

PROBES, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
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
            ("--probe-hash", "a", "--independent", "unknown", "--graph", "x.svg"),
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
    graph = ("relatives", store, "--probe-hash", "a", "--graph", tmp_path / "x.svg", "--quiet", "--alpha")
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

"""Results of other methods, read from the benchmark's file."""

import json
import math

import pytest
from support.labelled_zoos import make_zoo

from sac_fast.errors import FileFormatError
from sac_fast.evaluation.loaded_zoo import LoadedZoo
from sac_fast.evaluation.methods import read_peers
from sac_fast.evaluation.run import evaluate
from sac_fast.fingerprint import Fingerprint


def peers_file(path, loaded, **changes):
    scores = {m.name: None if m.origin == "transfer-all" else 0.5 for m in loaded.suspects}
    result = {"method": "akh", "title": "AKH", "paper": "AAAI 2025", "queries": 100, "prepare_seconds": 1.0,
              "median_suspect_seconds": 0.1, "scores": scores}  # fmt: skip
    path.write_text(json.dumps({"kind": "sac_fast baselines", "results": [result | changes]}))
    return path


def test_peers_are_read(tmp_path, loaded):
    (peer,) = read_peers(peers_file(tmp_path / "p.json", loaded), loaded.suspects)
    assert (peer.name, peer.source, peer.queries, peer.seconds) == ("AKH, 100 queries", "akh", 100, 0.1)
    assert math.isnan(peer.distances["transfer-all-0"])
    found, _ = evaluate(loaded.zoo.folder, presets=["robust"], peers=tmp_path / "p.json", resamples=20)
    assert found["methods"][1]["from"] == "akh"
    assert found["methods"][1]["mean_auc"] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": {}}, "KeyError"),
        ({"queries": "many"}, "ValueError"),
        ({"median_suspect_seconds": -1}, "seconds must be finite"),
        ({"scores": None}, "TypeError"),
    ],
)
def test_wrong_peers_are_refused(tmp_path, loaded, changes, message):
    with pytest.raises(FileFormatError, match=message):
        read_peers(peers_file(tmp_path / "p.json", loaded, **changes), loaded.suspects)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "x"}', "[" * 100_000, '{"kind": "sac_fast baselines"}'])
def test_no_peers_at_all(tmp_path, loaded, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(FileFormatError, match="must hold the results of bench_baselines"):
        read_peers(tmp_path / "p.json", loaded.suspects)


def test_an_independent_of_another_number_of_outputs(tmp_path, small_grid):
    zoo = make_zoo(tmp_path, n=30, independents=4, thieves=1)
    for name in zoo.probes:
        fp = zoo.load_fingerprint(name, "independent-0")
        Fingerprint(fp.outputs[:, :4], fp.provenance).save(zoo.fingerprint_file(name, "independent-0"))
    loaded = LoadedZoo.load(tmp_path)
    scores = {m.name: None if m.name == "independent-0" else 0.5 for m in loaded.suspects}
    peers = peers_file(tmp_path / "p.json", loaded, scores=scores)
    found, _ = evaluate(tmp_path, presets=["sac-jc"], scores=["agreement@plain"], peers=peers, with_grid=True,
                        resamples=10)  # fmt: skip
    assert [m["name"] for m in found["methods"]] == ["sac-jc"]
    reason = "distances of all independents are needed, and that of 'independent-0' is not defined"
    assert found["not_evaluated"] == {"agreement@plain": reason, "AKH, 100 queries": reason}
    # scores of outputs have no figures and come last; 4 regressions and 16 correlations have
    assert [row["mean_auc"] is None for row in found["grid"]] == [False] * 20 + [True] * 12
    assert {row["mean_tpr_5"] for row in found["grid"][20:]} == {None}
    json.dumps(found, allow_nan=False)

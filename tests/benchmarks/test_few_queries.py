"""The benchmark of label-only queries on a small zoo: who is called derived, and how many were asked."""

import json
import sys

import bench_few_queries
from support.labelled_zoos import make_zoo


def test_a_source_behind_labels_is_found_and_counted(tmp_path, monkeypatch):
    make_zoo(tmp_path / "zoo", n=120, siblings=19)
    monkeypatch.setattr(bench_few_queries, "LOOKS", (40, 80))
    monkeypatch.setattr(bench_few_queries, "DRAWN", 100)
    monkeypatch.setattr(bench_few_queries, "HONEST", 2)
    out = tmp_path / "r.json"
    monkeypatch.setattr(sys, "argv", ["bench", str(tmp_path / "zoo"), "--seeds", "2", "--json", str(out)])
    assert bench_few_queries.main() == 0
    result = json.loads(out.read_text())
    (rows,) = result["tasks"].values()
    by_kind = {row["suspect"]: row for row in rows}
    assert by_kind["source"] == {"suspect": "source", "judged": 2, "derived": 2, "worst_seed": 1.0, "queries": 80.0}
    assert by_kind["independent"]["judged"] == 4
    assert 40 <= by_kind["independent"]["queries"] <= 80

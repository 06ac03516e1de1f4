"""Outputs that say nothing: refused or inconclusive with the reason on every way to a verdict, never "p = 1"."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sac_fast import Fingerprint, find_relatives, scan_models, sibling_test, verify_fingerprints
from sac_fast.errors import FingerprintError
from sac_fast.models.output_form import reason_of_ties, to_form
from sac_fast.store import ModelStore

N = 60
HASH = "sha256:" + "0" * 64
# From random (60, 10) to outputs that hold no or hardly any correlations; by the name that the tests show.
EMPTY: dict[str, Callable[[Tensor], Tensor]] = {
    "one similarity": lambda x: torch.tanh(x[:, :1]),
    "one label": lambda x: torch.zeros(N, 1),
    "one class, one-hot": lambda x: torch.eye(10)[torch.zeros(N, dtype=torch.long)],
    "one row": lambda x: x[:1].expand(N, 10),
    "one row of probabilities": lambda x: x[:1].softmax(1).expand(N, 10),
    "rows of one value": lambda x: x[:, :1].expand(N, 10),
}
CENTRED: dict[str, Callable[[Tensor], Tensor]] = {
    "one logit": lambda x: 3 * x[:, :1],
    "one sigmoid": lambda x: torch.sigmoid(3 * x[:, :1]),
    "two logits": lambda x: x[:, :2],
    "two probabilities": lambda x: x[:, :2].softmax(1),
}
CASES = [(name, metric) for name in EMPTY for metric in ("cosine", "pearson", "spearman", "rbf")]
CASES += [(name, metric) for name in CENTRED for metric in ("pearson", "spearman")]


def models(count: int, make: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    found = torch.randn(count, N, 10, generator=torch.Generator().manual_seed(count))
    return [3 * one if make is None else make(one).clone() for one in found]


def named(name: str, outputs: Tensor) -> Fingerprint:
    return Fingerprint(outputs, {"name": name, "probe_hash": HASH})


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_null_pools_say_why(name: str, metric: str) -> None:
    good, bad = models(21), models(21, {**EMPTY, **CENTRED}[name])
    nulls = [named(f"null {i}", one) for i, one in enumerate(good[2:])]
    if name != "one similarity" or metric in ("pearson", "spearman"):  # beside a classifier it is a logit
        found = verify_fingerprints(named("source", good[0]), named("suspect", bad[0]), nulls, metric=metric).verdict
        assert found.verdict == "inconclusive"
        assert "no evidence" in found.reason
    with pytest.raises(FingerprintError, match="must have outputs that are evidence"):
        verify_fingerprints(named("source", bad[0]), named("suspect", bad[0]), nulls, metric=metric)


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_relatives_have_no_p_values(name: str, metric: str) -> None:
    names = [f"independent {i}" for i in range(19)]
    bad = models(21, {**EMPTY, **CENTRED}[name])
    found = find_relatives([*names, "mine", "yours"], bad, independents=names, metric=metric, models=["mine"])
    assert {relative.p_value for relative in found.relatives.get("mine", ())} <= {None}
    assert any("no evidence" in note for note in found.notes) or not found.relatives.get("mine")


@pytest.mark.parametrize("name", EMPTY)
def test_sibling_tests_say_why(name: str) -> None:
    good, bad = models(21), models(21, EMPTY[name])
    found = sibling_test(good[0], good[1:20], {"suspect": bad[0]})
    assert found.verdict == {"suspect": "inconclusive"}
    assert found.p_value == {"suspect": 1.0}
    if name == "one similarity":
        assert sibling_test(bad[0], bad[1:20], {"suspect": bad[0]}).verdict == {"suspect": "inconclusive"}
        return
    with pytest.raises(ValueError, match="source must be finite and vary, but its outputs are the same for all"):
        sibling_test(bad[0], good[1:20], {"suspect": good[20]})


def test_a_source_of_one_label_is_no_evidence_for_suspects_that_give_labels() -> None:
    good = models(21)
    source = good[0].clone()
    source[:, 3] += 100  # logits vary, the label does not
    found = sibling_test(source, good[1:20], {"labels": good[20].argmax(1).float()[:, None]})
    assert found.verdict == {"labels": "inconclusive"}
    assert "source's outputs are equal for all probes" in found.reason["labels"]


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_distances_of_ties_are_refused(name: str, metric: str) -> None:
    bad = models(2, {**EMPTY, **CENTRED}[name])
    one, two = named("a", bad[0]), named("b", bad[1])
    if name in CENTRED or (name == "rows of one value" and metric in ("cosine", "rbf")):
        assert one.distance(two, metric=metric) > 0.2  # a number by definition, of signs alone; no verdict takes it
    else:
        with pytest.raises(FingerprintError, match="must vary to be compared"):
            one.distance(two, metric=metric)


def test_one_sigmoid_stands_for_two_classes() -> None:
    p = torch.tensor([[0.25], [0.5], [0.875]])
    assert to_form(p, "probabilities").tolist() == [[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]]
    logits = torch.tensor([[math.log(3.0)], [0.0], [-math.log(7.0)]])  # sigmoids 3/4, 1/2, 1/8
    as_logs = to_form(logits, "log-probabilities", current="logits").exp()
    torch.testing.assert_close(as_logs, torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.875, 0.125]]))
    one, two = named("one", logits), named("two", torch.cat([torch.zeros(3, 1), logits], 1))
    assert one.distance(two) < 1e-6
    assert reason_of_ties(p, "cosine") == "outputs of one column have correlations of ±1 or 0 only"


def test_scans_store_no_distance_of_ties(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    good = models(2)
    rows = {"source": good[0], "other": good[1], **{name: make(good[1]) for name, make in EMPTY.items()}}
    for name, outputs in rows.items():
        np.save(tmp_path / "models" / f"{name}.npy", outputs.numpy())
    events: list[dict[str, object]] = []
    scan_models(tmp_path / "models", HASH, tmp_path / "s", sources=["source.npy"], workers=1, on_event=events.append)
    with ModelStore.open(tmp_path / "s", write=False) as store:
        found = {row.name for row in store.distances()}
    # Rows of one value have correlations of ±1 by their sign; what a cosine keeps of them is no tie.
    assert found == {"source.npy", "other.npy", "one similarity.npy", "rows of one value.npy"}

"""Accuracy on labelled probes: shown, kept, and told where it is far below that of the other models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.opened_models import opened

from sac_fast import Fingerprint, ModelEntry, ProbeSet, fingerprint, scan_models, verify_suspects
from sac_fast.models.accuracy import (
    accuracy_of,
    describe_accuracy,
    is_accuracy,
    low_accuracies,
    stated_accuracy,
)
from sac_fast.probes import misclassified
from sac_fast.store import ModelStore
from sac_fast.store.stored import stored_outputs

RNG = np.random.default_rng(0)
LABELS = np.arange(20) % 4
PROBES = ProbeSet.from_arrays(RNG.integers(0, 256, (20, 4, 4, 3), np.uint8), labels=LABELS)


def outputs_of(right: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Logits of four classes that name so many of the 20 labels."""
    logits = np.random.default_rng(seed).standard_normal((20, 4))
    named = np.where(np.arange(20) < right, LABELS, (LABELS + 1) % 4)
    logits[np.arange(20), named] += 9
    return logits


def test_the_share_of_labels_that_are_named() -> None:
    assert accuracy_of(outputs_of(13), LABELS, {}) == 0.65
    assert accuracy_of(outputs_of(13), None, {}) is None
    assert accuracy_of(outputs_of(13)[:, :3], LABELS, {}) is None  # fewer classes than labels
    assert accuracy_of(outputs_of(13), LABELS, {"selection": [{"kind": "misclassified"}]}) is None
    assert accuracy_of(outputs_of(13), LABELS[:19], {}) is None
    assert accuracy_of(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([0, 1]), {}) == 0.5  # the first of equals
    assert (describe_accuracy(0.65), stated_accuracy("accuracy 65.00% on the probes' labels; more")) == (
        "accuracy 65.00% on the probes' labels",
        0.65,
    )
    assert stated_accuracy("other; accuracy 65.00% on the probes' labels") is None
    assert stated_accuracy(None) is None
    assert is_accuracy(describe_accuracy(1.0))


@pytest.mark.parametrize(
    ("found", "low"),
    [
        ({"a": 0.9, "b": 0.92, "c": 0.91, "d": 0.3}, ["d"]),
        ({"a": 0.9, "b": 0.92, "c": 0.91, "d": 0.8}, []),  # less than a fifth
        ({"a": 0.9, "b": 0.92, "d": 0.3}, []),  # too few
        ({"a": 0.9, "b": 0.92, "c": None, "d": 0.3}, []),
        ({"a": 0.9, "b": 0.5, "c": 0.7, "d": 0.3}, []),  # they differ all the same
        ({"a": 0.05, "b": 0.1, "c": 0.08, "d": 0.0}, []),
        ({"a": 0.1, "b": 0.95, "c": 0.96, "d": 0.12, "e": 0.94, "f": 0.97, "g": 0.95}, ["a", "d"]),
    ],
)
def test_far_below_the_others(found: dict[str, float | None], low: list[str]) -> None:
    assert [line.partition(":")[0] for line in low_accuracies(found)] == low


def test_the_line_says_what_may_be_wrong() -> None:
    assert low_accuracies({"d": 0.3}, [0.9, 0.92, 0.91]) == [
        "d: accuracy 30.0% is far below that of the others (median 90.5%): it knows other classes, or takes other "
        "inputs (--size, --mean, --std, --preprocessing auto)"
    ]


def recorded(folder: Path, name: str, right: int, seed: int, probes: ProbeSet = PROBES) -> Fingerprint:
    np.save(folder / f"{name}.npy", outputs_of(right, seed)[: len(probes)])
    return fingerprint(opened(folder / f"{name}.npy"), probes, name=name)


def test_a_verdict_warns_of_a_suspect_that_was_asked_otherwise(tmp_path: Path) -> None:
    source, suspect = recorded(tmp_path, "mine", 19, 0), recorded(tmp_path, "theirs", 4, 1)
    assert (source.provenance["accuracy"], suspect.provenance["accuracy"]) == (0.95, 0.2)
    assert "accuracy 95.00% on the probes' labels" in source.provenance["notes"]
    nulls = [recorded(tmp_path, f"null {seed}", 18, seed) for seed in range(2, 8)]
    warned = verify_suspects(source, [suspect], nulls=nulls, alpha=0.2).warnings
    assert any(
        line.startswith("theirs: accuracy 20.0% is far below that of the others (median 90.0%)") for line in warned
    )
    fine = verify_suspects(source, [nulls[0]], nulls=nulls[1:], alpha=0.2).warnings
    assert not any("accuracy" in line for line in fine)


def test_probes_that_were_chosen_by_wrong_answers_have_no_accuracy(tmp_path: Path) -> None:
    chosen = misclassified(PROBES, recorded(tmp_path, "mine", 9, 0))
    assert len(chosen) == 11
    made = recorded(tmp_path, "mine", 9, 0, chosen)
    assert "accuracy" not in made.provenance


def test_scan_and_store_name_models_of_low_accuracy(tmp_path: Path) -> None:
    for seed in range(5):
        np.save(tmp_path / f"m{seed}.npy", outputs_of(3 if seed == 4 else 18, seed))
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        entries = [ModelEntry(f"m{seed}", tmp_path / f"m{seed}.npy") for seed in range(5)]
        summary = scan_models(entries, PROBES, store, workers=1)
        line = "m4: accuracy 15.0% is far below that of the others (median 90.0%)"
        assert [one.partition(": it knows")[0] for one in summary.low_accuracy] == [line]
        record = store.record_for("m4", PROBES.content_hash)
        assert record is not None
        assert (record.message or "").startswith("accuracy 15.00% on the probes' labels")
        again = scan_models(entries, PROBES, store, workers=1)
        assert (again.known, again.low_accuracy) == (5, summary.low_accuracy)
        assert summary.low_accuracy[0] in stored_outputs(store).notes

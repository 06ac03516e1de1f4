"""Distances of a scan's models to its sources: in every form those of fingerprints, and of most forms without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sac_fast import Fingerprint, FingerprintError, ProbeSet, correlation_distances, save_weights
from sac_fast.io.choices import Comparison, Metric
from sac_fast.scan import source_comparison
from sac_fast.scan.source_comparison import ComparedSource, SourceComparison
from sac_fast.store import ModelStore

PROBES = "sha256:" + "4" * 64
LOGITS = 3 * np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def softmax(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


OTHER = LOGITS[::-1] + LOGITS
OUTPUTS = {
    "logits": OTHER,
    "float64": OTHER.astype(np.float64) / 3,
    "columns": np.asfortranarray(OTHER),
    "wide": np.hstack([OTHER, OTHER]),
    "similarities": OTHER / np.abs(OTHER).max() / 2,
    "embeddings": OTHER / np.linalg.norm(OTHER, axis=1, keepdims=True),
    "probabilities": softmax(OTHER),
    "log-probabilities": np.log(softmax(OTHER)),
    "labels": OTHER.argmax(1).astype(np.float32)[:, None],
    "equal rows": np.repeat(OTHER[:1], 40, axis=0),
    "equal values": np.repeat(OTHER[:, :1], 6, axis=1),
    "one column": OTHER[:, :1],
}


def fingerprint(outputs: NDArray[np.float32], **more: str) -> Fingerprint:
    return Fingerprint(torch.from_numpy(outputs.copy()), {"name": "one", "probe_hash": PROBES, **more})


def source_of(mine: Fingerprint) -> ComparedSource:
    return ComparedSource(mine.name, mine.probe_hash, mine.array, mine)


def expected(mine: Fingerprint, outputs: NDArray[np.float32], metric: Metric, comparison: Comparison) -> float | None:
    try:
        return mine.distance(fingerprint(outputs), metric=metric, comparison=comparison)
    except FingerprintError:  # forms that do not go together, or no evidence
        return None


@pytest.mark.parametrize(
    ("metric", "comparison"), [("cosine", "l1"), ("pearson", "l1"), ("rbf", "l1"), ("spearman", "l1"), ("cosine", "l2")]
)
@pytest.mark.parametrize("form", ["logits", "probabilities", "labels", "similarities", "declared"])
def test_every_form_has_the_distance_of_fingerprints(form: str, metric: Metric, comparison: Comparison) -> None:
    sources = {
        "logits": fingerprint(LOGITS),
        "probabilities": fingerprint(softmax(LOGITS)),
        "labels": fingerprint(LOGITS.argmax(1).astype(np.float32)[:, None]),
        "similarities": fingerprint(LOGITS / np.abs(LOGITS).max()),
        "declared": fingerprint(LOGITS, output_form="embeddings"),
    }
    mine = sources[form]
    compared = SourceComparison([source_of(mine)], metric, comparison)
    found = compared.distances(source_of(mine), list(OUTPUTS.values()))
    wanted = [expected(mine, outputs, metric, comparison) for outputs in OUTPUTS.values()]
    assert [one is None for one in found] == [one is None for one in wanted]
    assert [one for one in found if one is not None] == pytest.approx([w for w in wanted if w is not None], abs=1e-6)
    assert sum(one is not None for one in found) >= 1
    assert found == [compared.distances(source_of(mine), [outputs])[0] for outputs in OUTPUTS.values()]


def test_plain_outputs_give_the_bits_of_the_op() -> None:
    mine = fingerprint(LOGITS)
    compared = SourceComparison([], "cosine", "l1")
    for name in ("logits", "float64", "columns", "wide"):
        wanted = correlation_distances(LOGITS, [OUTPUTS[name]]).tolist()
        assert compared.distances(source_of(mine), [OUTPUTS[name]]) == wanted, name
    assert compared.distances(source_of(mine), [LOGITS]) == [0.0]


def test_without_the_compiled_module_the_definition_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, compared = source_of(fingerprint(LOGITS)), SourceComparison([], "cosine", "l1")
    wanted = compared.distances(mine, [OUTPUTS["logits"]])
    monkeypatch.setattr(source_comparison._backend, "is_compiled", lambda: False)
    assert compared.distances(mine, [OUTPUTS["logits"]]) == pytest.approx(wanted, abs=1e-6)


def test_outputs_that_are_not_finite_reach_no_kernel() -> None:
    mine, compared = source_of(fingerprint(LOGITS)), SourceComparison([], "cosine", "l1")
    for value in (np.nan, np.inf, -np.inf):
        damaged = LOGITS.copy()
        damaged[3, 2] = value
        with pytest.raises(ValueError, match="must be finite"):
            compared.distances(mine, [LOGITS, damaged])


@pytest.mark.parametrize("source", ["0.safetensors", "source"])
def test_the_process_that_scans_networks_imports_no_torch(tmp_path: Path, source: str) -> None:
    """Its fork server does; two processes at it would slow each other down."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (40, 4, 4, 3), np.uint8), rng.integers(0, 5, 40)
    probes = ProbeSet.from_arrays(pixels, labels=labels)
    probes.save(tmp_path / "probes")
    (tmp_path / "models").mkdir()
    for number in range(3):
        torch.manual_seed(number)
        save_weights(tmp_path / "models" / f"{number}.safetensors", torch.nn.Linear(4, 5))
    code = (
        "import sys\n"
        "from sac_fast.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(', '.join(name for name in ('torch', 'scipy', 'h5py') if name in sys.modules) or 0)"
    )
    linear = 'torch.nn:Linear {"in_features": 4, "out_features": 5}'
    if source == "source":
        first = Fingerprint(
            pixels.reshape(40, -1)[:, :5] - np.float32(99), {"name": "s", "probe_hash": probes.content_hash}
        )
        first.save(tmp_path / source)
    words = ["models", "--probes", "probes", "--architecture", linear, "--source", source, "--workers", "1"]
    command = [sys.executable, "-c", code, "scan", *words, "--store", "store", "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["done"] == 3
    with ModelStore.open(tmp_path / "store", write=False) as store:
        found = {row.name: row.distance for row in store.distances()}
        mine, other = (store.outputs(store.record_for(f"{number}.safetensors")) for number in (0, 2))
    if source == "source":
        mine = first.outputs
    else:
        assert found["0.safetensors"] == 0.0
    assert found["2.safetensors"] == correlation_distances(mine, [other]).item() > 0

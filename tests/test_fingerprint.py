"""Fingerprints: what they record, that they survive the disk, and what they refuse."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sac_fast
from sac_fast.errors import FileFormatError, FingerprintError, ModelError
from sac_fast.fingerprint import Fingerprint, fingerprint
from sac_fast.io.container import save_container
from sac_fast.models import Preprocessing, weights_hash
from sac_fast.probes import ProbeSet

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 4, 4, 3), np.uint8)
PROBES = ProbeSet.from_arrays(PIXELS, name="noise")
HASH = "sha256:" + "a" * 64


def of(outputs: Any, probe_hash: str = HASH, name: str = "m") -> Fingerprint:
    return Fingerprint(torch.tensor(outputs), {"name": name, "probe_hash": probe_hash, "model_hash": None})


def test_fingerprint_records_what_was_done() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    preprocessing = Preprocessing(mean=(0.5,))
    result = fingerprint(model, PROBES, preprocessing=preprocessing, batch_size=4, name="mine")
    with torch.no_grad():
        expected = model(torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255.0 - 0.5)
    torch.testing.assert_close(result.outputs, expected)
    assert result.name == "mine"
    assert result.model_hash == weights_hash(model)
    assert result.probe_hash == PROBES.content_hash
    record = result.provenance
    assert record["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert record["preprocessing_hash"] == preprocessing.hash
    assert (record["output"], record["dtype"]) == (None, None)
    assert record["versions"]["torch"] == torch.__version__
    assert (record["probes"]["count"], record["probes"]["size"]) == (6, [4, 4])
    assert record["probes"]["source"]["name"] == "noise"
    assert "images" not in record["probes"]["source"]
    age = datetime.now(UTC) - datetime.fromisoformat(record["created"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert len(result) == 6
    assert "6 probes × 5 outputs" in repr(result)
    json.dumps(record)


def test_callables_and_options() -> None:
    def two(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"a": x.flatten(1), "b": x.mean((2, 3))}

    result = fingerprint(two, PROBES, output="b", dtype=torch.float64)
    assert result.outputs.shape == (6, 3)
    assert result.outputs.dtype == torch.float64
    assert (result.name, result.model_hash) == ("two", None)
    assert (result.provenance["output"], result.provenance["dtype"]) == ("b", "float64")
    assert fingerprint(nn.Flatten(), PROBES).name == "Flatten"
    with pytest.raises(ModelError, match="choices: 'a', 'b'"):
        fingerprint(two, PROBES)


def test_distance_of_known_outputs() -> None:
    # Cosine matrices: identity against all ones; they differ by 1 in two of four entries.
    a, b = of([[1.0, 0.0], [0.0, 2.0]]), of([[1.0, 1.0], [5.0, 5.0]])
    assert a.distance(b) == pytest.approx(0.5, abs=1e-6)
    assert a.distance(a) == 0.0
    assert a.distance(b, comparison="l2") == pytest.approx(0.5**0.5, abs=1e-6)
    # Pearson of two-column rows is 1 or -1: here -1 off the diagonal, against +1.
    c = of([[0.0, 1.0], [3.0, 4.0]])
    assert a.distance(c, metric="pearson", backend="reference") == pytest.approx(1.0, abs=1e-6)
    assert isinstance(a.distance(b), float)


def test_class_numbers_are_labels_and_never_a_logit() -> None:
    labels = fingerprint(lambda x: x.flatten(1).argmax(1), PROBES)
    assert labels.outputs.shape == (6, 1)
    assert (labels.output_form, labels.provenance["output_form_declared"]) == ("labels", False)
    assert "1 outputs (labels)" in repr(labels)
    one_hot = fingerprint(lambda x: nn.functional.one_hot(x.flatten(1).argmax(1), 48), PROBES)
    assert labels.distance(one_hot, metric="pearson") == one_hot.distance(labels) == 0.0
    # Equal labels correlate 1, others 0: 1 of 3 pairs differs, twice among 9 entries.
    assert of([[1.0], [2.0], [2.0]]).distance(of([[7.0], [8.0], [9.0]])) == pytest.approx(2 / 9, abs=1e-6)


def test_a_copy_that_gives_another_form_is_at_distance_zero() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    source = fingerprint(model, PROBES)
    for give in (lambda o: o.log_softmax(1), lambda o: o.softmax(1), lambda o: o.softmax(1).round(decimals=3)):
        copy = fingerprint(lambda x, give=give: give(model(x)), PROBES)
        assert copy.output_form != "logits"
        assert source.distance(copy) == pytest.approx(0.0, abs=1e-6)
        assert copy.distance(source) == pytest.approx(0.0, abs=1e-6)


def test_the_form_is_declared_checked_and_kept(tmp_path: Path, run: Any) -> None:
    result = fingerprint(nn.Flatten(), PROBES, output_form="embeddings")
    result.save(tmp_path / "f.safetensors")
    assert Fingerprint.load(tmp_path / "f.safetensors").output_form == "embeddings"
    assert fingerprint(
        sac_fast.open_model(sac_fast.ModelEntry("f", tmp_path / "f.safetensors")), PROBES
    ).output_form == ("embeddings")
    with pytest.raises(FingerprintError, match=r"'m' \(labels\) cannot .* 'Flatten' \(embeddings\): .* got labels"):
        result.distance(of(torch.arange(6.0)[:, None].tolist(), PROBES.content_hash))
    with pytest.raises(ModelError, match=r"output_form must be similarities or logits or embeddings .*, got 'labels'"):
        fingerprint(nn.Flatten(), PROBES, output_form="labels")
    with pytest.raises(FingerprintError, match=r"output_form must be one of .* got 'softmax'"):
        Fingerprint(torch.ones(2, 3), {**GOOD, "output_form": "softmax"})
    PROBES.save(tmp_path / "p")
    np.save(tmp_path / "r.npy", np.arange(6))
    code, out, _ = run("fingerprint", tmp_path / "r.npy", "--probes", tmp_path / "p", "--out", tmp_path / "g", "--json")
    assert (code, json.loads(out)["output_form"]) == (0, "labels")
    for form, message in (("softmax", "must be one of logits, "), ("top-k", "must be labels or logits or embeddings")):
        code, _, err = run(
            *("fingerprint", tmp_path / "r.npy", "--probes", tmp_path / "p", "--out", tmp_path / "h"),
            *("--output-form", form),
        )
        assert (code, "--output-form" in err, message in " ".join(err.replace("│", " ").split())) == (2, True, True)


def test_fingerprints_without_a_form_are_looked_at(tmp_path: Path) -> None:
    save_container(tmp_path / "f", "fingerprint", {"outputs": np.full((3, 4), 0.25)}, {"provenance": GOOD})
    loaded = Fingerprint.load(tmp_path / "f")
    assert ("output_form" in loaded.provenance, loaded.output_form) == (False, "probabilities")


def test_other_probes_are_refused() -> None:
    other = "sha256:" + "b" * 64
    with pytest.raises(FingerprintError) as caught:
        of([[1.0], [2.0]]).distance(of([[1.0], [2.0]], other, "their model"))
    assert HASH in str(caught.value)
    assert other in str(caught.value)
    assert "their model" in str(caught.value)
    with pytest.raises(FingerprintError, match=r"\(2 rows\), got .* \(3 rows\)"):
        of([[1.0], [2.0]]).distance(of([[1.0], [2.0], [3.0]]))


def test_other_preprocessing_is_allowed() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)

    one, two = (
        fingerprint(model, PROBES),
        fingerprint(model, PROBES, preprocessing=Preprocessing(size=(3, 3))),
    )
    assert one.distance(two) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_save_and_load(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "f.safetensors"
    result = fingerprint(nn.Flatten(), PROBES, dtype=dtype)
    result.save(path)
    loaded = Fingerprint.load(path)
    assert loaded.outputs.dtype == dtype
    assert torch.equal(loaded.outputs, result.outputs)
    assert loaded.provenance == result.provenance
    assert loaded.distance(result) == 0.0
    loaded.outputs.add_(1)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(FileFormatError, match=r"f\.safetensors"):
        Fingerprint.load(path)


def test_outputs_of_any_strides_are_saved(tmp_path: Path) -> None:
    turned = Fingerprint(torch.arange(6.0).reshape(2, 3).T, {"name": "m", "probe_hash": HASH})
    turned.save(tmp_path / "f")
    assert Fingerprint.load(tmp_path / "f").outputs.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_files_of_another_kind(tmp_path: Path) -> None:
    PROBES.save(tmp_path / "p")
    with pytest.raises(FileFormatError, match="must be a fingerprint file, got kind 'probes'"):
        Fingerprint.load(tmp_path / "p")
    of([[1.0], [2.0]]).save(tmp_path / "f")
    with pytest.raises(FileFormatError, match="must be a probes file, got kind 'fingerprint'"):
        ProbeSet.load(tmp_path / "f")


GOOD = {"name": "m", "probe_hash": HASH, "model_hash": None}


@pytest.mark.parametrize(
    ("outputs", "provenance", "message"),
    [
        (np.zeros(3, np.float32), GOOD, r"outputs must be float32 or float64 \(n, k\).*\(3,\)"),
        (np.zeros((0, 3), np.float32), GOOD, "n and k at least 1"),
        (np.zeros((3, 3), np.int64), GOOD, "got int64"),
        (np.array([[1.0], [np.nan]]), GOOD, "must be finite, got NaN or Inf in row 1"),
        (np.ones((2, 1)), {**GOOD, "probe_hash": "sha256:12"}, "must have probe_hash"),
        (np.ones((2, 1)), {**GOOD, "probe_hash": None}, "must have probe_hash|provenance.probe_hash must be str"),
        (np.ones((2, 1)), {**GOOD, "model_hash": 3}, "must have model_hash|provenance.model_hash must be str or null"),
        (np.ones((2, 1)), {**GOOD, "name": None}, "must have a name|provenance.name must be str"),
    ],
)
def test_what_is_no_fingerprint(
    tmp_path: Path, outputs: np.ndarray[Any, Any], provenance: dict[str, Any], message: str
) -> None:
    with pytest.raises(FingerprintError, match=message):
        Fingerprint(torch.from_numpy(outputs), provenance)
    save_container(tmp_path / "f", "fingerprint", {"outputs": outputs}, {"provenance": provenance})
    with pytest.raises(FileFormatError, match=f"must hold a fingerprint.*({message})"):
        Fingerprint.load(tmp_path / "f")


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({}, {"provenance": GOOD}),
        ({"outputs": np.ones((2, 1))}, {}),
        ({"outputs": np.ones((2, 1))}, {"provenance": []}),
        ({"outputs": np.ones((2, 1)), "more": np.ones(1)}, {"provenance": GOOD}),
        ({"outputs": np.ones((2, 1), np.uint16)}, {"provenance": GOOD}),
    ],
)
def test_sealed_files_that_hold_no_fingerprint(tmp_path: Path, arrays: Any, metadata: dict[str, Any]) -> None:
    save_container(tmp_path / "f", "fingerprint", arrays, metadata)
    with pytest.raises(FileFormatError, match=re.escape(f"{str(tmp_path / 'f')!r} must hold a fingerprint")):
        Fingerprint.load(tmp_path / "f")


def test_a_model_that_fails_gives_no_fingerprint() -> None:
    with pytest.raises(ModelError, match="must return 6 rows for a batch of 6, got 5"):
        fingerprint(lambda x: x[1:], PROBES)
    with pytest.raises(ModelError, match="got nan for probe 0"):
        fingerprint(lambda x: x * float("nan"), PROBES)


def test_kind_is_recorded_kept_and_one_of_a_closed_list(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    assert fingerprint(model, PROBES).kind is None
    made = fingerprint(model, PROBES, kind="same-data")
    made.save(tmp_path / "made")
    assert Fingerprint.load(tmp_path / "made").kind == "same-data"
    sibling = made.with_kind("sibling")
    assert (made.kind, sibling.kind, sibling.with_kind(None).kind) == ("same-data", "sibling", None)
    assert torch.equal(sibling.outputs, made.outputs)
    assert {**sibling.provenance, "kind": "same-data"} == made.provenance
    with pytest.raises(ValueError, match=r"kind must be one of same-data-.*, sibling, got 'similar'"):
        fingerprint(model, PROBES, kind="similar")
    with pytest.raises(FingerprintError, match=r"kind must be one of .*, got \['sibling'\]"):
        Fingerprint(torch.eye(3), {"name": "m", "probe_hash": HASH, "kind": ["sibling"]})
    assert of([[1.0, 2.0]]).kind is None

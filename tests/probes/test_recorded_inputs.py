"""Inputs of models that take no images: arrays of any shape by name, as `.npz` files and as sealed probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sac_fast import RecordedInputs, identify
from sac_fast.errors import FileFormatError, ModelRefusedError, ProbeError
from sac_fast.probes import ProbeSet, load_probes

RNG = np.random.default_rng(0)
SOUND = RNG.standard_normal((5, 16)).astype(np.float32)
RATE = np.array([8, 8, 16, 16, 8])


def test_npz_and_sealed_file_are_the_same_probes(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "i.npz", sound=SOUND, rate=RATE, labels=np.arange(5))
    probes = RecordedInputs.from_npz(tmp_path / "i.npz")
    assert list(probes.arrays) == ["sound", "rate"]
    np.testing.assert_array_equal(probes.arrays["sound"], SOUND)
    assert probes.arrays["rate"].dtype == np.int64
    assert probes.labels is not None
    assert probes.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(probes) == 5
    assert probes.provenance["source"]["name"] == "i.npz"
    probes.save(tmp_path / "sealed")
    assert identify(tmp_path / "sealed") == "inputs"
    for found in (load_probes(tmp_path / "sealed"), load_probes(tmp_path / "i.npz")):
        assert isinstance(found, RecordedInputs)
        assert found.content_hash == probes.content_hash
        np.testing.assert_array_equal(found.arrays["rate"], RATE)
    assert len(RecordedInputs.from_npz(tmp_path / "i.npz", limit=2)) == 2
    images = ProbeSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8))
    images.save(tmp_path / "images")
    assert isinstance(load_probes(tmp_path / "images"), ProbeSet)


def test_the_hash_is_of_names_values_dtypes_and_labels() -> None:
    plain = RecordedInputs({"x": SOUND})
    others = [
        RecordedInputs({"y": SOUND}),
        RecordedInputs({"x": SOUND + 1}),
        RecordedInputs({"x": SOUND.astype(np.float64)}),
        RecordedInputs({"x": SOUND.reshape(5, 4, 4)}),
        RecordedInputs({"x": SOUND}, np.arange(5)),
    ]
    assert len({plain.content_hash, *(other.content_hash for other in others)}) == 6
    swapped = RecordedInputs({"x": SOUND.astype(">f4")})
    assert swapped.content_hash == RecordedInputs({"x": np.asfortranarray(SOUND)}).content_hash == plain.content_hash
    with pytest.raises(ValueError, match="read-only"):
        plain.arrays["x"][0] = 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "1 to 64 arrays, got 0"),
        ({"x": SOUND, "y": SOUND[:4]}, "as many in all arrays"),
        ({"x": np.float32(3)}, r"\(fixed values go to --input\), got shape \(\)"),
        ({"x": SOUND[:0]}, r"got shape \(0, 16\)"),
        ({"x": np.where(SOUND > 1, np.nan, SOUND)}, "must be finite, got NaN or Inf in row"),
        ({"x": SOUND.astype(complex)}, "real numbers, got dtype complex128"),
        ({"x": np.array([["a"]] * 5)}, "real numbers"),
        ({"": SOUND}, "must have names"),
    ],
)
def test_what_is_no_input_is_refused(arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        RecordedInputs(arrays)


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SOUND)
    with pytest.raises(FileFormatError, match=r"must be an \.npz file of arrays, got npy"):
        RecordedInputs.from_npz(tmp_path / "a.npy")
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ModelRefusedError) as caught:
        RecordedInputs.from_npz(tmp_path / "o.npz")
    assert caught.value.reason == "object-array"
    RecordedInputs({"x": SOUND}).save(tmp_path / "sealed")
    data = bytearray((tmp_path / "sealed").read_bytes())
    data[-1] ^= 1
    (tmp_path / "sealed").write_bytes(data)
    with pytest.raises(FileFormatError, match="damaged"):
        load_probes(tmp_path / "sealed")
    with pytest.raises(ProbeError, match="one label an image"):
        RecordedInputs({"x": SOUND}, np.arange(4))

"""Probes from floats: one conversion, exact for every k / 255."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from sac_fast.errors import ProbeError
from sac_fast.probes import ProbeSet, verify_probes


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f2", ">f4", ">f8"])
def test_every_pixel_survives_as_a_float(tmp_path: Path, dtype: str) -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    floats = (np.arange(256) / 255).astype(dtype).repeat(3).reshape(1, 16, 16, 3)
    probes = ProbeSet.from_arrays(floats)
    np.testing.assert_array_equal(probes.images, every)
    assert probes.provenance["source"]["float_conversion"] == "round(255 x)"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = floats
    np.testing.assert_array_equal(ProbeSet.from_hdf5(tmp_path / "a.h5").images, every)
    assert verify_probes(ProbeSet.from_hdf5(tmp_path / "a.h5"), tmp_path / "a.h5").equal
    between = np.array([0.0, 0.49 / 255, 1.51 / 255, 254.3 / 255, 1.0, 0.502], dtype).reshape(1, 1, 2, 3)
    assert ProbeSet.from_arrays(between, layout="NHWC").images.ravel().tolist() == [0, 0, 2, 254, 255, 128]


@pytest.mark.parametrize("wrong", [-1e-3, 1.001, np.nan, np.inf])
def test_floats_outside_of_the_range_are_refused(tmp_path: Path, wrong: float) -> None:
    floats = np.full((2, 4, 4, 3), 0.5, np.float16)
    floats[1, 2, 3, 0] = wrong
    with pytest.raises(ProbeError, match=r"images must be floats in 0..1, got .* in image 1"):
        ProbeSet.from_arrays(floats)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = floats
    with pytest.raises(ProbeError, match=r"/data must be floats in 0..1, got .* in image 1"):
        ProbeSet.from_hdf5(tmp_path / "a.h5")


def test_probes_of_truncated_floats_can_still_be_verified(tmp_path: Path) -> None:
    floats = (np.arange(48).reshape(1, 4, 4, 3) / 255 + 0.003).astype(np.float32)  # 0.765 of a step higher
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = floats
    probes = ProbeSet.from_hdf5(tmp_path / "a.h5")
    assert probes.images.ravel().tolist() == list(range(1, 49))
    source = {**probes.provenance["source"], "float_conversion": "truncate(255 x)"}
    earlier = ProbeSet(probes.images - 1, None, {**probes.provenance, "source": source})
    assert verify_probes(earlier, tmp_path / "a.h5").equal
    assert not verify_probes(ProbeSet(probes.images, None, earlier.provenance), tmp_path / "a.h5").equal

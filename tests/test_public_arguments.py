"""The public functions for each use refuse nonsense before they write anything."""

import pytest

import sac_fast
from sac_fast.simulation import Architecture

HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"probes": 5}, TypeError, "probes must be a ProbeSet, RecordedInputs or the hash of one, got int"),
        ({"probes": "sha256:zz"}, ValueError, "probes must be a ProbeSet or .*, got 'sha256:zz'"),
        ({"metric": "perason"}, ValueError, "metric must be one of .*, got 'perason'"),
        ({"comparison": "l3"}, ValueError, "comparison must be one of .*, got 'l3'"),
        ({"workers": -1}, ValueError, "workers must be at least 1, got -1"),
    ],
)
def test_a_refused_scan_creates_no_store(tmp_path, arguments, error, message):
    models = tmp_path / "models"
    models.mkdir()
    with pytest.raises(error, match=message):
        sac_fast.scan_models(models, **{"probes": HASH, "store": tmp_path / "store", **arguments})
    assert not (tmp_path / "store").exists()


def test_a_refused_simulation_creates_no_folder(tmp_path):
    with pytest.raises(TypeError, match="source must be of type Architecture, got str"):
        sac_fast.simulate(tmp_path / "zoo", "package:net", None, None)
    with pytest.raises(TypeError, match="images must be of type SimulationImages, got NoneType"):
        sac_fast.simulate(tmp_path / "zoo", Architecture("package:net"), None, None)
    assert not (tmp_path / "zoo").exists()

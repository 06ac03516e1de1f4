"""A labelled zoo of invented models, and its evaluation."""

import pytest
from support.labelled_zoos import make_zoo

from sac_fast.evaluation.loaded_zoo import LoadedZoo
from sac_fast.evaluation.run import evaluate


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def loaded(zoo):
    return LoadedZoo.load(zoo.folder)


@pytest.fixture(scope="module")
def results(zoo):
    return evaluate(zoo.folder, scores=("agreement@plain:40",), resamples=50)[0]


@pytest.fixture
def small_grid(monkeypatch):
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_TRANSFORMS", ("raw",))
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_METRICS", ("cosine",))

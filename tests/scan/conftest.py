"""Workers, a store and a folder of models for scans."""

import pytest
from support.scan_runs import PROBES, SETTINGS, Kept

from sac_fast.scan.pool import WorkerPool
from sac_fast.store import ModelStore


@pytest.fixture(scope="module")
def shared_pool():
    pool = Kept(PROBES, ["cpu", "cpu"], SETTINGS)
    yield pool
    WorkerPool.close(pool)


@pytest.fixture
def pool(shared_pool):
    shared_pool.limit()
    shared_pool.submitted = 0
    return shared_pool


@pytest.fixture
def store(tmp_path):
    with ModelStore.open(tmp_path / "store", write=True, create=True) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "zoo"
    made.mkdir()
    return made

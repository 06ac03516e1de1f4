"""Jobs of the engine without processes."""

import pytest
from support.siblings import run_jobs_here


@pytest.fixture
def one_process(monkeypatch):
    """See `run_jobs_here`."""
    run_jobs_here(monkeypatch)

"""A store that is open, and the folder of one with three results and a failure."""

from __future__ import annotations

import pytest
from support.store_models import model, result

from sac_fast.store import ModelStore, additions


@pytest.fixture
def files_of_their_own(monkeypatch):
    """Small outputs too are files of their own, as in stores of earlier versions."""
    monkeypatch.setattr(additions, "_MAX_PACKED", 0)


@pytest.fixture
def folder(tmp_path):
    with ModelStore.open(tmp_path / "zoo", write=True, create=True) as store:
        store.add_results([result(1), result(2), result(3)])
        store.add_failure(model(4), "pickle", "refused")
    return tmp_path / "zoo"


@pytest.fixture
def store(tmp_path):
    with ModelStore.open(tmp_path / "zoo", write=True, create=True) as opened:
        yield opened

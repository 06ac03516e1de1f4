"""A store that is open, and the folder of one with three results and a failure."""

from __future__ import annotations

import shutil

import pytest
from support.store_models import model, result
from support.vector_stores import PROBES, add, outputs_of

from sac_fast.store import ModelStore, additions
from sac_fast.store.vectors import update_vectors


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


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a store with packed vectors of 64 models, and their outputs."""
    folder = tmp_path_factory.mktemp("vectors") / "store"
    outputs = outputs_of(64)
    with ModelStore.open(folder, write=True, create=True) as store:
        add(store, outputs[:60])
        assert update_vectors(store, PROBES) == 60
        add(store, outputs[60:], 60)
        assert update_vectors(store, PROBES) == 4
        assert update_vectors(store, PROBES) == 0
    return folder, outputs


@pytest.fixture
def copied(made, tmp_path):
    """Such a store that may be changed."""
    shutil.copytree(made[0], tmp_path / "store")
    return tmp_path / "store"

"""Searches in packed vectors of a store: in blocks, and in files that are shortened meanwhile."""

import os

import numpy as np
import pytest
from support.vector_stores import PROBES

from sac_fast.errors import StoreError
from sac_fast.store import ModelStore, stored_rows
from sac_fast.store.vectors import open_vectors, update_vectors


@pytest.mark.parametrize("name", ["head.u8", "tail.u8", "near"])
@pytest.mark.parametrize("size", [0, 1000, 4096])
def test_files_that_are_shortened_after_their_check_are_damaged(copied, name, size):
    """A mapping of the file would end the process by SIGBUS where whole pages are gone."""
    (path,) = (copied / "vectors" / "5555555555555555").glob(f"{name}*")
    dead, last = np.zeros(64, bool), np.array([63])
    with ModelStore.open(copied, write=True) as store:
        found = open_vectors(store, PROBES)
        assert found.nearest(last, 3, dead).shape == (1, 9)
        os.truncate(path, size)
        for top in (3, 40):
            if name == "near" or top == 40:
                with pytest.raises(ValueError, match=rf"{name}.*must have"):
                    found.nearest(last, top, dead)
        with pytest.raises(StoreError, match="store index --rebuild"):
            open_vectors(store, PROBES)
        assert update_vectors(store, PROBES) == 64
        assert set(open_vectors(store, PROBES).digests.tolist()) == set(found.digests.tolist())


def test_a_sweep_in_blocks_finds_the_same(made, monkeypatch):
    with ModelStore.open(made[0], write=False) as store:
        found = open_vectors(store, PROBES)
        dead, rows = np.zeros(64, bool), np.arange(64)
        dead[5:9] = True
        expected = found.nearest(rows, 40, dead)  # of so many rows at once in memory
        assert (expected[:, :40] >= 0).all()
        monkeypatch.setattr(stored_rows, "_BLOCK_BYTES", 7 * found.head.shape[1])
        for row in range(64):
            again = found.nearest(rows[row : row + 1], 40, dead)
            np.testing.assert_array_equal(again, expected[row : row + 1])

"""Fixtures of the tests of the ops."""

import pytest
from support import emulated_tiles


@pytest.fixture(scope="module")
def library():
    return emulated_tiles.library()

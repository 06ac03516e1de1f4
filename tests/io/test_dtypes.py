"""The table of dtypes agrees with torch."""

import torch

from sac_fast.io.dtypes import STORED_DTYPES


def test_sizes_are_those_of_torch():
    assert {row.name: row.item_bytes for row in STORED_DTYPES} == {
        row.name: getattr(torch, row.name).itemsize for row in STORED_DTYPES
    }

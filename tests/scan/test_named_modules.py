"""What a scan names in strings exists under that name."""

import importlib

import pytest

from sac_fast.scan.named_modules import NAMED


@pytest.mark.parametrize("spec", NAMED)
def test_every_name_leads_to_a_callable_of_its_module(spec):
    module, _, name = spec.partition(":")
    found = getattr(importlib.import_module(module), name)
    assert callable(found)
    assert found.__module__ == module

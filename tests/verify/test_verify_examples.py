"""The docstrings' examples of fingerprints and of the verdicts on them run."""

import importlib

import pytest
from support.examples import run_examples


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sac_fast.fingerprint", "Fingerprint"),
        ("sac_fast.fingerprint", "fingerprint"),
        ("sac_fast.verify.fingerprints", "verify_fingerprints"),
        ("sac_fast.verify.preset", "verify_fixed"),
    ],
)
def test_example(module, name):
    run_examples(importlib.import_module(module), name)

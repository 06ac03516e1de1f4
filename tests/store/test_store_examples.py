"""The docstring's example of the store runs."""

from support.examples import run_examples

from sac_fast.store import store


def test_example():
    run_examples(store, "ModelStore")

"""The example in the docstring of the public function runs."""

from support.examples import run_examples

from sac_fast import simulation


def test_the_example_runs():
    run_examples(simulation, "simulate")

"""The example in every exported docstring runs."""

import pytest
from support.examples import documented, run_examples

from sac_fast import attacks


@pytest.mark.parametrize("name", documented(attacks))
def test_the_example_runs(name):
    run_examples(attacks, name)

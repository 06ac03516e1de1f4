"""Every public docstring of sac_fast.probes has an example; those that need no extra run."""

import pytest
from support.examples import documented, run_examples

from sac_fast import probes


@pytest.mark.parametrize("name", documented(probes))
def test_example(name):
    run_examples(probes, name)

"""Every public docstring of sac_fast.verdict has an example that runs."""

import pytest
from support.examples import documented, run_examples

from sac_fast import verdict


@pytest.mark.parametrize("name", documented(verdict))
def test_example(name):
    run_examples(verdict, name)

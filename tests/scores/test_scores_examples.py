"""Every public docstring of sac_fast.scores has an example that runs."""

import pytest
from support.examples import documented, run_examples

from sac_fast import scores


@pytest.mark.parametrize("name", documented(scores))
def test_example(name):
    run_examples(scores, name)

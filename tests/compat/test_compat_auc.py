"""The area under the curve, to the last digit of the scripts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import script_formulas as plain
from support.script_values import outcome

from sac_fast.compat import sac, sac_jc

SCORES = [
    ([0.1, 0.2, 0.3], [0.4, 0.5], 1.0),
    ([0.4, 0.5], [0.1, 0.2, 0.3], 0.0),
    ([1.0, 1.0], [1.0, 1.0, 1.0], 0.5),
    ([0.1, 0.3], [0.2, 0.4], 0.75),
]


@pytest.mark.parametrize(("near", "far", "expected"), SCORES)
@pytest.mark.parametrize("make", [list, torch.tensor, lambda x: [torch.tensor(v) for v in x]], ids=range(3))
def test_auc_literals(near, far, expected, make):
    assert sac_jc.calculate_auc(make(near), make(far)) == expected
    assert sac_jc.calculate_auc(make(near), far) == expected


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
)
def test_auc_to_the_last_digit(near, far):
    expected = plain.calculate_auc(near, far)
    assert sac_jc.calculate_auc(near, far) == expected
    assert sac.calculate_auc(torch.tensor(near), torch.tensor(far, requires_grad=True)) == expected
    assert isinstance(sac.calculate_auc(near, far), type(expected))


@pytest.mark.parametrize(("near", "far"), [([math.nan], [1.0]), ([math.inf], [1.0]), ([], [])])
def test_auc_of_what_has_none(near, far):
    assert outcome(plain.calculate_auc, near, far) is ValueError
    assert outcome(sac_jc.calculate_auc, near, far) is ValueError

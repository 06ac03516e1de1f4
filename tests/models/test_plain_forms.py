"""Which outputs are certainly compared as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sac_fast.models.common_form import common_form, formed
from sac_fast.models.output_form import detect_output_form
from sac_fast.models.plain_forms import is_plain

PLAIN = ("logits", "similarities", "embeddings")
VALUES = st.one_of(st.sampled_from([-1.0, 0.0, 1.0, 0.5, 0.009, 0.011, -0.001, 100.0]), st.floats(-3, 3, width=32))


@given(arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=VALUES))
def test_plain_outputs_have_a_form_that_nothing_is_done_to(outputs: NDArray[np.float32]) -> None:
    if not is_plain(outputs):
        return
    rows = formed(torch.from_numpy(outputs))
    assert rows.form in PLAIN
    other = formed(torch.tensor([[2.5, -1.0]]).expand(len(outputs), 2).contiguous())
    assert common_form([other, rows]).rows(rows) is rows.outputs


@pytest.mark.parametrize(
    ("rows", "plain", "form"),
    [
        ([[2.0, -1.0], [0.0, 3.0]], True, "logits"),
        ([[0.6, -0.8], [-0.8, 0.6]], True, "embeddings"),
        ([[0.3, -0.4], [0.1, 0.2]], True, "similarities"),
        ([[0.25, 0.75], [0.5, 0.5]], False, "probabilities"),
        ([[0.0, 1.0], [1.0, 0.0]], False, "labels"),
        ([[-0.6931472, -0.6931472], [-0.2876821, -1.3862944]], False, "log-probabilities"),
        ([[-1.0], [1.0]], False, "labels"),
    ],
)
def test_forms(rows: list[list[float]], plain: bool, form: str) -> None:
    assert is_plain(np.array(rows)) is plain
    assert detect_output_form(torch.tensor(rows)) == form


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_plain(value: float) -> None:
    assert is_plain(np.array([[1.0, -1.0], [2.0, 0.5]]))
    assert not is_plain(np.array([[1.0, -1.0], [2.0, value]]))

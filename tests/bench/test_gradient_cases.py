"""The check of the benchmark's gradients: rows where the derivative jumps are left out, and no others."""

import numpy as np
import pytest
import torch

from sac_fast import _backend
from sac_fast.bench.gradient_cases import gradient, rows_without_ties


def cosines(x):
    rows = x.double().numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_rows_without_ties():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1203, 4, generator=generator) for _ in range(2))
    b[700, :], b[1100, :] = a[700], a[1100]  # their correlation with each other is the same in both
    differences = np.abs(cosines(a) - cosines(b)) + 9 * np.eye(1203)
    expected = (differences >= 1e-6).all(axis=1)
    clear = rows_without_ties(a, b)
    assert clear.tolist() == expected.tolist()
    assert not clear[[700, 1100]].any()
    assert clear.double().mean() > 0.98


@pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")
def test_a_sign_that_rounding_decides_does_not_refuse_right_gradients():
    case = gradient(2_000, 10, judged=False)  # two correlations differ by 6e-8
    assert "1,994 of 2,000 rows" in case.checked
    found = case.implementations[0].run()
    assert case.error(found) < 1e-5
    wrong = [found[0].clone(), found[1]]
    wrong[0][3] *= 1.1
    assert case.error(wrong) > 1e-4

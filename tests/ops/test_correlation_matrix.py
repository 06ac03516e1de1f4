import numpy as np
import pytest
import scipy.stats
import torch
from support import definition
from support.tolerances import DEFINITION, FLOAT32, HIGHEST, LITERAL

from sac_fast.ops import correlation_matrix, reference

METRICS = ["cosine", "pearson", "spearman", "rbf"]


@pytest.fixture(params=["auto", "reference"])
def backend(request):
    return request.param


def test_cosine_literal(backend):
    outputs = torch.tensor([[3.0, 4.0], [4.0, 3.0], [-3.0, -4.0], [0.0, 0.0]])
    expected = torch.tensor([[1, 0.96, -1, 0], [0.96, 1, -0.96, 0], [-1, -0.96, 1, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(correlation_matrix(outputs, backend=backend), expected, rtol=0, atol=LITERAL)


def test_pearson_literal(backend):
    # centred: (-1, 0, 1), (1, 0, -1), (0, 0, 0), (-1, 2, -1)
    outputs = torch.tensor([[1.0, 2, 3], [9, 8, 7], [5, 5, 5], [0, 3, 0]])
    expected = torch.tensor([[1.0, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    actual = correlation_matrix(outputs, metric="pearson", backend=backend)
    torch.testing.assert_close(actual, expected, rtol=0, atol=LITERAL)


def test_spearman_literal(backend):
    # ranks (1, 2, 3), (1, 3, 2), (1.5, 1.5, 3)
    outputs = torch.tensor([[0.0, 1, 100], [-5, 2, 1], [7, 7, 8]])
    r = np.sqrt(3) / 2
    expected = torch.tensor([[1.0, 0.5, r], [0.5, 1, 0], [r, 0, 1]], dtype=torch.float32)
    actual = correlation_matrix(outputs, metric="spearman", backend=backend)
    torch.testing.assert_close(actual, expected, rtol=0, atol=LITERAL)


def test_rbf_literal(backend):
    # unit rows at right angles are √2 apart; the zero row is 1 away from both
    outputs = torch.tensor([[2.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    e1, e2 = np.exp(-1.0), np.exp(-2.0)
    expected = torch.tensor([[1, e2, e1], [e2, 1, e1], [e1, e1, 1]], dtype=torch.float32)
    actual = correlation_matrix(outputs, metric="rbf", backend=backend)
    torch.testing.assert_close(actual, expected, rtol=0, atol=LITERAL)
    half = correlation_matrix(outputs, metric="rbf", sigma=1.0, backend=backend)
    torch.testing.assert_close(half, expected.sqrt(), rtol=0, atol=LITERAL)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_definition(metric, dtype, backend):
    outputs = torch.randn(33, 7, generator=torch.Generator().manual_seed(1)).to(dtype)
    actual = correlation_matrix(outputs, metric=metric, backend=backend)
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = definition.matrix(outputs.double(), metric)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=HIGHEST[dtype])


def test_pearson_and_spearman_are_numpys_and_scipys(backend):
    outputs = torch.randn(20, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pearson = correlation_matrix(outputs, metric="pearson", backend=backend)
    np.testing.assert_allclose(pearson, np.corrcoef(outputs), rtol=0, atol=DEFINITION)
    spearman = correlation_matrix(outputs, metric="spearman", backend=backend)
    np.testing.assert_allclose(spearman, scipy.stats.spearmanr(outputs.T).statistic, rtol=0, atol=DEFINITION)


def test_average_ranks_with_ties_are_scipys():
    x = torch.randint(0, 5, (50, 12), generator=torch.Generator().manual_seed(3)).float()
    np.testing.assert_array_equal(reference.average_ranks(x), scipy.stats.rankdata(x, axis=1))


def test_narrow_rbf_in_float32(backend):
    outputs = torch.randn(50, 64, generator=torch.Generator().manual_seed(4))
    outputs[25:] = outputs[:25] + 1e-3  # close pairs, where 1/(2σ²) = 5000 magnifies every rounding
    actual = correlation_matrix(outputs, metric="rbf", sigma=0.01, backend=backend)
    expected = definition.matrix(outputs.double(), "rbf", 0.01)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=FLOAT32)


def test_names_itself_in_errors():
    with pytest.raises(ValueError, match=r"outputs must have shape \(n, k\), got \(3,\)"):
        correlation_matrix(torch.zeros(3))
    with pytest.raises(ValueError, match="outputs must be finite, got NaN or Inf in row 2"):
        correlation_matrix(torch.tensor([[1.0], [2.0], [float("nan")]]))

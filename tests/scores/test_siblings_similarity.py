import numpy as np
import pytest

from sac_fast.scores.cohort import similarity_given_cohort
from sac_fast.scores.siblings_similarity import Products, similarities_given_members


def made(count, suspects, seed=0):
    """Vectors of length 1 with a common part, one suspect made from member 2."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count + suspects, 30)) + 2 * rng.standard_normal(30)
    rows[count] = rows[2] + 0.3 * rng.standard_normal(30)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def products_of(rows, count):
    return Products(rows[:count] @ rows[:count].T, rows[count:] @ rows[:count].T)


def by_definition(rows, tau, x, j, rest):
    mean = rows[rest].mean(axis=0)
    spread = rows[rest] - mean
    inverse = np.linalg.inv(tau * np.eye(rows.shape[1]) + spread.T @ spread)
    a, b = rows[j] - mean, rows[x] - mean
    return (a @ inverse @ b) / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))


@pytest.mark.parametrize(("count", "shrinkage"), [(5, 0.1), (7, 0.1), (10, 0.01), (7, 10.0)])
def test_closed_form_is_the_definition(count, shrinkage):
    rows = made(count, 3)
    found = similarities_given_members(products_of(rows, count), shrinkage)
    residuals = rows[:count] - rows[:count].mean(axis=0)
    tau = shrinkage * np.square(residuals).sum() / count
    for j in range(count):
        rest = [c for c in range(count) if c != j]
        for x in range(3):
            assert found.suspects[x, j] == pytest.approx(by_definition(rows, tau, count + x, j, rest), abs=1e-10)
        for i in rest:
            others = [c for c in rest if c != i]
            assert found.among[j, i] == pytest.approx(by_definition(rows, tau, i, j, others), abs=1e-10)
    assert np.isnan(np.diagonal(found.among)).all()
    assert found.suspects[0].argmax() == 2


def test_nearly_the_similarity_of_a_cohort_of_the_other_members():
    # the shrinkage is relative to all members here, to the others there
    rows = made(8, 2)
    found = similarities_given_members(products_of(rows, 8))
    gram = rows @ rows.T
    for j in range(8):
        expected = similarity_given_cohort(gram, j, [8, 9], [c for c in range(8) if c != j], 0.1)
        np.testing.assert_allclose(found.suspects[:, j], expected, atol=0.02)


def test_suspects_with_constant_outputs_are_similar_to_nobody():
    rows = made(5, 2)
    rows[6] = 0.0
    assert similarities_given_members(products_of(rows, 5)).suspects[1].tolist() == [0.0] * 5


def test_equal_members_are_no_error():
    rows = np.repeat(made(3, 1)[:1], 6, axis=0)
    found = similarities_given_members(products_of(rows, 5))
    assert np.isfinite(found.suspects).all()
    assert np.isfinite(found.among[~np.eye(5, dtype=bool)]).all()

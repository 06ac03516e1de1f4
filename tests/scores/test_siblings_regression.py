"""The regression of suspects on all members: its definition by brute force, symmetry, what it does not depend on."""

import numpy as np
import pytest
import torch

from sac_fast.scores.siblings_regression import RIDGE, explained_by_members

N, K, J = 90, 4, 5


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def models(count, k=K, seed=0):
    return list(draw(count, N, k, seed=seed) + 2 * draw(N, k, seed=99))


def unchanged(rows):
    return rows


def test_it_is_its_definition():
    members, suspect = models(J), draw(N, 3, seed=5)
    stacked = np.stack([m.numpy() for m in members])
    mean = stacked.mean(axis=0)
    blocks = [b - b.mean(axis=0) for b in (mean, *(m - mean for m in stacked))]
    penalty = RIDGE * np.mean(np.square(np.concatenate(blocks, axis=1)).sum(axis=0))
    y = suspect.numpy() - suspect.numpy().mean(axis=0)
    y = y / np.linalg.norm(y)

    def left(kept):
        x = np.concatenate(kept, axis=1)
        w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
        return np.square(y - x @ w).sum() + penalty * np.square(w).sum()

    wanted = [np.log(left(blocks[: 1 + j] + blocks[2 + j :]) - left(blocks)) for j in range(J)]
    np.testing.assert_allclose(explained_by_members(members, [suspect], unchanged).suspects[0], wanted, rtol=1e-8)


def test_members_are_treated_alike_and_suspects_do_not_matter_to_each_other():
    members, suspects = models(7), [draw(N, k, seed=k) for k in (2, 4, 9)]
    found = explained_by_members(members, suspects, unchanged).suspects
    order = [4, 0, 6, 2, 1, 5, 3]
    turned = explained_by_members([members[j] for j in order], suspects[1:], unchanged).suspects
    np.testing.assert_allclose(turned, found[1:, order], rtol=1e-8)


@pytest.mark.parametrize("k", [K, 40, 200])
def test_a_model_moved_to_other_classes_is_explained_by_its_own_member(k):
    """With 40 classes and 6 members principal components are taken, with 200 there are more columns than probes."""
    members = [model + draw(N, k, seed=50 + i) for i, model in enumerate(models(6, k))]
    moved = torch.tanh(members[2]) @ draw(k, 3, seed=7)
    assert int(explained_by_members(members, [moved], unchanged).suspects.argmax()) == 2


def test_rotations_and_scales_of_the_suspect_change_nothing():
    members, suspect = models(J), draw(N, 5, seed=8)
    rotation = torch.linalg.qr(draw(5, 5, seed=9)).Q
    found = explained_by_members(members, [suspect, 100 * suspect @ rotation + 3], unchanged).suspects
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8)


def test_constant_suspects_and_equal_members_are_finite():
    members = models(J)
    found = explained_by_members(members, [torch.ones(N, 2)], unchanged).suspects
    assert (found == found[0, 0]).all()
    same = explained_by_members([members[0]] * J, [draw(N, 2, seed=3)], unchanged).suspects
    assert np.isfinite(same).all()

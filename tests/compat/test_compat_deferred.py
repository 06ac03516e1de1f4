"""Matrices that are formed on demand, as the scripts subtract them."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from support import script_formulas as plain
from support.script_values import random

from sac_fast.compat.deferred import DeferredMatrix


def one(x):
    return plain.correlation_sac_jc(x, x)


def half(x):
    return plain.correlation_sac(x, x)


A, B = random(30, 7), random(30, 7, seed=1)


def deferred(x=A, form=one, factor=1.0):
    return DeferredMatrix((x,), form, factor)


def is_formed(matrix):
    return matrix._matrix is not None


FUSED = {
    "scripts": lambda a, b: torch.sum(torch.abs(a - b)) / (a.shape[0] * a.shape[1]),
    "methods": lambda a, b: a.sub(b).abs().sum() / a.numel(),
    "mean": lambda a, b: torch.mean(torch.abs(torch.sub(a, b))),
    "mean method": lambda a, b: abs(a - b).mean(),
    "absolute": lambda a, b: torch.absolute(torch.subtract(a, b)).sum() / len(a) ** 2,
}


@pytest.mark.parametrize("expression", FUSED.values(), ids=FUSED)
@pytest.mark.parametrize(("form", "factor"), [(one, 1.0), (half, 0.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_scripts_expression_is_fused(expression, form, factor, dtype):
    x, y = A.to(dtype), B.to(dtype)
    a, b = deferred(x, form, factor), deferred(y, form, factor)
    got, expected = expression(a, b), expression(form(x), form(y))
    assert type(got) is torch.Tensor
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert not is_formed(a)
    assert not is_formed(b)


NOT_FUSED = {
    "sum": lambda a, b: torch.sum(a),
    "difference": lambda a, b: (a - b)[:3],
    "sum of difference": lambda a, b: (a - b).sum(),
    "absolute": lambda a, b: torch.abs(a),
    "rows": lambda a, b: torch.sum(torch.abs(a - b), 1),
    "keepdim": lambda a, b: torch.sum(torch.abs(a - b), dim=(0, 1), keepdim=True),
    "dtype": lambda a, b: torch.sum(torch.abs(a - b), dtype=torch.float64),
    "alpha": lambda a, b: torch.sum(torch.abs(torch.sub(a, b, alpha=2))),
    "number": lambda a, b: torch.sum(torch.abs(a - 0.5)),
    "from number": lambda a, b: 1 - a,
    "tensor": lambda a, b: torch.sum(torch.abs(a - torch.ones(30, 30))),
    "twice": lambda a, b: torch.sum(torch.abs(torch.abs(a - b) - a)),
    "difference of differences": lambda a, b: ((a - b) - (b - a)).abs().sum(),
    "square": lambda a, b: ((a - b) ** 2).sum(),
    "norm": lambda a, b: torch.linalg.norm(a - b),
    "stack": lambda a, b: torch.stack([a, b]),
    "transposed": lambda a, b: a.T @ b,
    "indexing": lambda a, b: a[3, 4] + b[0, :2],
    "copy": lambda a, b: copy.deepcopy(a) + a.clone() + b.detach() + b.cpu() + b.double(),
    "data": lambda a, b: a.data,
    "maximum": lambda a, b: torch.max(a, 1)[0],
    "out": lambda a, b: torch.sub(a, b, out=torch.empty(30, 30)),
}


@pytest.mark.parametrize("expression", NOT_FUSED.values(), ids=NOT_FUSED)
def test_anything_else_forms_the_matrix(expression):
    got, expected = expression(deferred(A), deferred(B)), expression(one(A), one(B))
    assert type(got) is torch.Tensor
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_what_is_known_without_the_matrix():
    matrix, full = deferred(), one(A)
    assert isinstance(matrix, torch.Tensor)
    assert matrix.shape == full.shape == (30, 30)
    assert (matrix.size(), matrix.size(1), matrix.dim(), matrix.ndim) == ((30, 30), 30, 2, 2)
    assert (len(matrix), matrix.numel(), matrix.dtype, matrix.device) == (30, 900, torch.float32, full.device)
    assert not matrix.requires_grad
    assert not matrix.is_cuda
    assert not is_formed(matrix)


def test_leaving_pytorch():
    full = one(A)
    np.testing.assert_array_equal(deferred().numpy(), full.numpy())
    np.testing.assert_array_equal(np.asarray(deferred()), full.numpy())
    assert deferred().tolist() == full.tolist()
    assert repr(deferred()) == repr(full)
    assert [row.tolist() for row in deferred()] == full.tolist()
    file = io.BytesIO()
    torch.save(deferred(), file)
    file.seek(0)
    assert torch.equal(torch.load(file), full)


def test_changes_are_kept():
    matrix = deferred()
    matrix[0, 1] = 5
    matrix.add_(1)
    expected = one(A)
    expected[0, 1] = 5
    expected += 1
    assert torch.equal(matrix.clone(), expected)
    difference = torch.abs(matrix - deferred(B)).sum()
    torch.testing.assert_close(difference, torch.abs(expected - one(B)).sum())


def test_a_difference_is_that_of_its_time():
    matrix = deferred()
    difference = matrix - deferred(B)
    matrix += 100
    torch.testing.assert_close(difference.abs().mean(), (one(A) - one(B)).abs().mean(), rtol=0, atol=1e-6)


def test_matrices_of_different_kinds_or_sizes():
    expected = torch.abs(one(A) - half(B)).sum()
    torch.testing.assert_close(torch.abs(deferred(A) - deferred(B, half, 0.5)).sum(), expected)
    with pytest.raises(RuntimeError, match="must match"):
        deferred(A) - deferred(B[:20])
    mixed = torch.abs(deferred(A) - deferred(B.double())).sum()
    torch.testing.assert_close(mixed, torch.abs(one(A) - one(B.double())).sum())


def test_nan_and_half_precision_follow_the_formula():
    broken = A.clone()
    broken[3, 3] = math.nan
    assert torch.isnan(torch.sum(torch.abs(deferred(broken) - deferred(B))))
    x, y = A.half(), B.half()
    assert torch.equal(FUSED["scripts"](deferred(x), deferred(y)), FUSED["scripts"](one(x), one(y)))

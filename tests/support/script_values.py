"""Random values, and comparisons with the scripts' own."""

import torch


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# Largest |difference| in units of max(1, |value|). Half precision: one rounding of values of order 1; float32 and
# float64: the figure that the drop-in promises, whatever the order of a product's sums.
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-6, torch.float64: 1e-6}


def outcome(function, *arguments):
    """The value, or the exception's type."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error)


def assert_same(ours, theirs):
    """Same type, shape, dtype and device, and values within the table, NaN and Inf at the same places."""
    assert type(ours) is type(theirs), (ours, theirs)
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs
        return
    assert (ours.shape, ours.dtype, ours.device) == (theirs.shape, theirs.dtype, theirs.device)
    assert not ours.requires_grad
    tolerance = TOLERANCE.get(theirs.dtype, 0)
    ours, theirs = ours.double(), theirs.detach().double()
    finite = torch.isfinite(theirs)
    torch.testing.assert_close(ours[~finite], theirs[~finite], equal_nan=True)
    error = (ours - theirs)[finite].abs() / theirs[finite].abs().clamp(min=1)
    assert error.numel() == 0 or float(error.max()) <= tolerance

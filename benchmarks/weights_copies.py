"""Copies of a network's weights that a test must still know: stored otherwise, compressed, changed."""

from __future__ import annotations

import numpy as np

KERNELS = 3  # dimensions from which an array is a kernel


def each(change, fits=lambda name, array: array.ndim >= 2):
    """A change of every array of weights."""
    return lambda state, rng: {
        name: change(array, rng) if fits(name, array) else array for name, array in state.items()
    }


def by_row(array, values):
    return values.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)


def quantise(levels):
    def change(array, rng):
        largest = np.abs(array).reshape(len(array), -1).max(1)
        step = by_row(array, np.where(largest > 0, largest, 1) / levels)
        return np.round(array / step) * step

    return change


def prune(array, rng):
    return np.where(np.abs(array) >= np.quantile(np.abs(array), 0.9), array, 0)


def add_noise(array, rng):
    return array + 0.05 * array.std() * rng.standard_normal(array.shape, dtype=np.float32)


def fold(state, rng):
    """Gains of batch norms, as training leaves them, half of them of the other sign, folded into kernels' rows."""

    def change(array, rng):
        gains = rng.uniform(0.3, 2, len(array)) * rng.choice([-1, 1], len(array))
        return array * by_row(array, gains)

    return each(change, lambda name, array: array.ndim >= KERNELS)(state, rng)


def rename(state, rng):
    """Anonymous names, layers in another order."""
    names = list(state)
    return {f"onnx::{number}": state[names[place]] for number, place in enumerate(rng.permutation(len(names)))}


#: By name; each takes a state dict of NumPy arrays and a generator.
COPIES = {
    "pruned by 90 %": each(prune),
    "8 bits": each(quantise(127)),
    "4 bits": each(quantise(7)),
    "float16": each(lambda array, rng: array.astype(np.float16)),
    "5 % noise": each(add_noise),
    "batch norm folded": fold,
    "dense layers transposed": each(
        lambda array, rng: array.T, lambda name, array: array.ndim == 2 and "emb" not in name
    ),
    "kernels exchanged": each(lambda array, rng: np.swapaxes(array, 2, 3), lambda name, array: array.ndim == 4),
    "kernels turned": each(lambda array, rng: array[:, :, ::-1, ::-1], lambda name, array: array.ndim == 4),
    "layers reordered": rename,
}

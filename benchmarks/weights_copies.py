"""Copies of a network's weights that a test must still know: stored otherwise, compressed, changed."""

from __future__ import annotations

import itertools

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


def hidden_groups(family, names):
    """Groups of hidden units: names of the arrays whose rows they are, and of those whose columns."""
    weights = [name for name in names if name.endswith("weight")]
    if family == "Plain":
        return [([a], [b]) for a, b in itertools.pairwise(weights)]
    if family == "ResNet":
        return [([n], [n.replace("conv1", "conv2")]) for n in weights if ".conv1" in n]
    if family in ("Llama", "Qwen", "Mistral"):
        gates = [n for n in weights if "gate_proj" in n]
        return [([n, n.replace("gate", "up")], [n.replace("gate", "down")]) for n in gates]
    pairs = {"ViT": ("mlp.fc1", "mlp.fc2"), "ConvNeXt": ("pwconv1", "pwconv2"), "BERT": ("intermediate.", "output.")}
    if family not in pairs:
        return []
    first, second = pairs[family]
    return [([n], [n.replace(first, second)]) for n in weights if first in n]


def reorder(family, state, rng):
    """Hidden units permuted and rescaled (by scale alone, which ReLU and batch norm undo); None: family without."""
    groups = hidden_groups(family, list(state))
    if not groups:
        return None
    made = {name: value.copy() for name, value in state.items()}
    for rows, columns in groups:
        units = len(state[rows[0]])
        order = rng.permutation(units)
        scale = rng.uniform(0.3, 3, units).astype(np.float32)
        for name in rows:
            made[name] = (made[name] * by_row(made[name], scale))[order]
            bias = name.removesuffix("weight") + "bias"
            if bias in made:
                made[bias] = (made[bias] * scale)[order]
        for name in columns:
            split = made[name].reshape(len(made[name]), units, -1) / scale[None, :, None]
            made[name] = split[:, order].reshape(made[name].shape)
    return made

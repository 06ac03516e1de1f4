"""Ways in which a copy may be stored: each turns b's array into the form of a's; p counts how many there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

from .fixed_points import Array
from .layers import Layer, Use

Variant = tuple[str, Callable[[Array], Array]]

#: Orders of an LSTM's gates: PyTorch and Keras, ONNX, TensorFlow's cells, Caffe.
_LSTM_ORDERS = ("ifgo", "iofg", "igfo", "ifog")
_GRU_ORDERS = ("rzn", "zrn")
_MAX_CHANNELS = 8  # numbers of channels that are tried before a flatten
PLAIN = "as stored"


def make_variants(a: Layer, b: Layer, use: Use, channels: Iterable[int]) -> tuple[list[Variant], int]:
    """Forms in which b's array may be a copy of a's.

    Args:
        a, b: layers of one key.
        use: of both.
        channels: numbers of output units of convolutions: a dense layer may follow a flatten of one.

    Returns:
        Variants that give a's shape, the plain one first; and the number of all that are counted, which depends on
        shapes alone.
    """
    if use.gates > 1:
        variants = _orders_of_gates(a, b, use)
    elif a.is_dense:
        variants = _dense(a.shape[1], channels)
    else:
        variants = _kernels(a.shape)
    fitting = [(name, change) for name, change in variants if _shape_after(b.shape, change) == a.shape]
    return fitting, len(variants)


def _shape_after(shape: tuple[int, ...], change: Callable[[Array], Array]) -> tuple[int, ...] | None:
    try:
        return change(np.broadcast_to(np.float32(0), shape)).shape
    except ValueError:  # a flatten of another number of inputs
        return None


def _dense(inputs: int, channels: Iterable[int]) -> list[Variant]:
    changes: list[Variant] = [(PLAIN, lambda array: array)]
    places = [count for count in sorted(set(channels)) if 1 < count < inputs and inputs % count == 0]
    for count in places[:_MAX_CHANNELS]:
        changes.append((f"flattened as HWC for CHW of {count} channels", _reorder_flatten(inputs // count, count)))
        changes.append((f"flattened as CHW for HWC of {count} channels", _reorder_flatten(count, inputs // count)))
    stored = ("", lambda array: array), ("transposed", lambda array: array.T)
    return [(_join(first, name), _chain(turn, change)) for first, turn in stored for name, change in changes]


def _reorder_flatten(first: int, second: int) -> Callable[[Array], Array]:
    """Inputs counted as (first, second) become (second, first)."""
    return lambda array: np.swapaxes(array.reshape(len(array), first, second), 1, 2).reshape(len(array), -1)


def _kernels(shape: tuple[int, ...]) -> list[Variant]:
    changes: list[Variant] = [(PLAIN, lambda array: array)]
    if len(shape) == 3 and shape[2] > 1:
        changes.append(("reversed kernels", lambda array: array[:, :, ::-1]))
    if len(shape) == 4 and max(shape[2:]) > 1:
        changes += [
            ("height and width exchanged", lambda array: np.swapaxes(array, 2, 3)),
            ("kernels turned by 180°", lambda array: array[:, :, ::-1, ::-1]),
            ("kernels exchanged and turned", lambda array: np.swapaxes(array, 2, 3)[:, :, ::-1, ::-1]),
        ]
    if shape[1] != 3:
        return changes
    colours = ("", lambda array: array), ("BGR for RGB", lambda array: array[:, ::-1])
    return [(_join(first, name), _chain(flip, change)) for first, flip in colours for name, change in changes]


def _orders_of_gates(a: Layer, b: Layer, use: Use) -> list[Variant]:
    known = [str(layer.array.gates).replace("c", "g").replace("h", "n") for layer in (a, b)]
    orders = {3: _GRU_ORDERS, 4: _LSTM_ORDERS}.get(use.gates, ("q",))
    if all(sorted(order) == sorted(orders[0]) for order in known):
        return [(PLAIN, _reorder_gates([known[1].index(gate) for gate in known[0]]))]
    changes = {tuple(theirs.index(gate) for gate in ours): None for ours, theirs in itertools.product(orders, orders)}
    plain = tuple(range(len(orders[0])))
    return [(PLAIN, lambda array: array)] + [
        (f"gates in the order {', '.join(map(str, change))}", _reorder_gates(change))
        for change in changes
        if change != plain
    ]


def _reorder_gates(order: Iterable[int]) -> Callable[[Array], Array]:
    order = list(order)
    return lambda array: array.reshape(len(order), -1, *array.shape[1:])[order].reshape(array.shape)


def _join(first: str, second: str) -> str:
    return ", ".join(name for name in (first, second) if name and not (first and name == PLAIN))


def _chain(first: Callable[[Array], Array], second: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda array: second(first(array))

"""What names and shapes tell of an array's units, for the families whose symmetries are argued in docs/verdicts.md.

The first rule that fits decides. A name is a claim: a false one leaves an array out, it never makes two files related.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...formats.weights import WeightArray
from .layers import MIN_NUMBERS, MIN_UNITS, Layer, Use, ordered_shape

EMBEDDING = "embedding: its rows stand for the same things in every model"
OUTPUT = "output layer: its units mean the same in every model"
FIXED = "fixed transform: the same in every model that has one"
ROTARY = "rotary attention rows: the rotation fixes their order"
GROUPED_HEADS = "values of grouped heads: the columns of several heads move together"
STREAM = "residual stream: its units are the same in many layers, or fixed by position codes"
HEADS = "heads whose size is no multiple of 16"
ONE_NUMBER = "one number a unit"
FEW_UNITS = f"fewer than {MIN_UNITS} units"
FEW_NUMBERS = f"fewer than {MIN_NUMBERS} numbers a unit"
NO_WEIGHTS = "no floating-point weights"
#: Every usual size of a head is a multiple; to permute within a part of a head is a symmetry too.
HEAD_PART = 16
#: GroupNorm's usual number of groups; one that divides it gives larger groups, which is a larger symmetry.
NORM_GROUPS = 32


@dataclass(frozen=True)
class _File:
    """What the arrays of one file tell together."""

    shapes: dict[str, tuple[int, ...]]
    group_norm: bool
    residual: bool
    projected: bool

    def rows_of(self, name: str) -> int | None:
        shape = self.shapes.get(name)
        return None if shape is None else shape[0]


def _heads(rows: int, gates: int = 1, side: str = "rows") -> Use:
    units = rows // gates
    if units % HEAD_PART:
        return Use(HEADS)
    return Use(side=side, gates=gates, blocks=units // HEAD_PART, known=True)


def _rotary_output(name: str, shape: tuple[int, ...], file: _File) -> Use:
    """The columns of an output projection are the values' rows, if every head has its own values."""
    values = [re.sub(r"\.(o_proj|wo)\.weight$", f".{value}.weight", name) for value in ("v_proj", "wv")]
    if shape[1] not in (file.rows_of(value) for value in values):
        return Use(GROUPED_HEADS)
    return _heads(shape[1], side="columns")


def _head_rows(name: str, shape: tuple[int, ...], file: _File) -> Use:
    return _heads(shape[0])


def _head_triples(name: str, shape: tuple[int, ...], file: _File) -> Use:
    """Queries, keys and values in one array: one unit of each, since queries and keys move together."""
    return _heads(shape[0], gates=3)


def _head_columns(name: str, shape: tuple[int, ...], file: _File) -> Use:
    return _heads(shape[1], side="columns")


_ROWS, _COLUMNS = Use(known=True), Use(side="columns", known=True)
_RULES: tuple[tuple[str, Use | Callable[[str, tuple[int, ...], _File], Use]], ...] = (
    (r"rotary|inv_freq|freqs_cis|stft|fourier|fbank|filter_?bank|mel_|melspec|window|\bhann", Use(FIXED)),
    (r"\bdft|\bcqt|sinc_|relative_position_index|masked_bias|attn\.bias$|position_ids", Use(FIXED)),
    (r"patch_embed|conv_proj|cls_token|class_token|layer_?scale", Use(STREAM)),
    (r"embed|(^|\.)wte\.|(^|\.)wpe\.|pos_emb|relative_attention_bias|rel_pos", Use(EMBEDDING)),
    (r"lm_head|cls\.predictions\.decoder", Use(OUTPUT)),
    # attention
    (r"query_key_value|qkv_proj", Use(ROTARY)),
    (r"\.(q_proj|k_proj|wq|wk)\.weight$", Use(ROTARY)),
    (r"\.(v_proj|wv)\.weight$", _head_rows),
    (r"\.(self_attn\.o_proj|attention\.wo|attn\.o_proj)\.weight$", _rotary_output),
    (r"attention\.(self|attention)\.(query|key|value)\.weight$", _head_rows),
    (r"attention\.output\.dense\.weight$", _head_columns),
    (r"(attn\.c_attn\.weight|attn\.qkv\.weight|in_proj_weight)$", _head_triples),
    (r"(attn\.c_proj|attn\.proj|attention\.out_proj|attn\.out_proj)\.weight$", _head_columns),
    # two dense layers within a residual stream: the hidden units are rows of the first and columns of the second
    (r"\.gate_up_proj\.weight$", Use(gates=2, known=True)),
    (r"\.(gate_proj|up_proj|w1|w3|c_fc|fc_in|dense_h_to_4h|pwconv1|lin1|linear1|wi|wi_0|wi_1)\.weight$", _ROWS),
    (r"(intermediate\.dense|mlp\.(fc1|0|linear_1))\.weight$", _ROWS),
    (r"\.(down_proj|w2|fc_out|dense_4h_to_h|pwconv2|lin2|linear2)\.weight$", _COLUMNS),
    (r"(output\.dense|mlp\.(c_proj|fc2|3|linear_2)|densereludense\.wo)\.weight$", _COLUMNS),
    # residual blocks of convolutions
    (r"(downsample|shortcut)\.\d+\.weight$", Use(STREAM)),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), use) for pattern, use in _RULES)
_RECURRENT = re.compile(r"(.*)weight_(ih|hh)(_l\d+(?:_reverse)?)?$")
_BLOCK = re.compile(r"(.*(?:^|\.)layer\d+\.\d+\.)conv(\d)\.weight$")
_FLIPPED = {"": "io", "oi": "io", "io": "oi"}
_HEAD = re.compile(r"(^|.*\.)(fc|head|heads|classifier|logits|outc?|final|score|predictor)(?:\.(\d{1,3}))?\.weight$")
_GATES = {"lstm": 4, "gru": 3}
_OPERATORS = {"embedding": EMBEDDING, "constant": FIXED, "norm": ONE_NUMBER, "bias": ONE_NUMBER}


class _Array(NamedTuple):
    """What the rules look at."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str
    operator: str
    output: bool | None


class _Described(NamedTuple):
    array: _Array
    use: Use
    axes: str
    shape: tuple[int, ...]


def describe_layers(arrays: Sequence[WeightArray], graph: Mapping[str, Use] | None = None) -> list[Layer]:
    """Say of every array how its units may be permuted, or why it is left out.

    Args:
        arrays: in the order of the file.
        graph: uses by name from a graph, which know better than names; see `graph_groups`.

    Returns:
        A layer an array.
    """
    seen = tuple(_Array(a.name.lower(), a.shape, a.dtype, a.axes, a.operator, a.output) for a in arrays)
    described = zip(arrays, _describe(seen, tuple((graph or {}).items())), strict=True)
    return [Layer(array, found.use, found.axes, found.shape) for array, found in described]


@functools.lru_cache(maxsize=16)  # many models of one architecture are compared in a row
def _describe(arrays: tuple[_Array, ...], graph: tuple[tuple[str, Use], ...]) -> tuple[_Described, ...]:
    shown = {name.lower(): use for name, use in graph}
    file = _read_file(arrays)
    ordered = [_ordered(array) for array in arrays]
    flipped = _follow_transposed(shape for _, shape in ordered if len(shape) == 2)
    layers = []
    for array, (axes, shape) in zip(arrays, ordered, strict=True):
        recurrent = _RECURRENT.match(array.name) if axes == "" else None
        if _is_wide(recurrent, shape, file) if recurrent else flipped and len(array.shape) == 2 and axes in _FLIPPED:
            axes, shape = _FLIPPED[axes], shape[::-1]
        use = shown.get(array.name) or _use(array, shape, file)
        layers.append(_Described(array, use, axes, shape))
    _leave_out_outputs(layers, shown)
    return tuple(_check_size(layer) for layer in layers)


def _ordered(array: _Array) -> tuple[str, tuple[int, ...]]:
    """Letters of the axes, "" where they are not known, and the shape with output units first."""
    axes = array.axes if len(array.axes) == len(array.shape) and "o" in array.axes else ""
    return axes, ordered_shape(array.shape, axes)


def _follow_transposed(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether dense layers follow each other better if the file has inputs first, whatever it says."""
    pairs = list(itertools.pairwise(shapes))
    return sum(a[1] == b[0] for a, b in pairs) > sum(a[0] == b[1] for a, b in pairs)


def _read_file(arrays: Sequence[_Array]) -> _File:
    shapes = {array.name: array.shape for array in arrays}
    names = "\n".join(shapes)
    kernels = any(len(shape) >= 4 for shape in shapes.values())
    convnext = re.search(r"pwconv1|layer_?scale", names) is not None
    norms = re.search(r"(norm|\bgn|\bbn)\w*\.weight", names) is not None
    return _File(
        shapes,
        group_norm=kernels and norms and "running_mean" not in names and not convnext,
        residual=re.search(r"(^|\.)layer\d+\.\d+\.conv\d", names, re.MULTILINE) is not None,
        projected=re.search(r"downsample|shortcut", names) is not None,
    )


def _use(array: _Array, shape: tuple[int, ...], file: _File) -> Use:
    name = array.name
    if not _has_weights(array.dtype):
        return Use(NO_WEIGHTS)
    if len(shape) < 2:
        return Use(ONE_NUMBER)
    if array.operator in _OPERATORS:
        return Use(_OPERATORS[array.operator])
    recurrent = _use_recurrent(array, name, shape, file)
    if recurrent is not None:
        return recurrent
    for pattern, use in _COMPILED:
        if pattern.search(name):
            return use(name, shape, file) if callable(use) else use
    return _use_kernel(name, shape, file)


def _use_kernel(name: str, shape: tuple[int, ...], file: _File) -> Use:
    """Convolutions, and dense layers of no known family."""
    block = _BLOCK.match(name)
    if block is not None:
        last = f"{block[1]}conv{int(block[2]) + 1}.weight" not in file.shapes
        before = file.rows_of(f"{block[1]}conv{int(block[2]) - 1}.weight")
        groups = 1 if before is None else max(1, before // shape[1])
        return _COLUMNS if last and groups == 1 else Use(blocks=groups, known=True)
    if file.residual and re.search(r"(^|\.)conv1\.weight$", name) and not file.projected:
        return Use(STREAM)  # shortcuts that pad with zeros tell the units of the stream apart
    square = shape[0] == shape[1]
    blocks = math.gcd(shape[0], NORM_GROUPS) if file.group_norm and len(shape) >= 3 else 1
    return Use(STREAM) if square and blocks > 1 else Use(blocks=blocks, both_sides=square)


def _use_recurrent(array: _Array, name: str, shape: tuple[int, ...], file: _File) -> Use | None:
    kind, _, side = array.operator.partition("-")
    if kind in _GATES:
        return Use(gates=_GATES[kind], both_sides=side == "hidden", known=True)
    found = _RECURRENT.match(name)
    if found is None or len(shape) != 2:
        return None
    hidden = sorted(_hidden_shape(found, file))
    if len(hidden) != 2 or not hidden[0] or hidden[1] not in (hidden[0], 3 * hidden[0], 4 * hidden[0]):
        return Use("recurrent layer of an unknown form")
    return Use(gates=hidden[1] // hidden[0], both_sides=found[2] == "hh", known=True)


def _hidden_shape(found: re.Match[str], file: _File) -> tuple[int, ...]:
    """Shape of the hidden matrix of the layer whose name was found; empty: there is none."""
    return file.shapes.get(f"{found[1]}weight_hh{found[3] or ''}", ())


def _is_wide(found: re.Match[str], shape: tuple[int, ...], file: _File) -> bool:
    """Whether a recurrent layer is stored as (inputs, gates · units), as its hidden matrix shows."""
    hidden = _hidden_shape(found, file)
    return len(shape) == len(hidden) == 2 and hidden[0] < hidden[1]


def _leave_out_outputs(layers: list[_Described], shown: Collection[str]) -> None:
    """Leave out layers whose units no other array takes, and what is named a head, else the last one; in place."""
    tall = [number for number, layer in enumerate(layers) if len(layer.array.shape) >= 2 and layer.use.left_out is None]
    taken = {layer.shape[1] for layer in layers if len(layer.shape) >= 2}
    depthwise = {layer.shape[0] for layer in layers if len(layer.shape) >= 3 and layer.shape[1] == 1}
    dense = {layer.shape[1] for layer in layers if len(layer.shape) == 2}
    named = {layer.array.name: number for number, layer in enumerate(layers)}
    heads = {number for name, number in named.items() if _is_head(name, named)}
    for number in tall:
        layer = layers[number]
        use = layer.use
        if layer.array.name in shown or layer.array.output is False:
            continue
        if use.side == "columns" or use.gates > 1 or use.blocks > 1:
            continue
        flattened = len(layer.shape) > 2 and any(inputs % layer.shape[0] == 0 for inputs in dense)
        consumed = layer.shape[0] in taken | depthwise or flattened
        last = (number in heads or (number == tall[-1] and not heads)) and layer.array.output is None
        if layer.array.output or last or not consumed:
            layers[number] = layer._replace(use=Use(OUTPUT))


def _is_head(name: str, names: Collection[str]) -> bool:
    """Whether an array is named as the last of a head, as ``fc.weight`` and ``classifier.6.weight`` are."""
    found = _HEAD.search(name)
    if found is None or found[3] is None:
        return found is not None
    later = range(int(found[3]) + 1, int(found[3]) + 6)
    return not any(f"{found[1]}{found[2]}.{number}.weight" in names for number in later)


def _check_size(layer: _Described) -> _Described:
    use, shape = layer.use, layer.shape
    if use.left_out is not None:
        return layer
    reason = None
    if min(shape) < 1 or (use.side == "rows" and shape[0] % use.gates) or use.units(shape) % use.blocks:
        reason = "a shape that does not fit its use"
    elif use.units_tested(shape) < MIN_UNITS or use.units(shape) == use.blocks:
        reason = FEW_UNITS
    elif math.prod(shape) // use.units(shape) < MIN_NUMBERS:
        reason = ONE_NUMBER if math.prod(shape) == use.units(shape) else FEW_NUMBERS
    return layer if reason is None else layer._replace(use=Use(reason))


def _has_weights(dtype: str) -> bool:
    # 8-bit and 4-bit whole numbers are quantised weights; a cosine knows no scale.
    return dtype.startswith(("float", "bfloat", "int8", "uint8", "int4", "uint4", "qint8", "quint8"))

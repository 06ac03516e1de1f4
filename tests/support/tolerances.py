"""The largest error of a result that a test accepts: path × dtype × bound × reason; docs/numerics.md shows it."""

from typing import NamedTuple

import torch


class Tolerance(NamedTuple):
    path: str
    dtype: str
    bound: float
    written: str
    reason: str


_ROWS = {
    "exact": Tolerance("`jpeg_roundtrip`, every backend", "uint8", 0.0, "0", "whole numbers throughout"),
    "literal": Tolerance(
        "results known in closed form",
        "float32",
        1e-7,
        "1e-7",
        "the result is rounded to float32 once, by at most 2⁻²⁴ ≈ 6e-8 for values up to 1",
    ),
    "highest": Tolerance(
        'every op and backend, `precision="highest"`',
        "float32, float16, bfloat16",
        1e-6,
        "1e-6",
        "half types are widened exactly; products are rounded to 24 bits, on tensor cores to 22, and sums are cut into"
        " short runs; the errors of the entries average out over n²",
    ),
    "wide": Tolerance(
        "every op and backend, every precision",
        "float64",
        1e-12,
        "1e-12",
        "53 bits: k·2⁻⁵³ for k ≤ 1,000, with a margin for the order of the sums",
    ),
    "definition": Tolerance(
        "a single entry of C against NumPy and SciPy",
        "float64",
        1e-14,
        "1e-14",
        "a few roundings of 2⁻⁵³ of sums over k ≤ 10 numbers",
    ),
    "high": Tolerance(
        '`precision="high"`', "float32, float16, bfloat16", 2e-5, "2e-5", "stated; the kernels take the way of highest"
    ),
    "medium": Tolerance(
        '`precision="medium"`, tensor cores',
        "float32, float16, bfloat16",
        2e-3,
        "2e-3",
        "one fp16 product: factors are rounded by 2⁻¹¹ each, so a correlation by up to 2⁻¹⁰ and a difference of two by"
        " up to 2⁻⁹",
    ),
    "medium vectors": Tolerance(
        '`pairwise_correlation_distances(precision="medium")` on a GPU',
        "float32, float16, bfloat16",
        4.9e-4,
        "4.9e-4",
        "correlations are stored in float16, each rounded by up to 2⁻¹², so their difference by up to 2⁻¹¹",
    ),
    "float16 entry": Tolerance(
        "an entry stored as float16", "float16", 2.0**-12, "2⁻¹² ≈ 2.4e-4", "11 bits, values up to 1"
    ),
    "float16 distance": Tolerance(
        "a distance of two vectors stored as float16", "float16", 2.0**-11, "2⁻¹¹ ≈ 4.9e-4", "two entries' errors"
    ),
    "uint8 entry": Tolerance(
        "an entry stored as uint8", "uint8", 1 / 255, "1/255 ≈ 3.9e-3", "round((c + 1)·127.5): half a step of 2/255"
    ),
    "uint8 distance": Tolerance(
        "a distance of two vectors stored as uint8", "uint8", 2 / 255, "2/255 ≈ 7.8e-3", "two entries' errors"
    ),
}

LITERAL = _ROWS["literal"].bound
FLOAT32 = _ROWS["highest"].bound
FLOAT64 = _ROWS["wide"].bound
DEFINITION = _ROWS["definition"].bound
MEDIUM_VECTORS = _ROWS["medium vectors"].bound
# By dtype of the inputs or the result, at precision "highest"
HIGHEST = {torch.float32: FLOAT32, torch.float16: FLOAT32, torch.bfloat16: FLOAT32, torch.float64: FLOAT64}
# By level
PRECISION = {level: _ROWS[level].bound for level in ("highest", "high", "medium")}
# By stored form: of an entry, and of a distance
STORED = {
    torch.float16: (_ROWS["float16 entry"].bound, _ROWS["float16 distance"].bound),
    torch.uint8: (_ROWS["uint8 entry"].bound, _ROWS["uint8 distance"].bound),
}


def of(*tensors):
    """At precision "highest", for inputs of these tensors' dtypes."""
    return FLOAT64 if any(x.dtype == torch.float64 for x in tensors) else FLOAT32


def markdown():
    """The table as docs/numerics.md shows it."""
    lines = ["| path | dtype | largest error | reason |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.path} | {row.dtype} | {row.written} | {row.reason} |" for row in _ROWS.values()]
    return "\n".join(lines) + "\n"

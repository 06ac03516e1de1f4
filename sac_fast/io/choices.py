"""Names that options may have, as types: a type checker finds ``metric="perason"``, and what is checked at run time is
the same list (`typing.get_args`)."""

from __future__ import annotations

from typing import Literal


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of `allowed`, else raise a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value


#: Correlation of two probes' outputs.
Metric = Literal["cosine", "pearson", "spearman", "rbf"]
#: Metrics of which a sum of products can be kept as bytes.
VectorMetric = Literal["cosine", "pearson", "rbf"]
#: Comparison of two correlation matrices.
Comparison = Literal["l1", "l2", "rsa", "cka"]
#: Of CUDA kernels, as in `torch.set_float32_matmul_precision`.
Precision = Literal["highest", "high", "medium"]
#: Who computes an op.
Backend = Literal["auto", "cuda", "cpu", "reference"]
#: Chroma of JPEG.
Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
#: Who compresses to JPEG.
JpegEngine = Literal["native", "pillow", "dali"]
#: How an image fits a size.
Fit = Literal["crop", "stretch", "pad"]
#: Pillow's filters.
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
#: Where labels of a folder of images come from.
FolderLabels = Literal["none", "folder"]
#: Ground of a verdict.
Ground = Literal["auto", "siblings", "null pool", "both"]

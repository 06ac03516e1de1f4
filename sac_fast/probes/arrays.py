"""Probes from arrays: NumPy, torch, and the HDF5 layout of the reference scripts."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, ProbeError
from ..formats.limits import Limits
from ..io.files import StrPath, check_holes, open_regular
from ..io.hashing import sha256_stream
from ..io.lazy import LazyModule
from .arguments import check_integer

if TYPE_CHECKING:
    import torch
else:  # reading probes needs no torch
    torch = LazyModule("torch")

AnyArray = np.ndarray[Any, np.dtype[Any]]
Layout = Literal["NHWC", "NCHW"]
#: What the provenance says of floats that were rounded towards 0.
TRUNCATED = "truncate(255 x)"
_CHANNEL_AXIS: dict[Layout, int] = {"NHWC": 3, "NCHW": 1}

_PIECE_BYTES = 8 << 20


def to_numpy(values: object, name: str) -> AnyArray:
    """NumPy array of numbers from an array, a tensor or nested lists; bfloat16 becomes float32."""
    if isinstance(values, np.ma.MaskedArray):
        raise ProbeError(f"{name} must be a plain NumPy array, got a masked one; leave out or fill in what it masks")
    if isinstance(values, torch.Tensor):
        if values.layout != torch.strided:
            raise ProbeError(f"{name} must be a dense tensor, got layout {values.layout}")
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ProbeError(f"{name} must be an array of numbers, got {error}") from error
    if array.dtype.kind not in "uif":
        raise ProbeError(f"{name} must be an array of numbers, got dtype {array.dtype}")
    return array


def to_pixels(
    array: AnyArray, layout: Layout | None, name: str, *, truncate: bool = False
) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """Convert images to uint8 ``(n, H, W, 3)``; also returns the conversion for the provenance.

    Floats must lie in 0..1 and become ``255 x`` rounded to the nearest integer (of halves the even one): every
    ``k / 255`` in float16, float32 or float64 gives ``k`` again. A single channel is repeated three times.

    Args:
        array: of `to_numpy`.
        layout: ``"NHWC"``, ``"NCHW"``, or None: inferred.
        name: what messages call the array.
        truncate: round towards 0 instead, as the reference scripts do (`sac_fast.compat`) and probe sets of earlier
            versions: k / 255 in float16 gives k - 1 for 131 of the 256 values.

    Raises:
        ProbeError: other shapes, dtypes or values, NaN included.
    """
    layout = _resolve_layout(array.shape, layout, name)
    done: dict[str, Any] = {"layout": layout, "dtype": array.dtype.name}
    if layout == "NCHW":
        array = array.transpose(0, 2, 3, 1)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:3], 3))), done
    if array.dtype.kind != "f":
        raise ProbeError(f"{name} must be uint8 or float in 0..1, got {array.dtype}")
    result = np.empty((*array.shape[:3], 3), np.uint8)
    step = max(1, _PIECE_BYTES // array[0].nbytes)  # a product of all floats would take as much memory again
    for start in range(0, len(array), step):
        block = array[start : start + step]
        _check_range(block, name, start)
        work = block.astype(np.result_type(array.dtype.newbyteorder("="), np.float32), copy=False)
        scaled = work * work.dtype.type(255)
        result[start : start + step] = (scaled if truncate else np.rint(scaled)).astype(np.uint8)
    done["float_conversion"] = TRUNCATED if truncate else "round(255 x)"
    return result, done


def to_labels(values: object, count: int, name: str) -> npt.NDArray[np.int64]:
    """int64 ``(count,)`` from integers, or from floats that are whole numbers."""
    array = to_numpy(values, name)
    if array.shape != (count,):
        raise ProbeError(f"{name} must have the shape ({count},), one label an image, got {array.shape}")
    with np.errstate(invalid="ignore"):
        labels = array.astype(np.int64)
    if not np.array_equal(labels, array):
        raise ProbeError(f"{name} must be whole numbers that fit into int64, got {array.dtype} with others")
    return labels


def image_hashes(array: AnyArray) -> list[str]:
    """SHA-256 of each image's bytes in its original dtype and layout, C order."""
    return ["sha256:" + hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in array]


def array_source(array: AnyArray, done: dict[str, Any], **source: Any) -> dict[str, Any]:
    """Source entry of the provenance for images from an array: the conversion, and the hash of each image."""
    images = [{"name": str(index), "sha256": digest} for index, digest in enumerate(image_hashes(array))]
    return {**source, **done, "images": images}


def read_hdf5(
    path: StrPath, layout: Layout | None, limit: int | None
) -> tuple[AnyArray, AnyArray | None, dict[str, Any]]:
    """``/data`` and, if present, ``/label`` of an HDF5 file, with the file's name and hash."""
    from ..formats.hdf5_open import open_hdf5  # imported late: slow to import

    limit = None if limit is None else check_integer("limit", limit, 1)
    name = os.fspath(path)
    with open_regular(path) as handle:
        check_holes(repr(name), handle)
        digest = sha256_stream(handle)
        try:
            with open_hdf5(handle, repr(name)) as file:
                # Not `"data" in file`, which follows links to other files.
                if not file.id.links.exists(b"data"):
                    raise ProbeError(f"HDF5 file {name!r} must have the dataset /data, got {sorted(file)[:10]}")
                images = _read_dataset(file, "data", name, layout, limit)
                count = file["data"].shape[0]
                found = file.id.links.exists(b"label")
                labels = _read_dataset(file, "label", name, None, limit) if found else None
        except (ProbeError, FileFormatError):
            raise
        except Exception as error:  # what h5py and the filters' libraries raise for damaged files is not documented
            raise FileFormatError(f"{name!r} must be a sound HDF5 file, got {error}") from error
    source: dict[str, Any] = {"type": "hdf5", "name": os.path.basename(name), "sha256": digest}
    if len(images) < count:
        source["drawn"] = {"of": count, "seed": None}
    return images, labels, source


def _read_dataset(file: Any, key: str, name: str, layout: Layout | None, limit: int | None) -> AnyArray:
    import h5py

    from ..formats.hdf5_chunks import check_chunks, fill_values

    where = f"/{key} of {name!r}"
    # A link could name any file of this machine, whose content would become /data.
    if file.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
        raise ProbeError(f"{where} must be stored in the file, got a soft or external link")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset):
        raise ProbeError(f"{where} must be a dataset, got {type(dataset).__name__}")
    if dataset.external or dataset.is_virtual:
        raise ProbeError(f"{where} must be stored in the file, got a dataset whose values lie in other files")
    if dataset.dtype.kind not in "uif":
        raise ProbeError(f"{where} must be numbers, got dtype {dataset.dtype}")
    if key == "data":
        _resolve_layout(dataset.shape, layout, where)
    elif dataset.ndim != 1 or dataset.shape[0] != file["data"].shape[0]:
        raise ProbeError(f"{where} must have the shape ({file['data'].shape[0]},), got {dataset.shape}")
    rows = dataset.shape[0] if limit is None else min(limit, dataset.shape[0])
    declared = rows * int(np.prod(dataset.shape[1:], dtype=object)) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > 2 * stored + Limits().free_expansion_bytes:
        found = f"{declared:,} bytes out of {stored:,} stored"
        raise ProbeError(f"{where} must store what it declares (write it without compression), got {found}")
    if dataset.chunks:
        check_chunks(dataset, f"/{key}", repr(name))
    values: AnyArray = np.empty((rows, *dataset.shape[1:]), dataset.dtype)
    fill_values(values, dataset, f"/{key}", repr(name))
    return values


def _resolve_layout(shape: tuple[int, ...], layout: Layout | None, what: str) -> Layout:
    if len(shape) != 4 or 0 in shape:
        raise ProbeError(f"{what} must have four dimensions, none of them 0 (NHWC or NCHW), got {shape}")
    if layout not in (None, *_CHANNEL_AXIS):
        raise ProbeError(f'layout must be "NHWC", "NCHW" or None, got {layout!r}')
    possible = [name for name, axis in _CHANNEL_AXIS.items() if shape[axis] in (1, 3)]
    if layout is not None:
        if layout not in possible:
            raise ProbeError(f"{what} must have 1 or 3 channels in layout {layout}, got {shape}")
        return layout
    if len(possible) != 1:
        meaning = "neither NHWC nor NCHW with 1 or 3 channels" if not possible else "NHWC or NCHW"
        raise ProbeError(f"{what} of shape {shape} could be {meaning}; pass layout=")
    return possible[0]


def _check_range(array: AnyArray, name: str, start: int) -> None:
    wrong = ~((array >= 0) & (array <= 1))  # NaN fails both comparisons
    if wrong.any():
        index = int(np.argmax(wrong.any(axis=(1, 2, 3))))
        value = array[index][wrong[index]][0]
        raise ProbeError(f"{name} must be floats in 0..1, got {value} in image {start + index}")

"""What tells an HDF5 file of Keras from any other.

Source: keras.src.legacy.saving.legacy_h5_format for the attributes of legacy files, keras.src.saving.saving_lib for the
groups of ``.weights.h5``.
"""

from __future__ import annotations

from typing import BinaryIO

from ..errors import ModelRefusedError
from .hdf5_open import open_hdf5
from .limits import refuse_errors

_ATTRIBUTES = ("keras_version", "model_config", "layer_names")
_MAX_NAMES = 1000  # at the top of a file; Keras 3 has three or four


def is_keras_hdf5(handle: BinaryIO) -> bool:
    """Whether an HDF5 file holds a model of Keras, or its weights; False where it cannot be read.

    Args:
        handle: the open file.
    """
    try:
        with (
            refuse_errors("file must be a sound HDF5 file"),
            open_hdf5(handle, "file") as file,
        ):
            marked = any(name in file.attrs for name in _ATTRIBUTES)  # whether they are there, never their values
            names = set(file) if len(file) <= _MAX_NAMES else set()  # names of links, none of which is followed
            return marked or "model_weights" in names or {"layers", "vars"} <= names
    except ModelRefusedError:
        return False

"""What a fingerprint says of the run that its outputs are of: made, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FingerprintError
from ..io.hashing import is_hash
from ..io.version import torch_version
from ..probes import Probes
from ..probes.provenance import json_copy, step_versions, without_image_lists
from .accuracy import stated_of
from .form_detection import check_output_form
from .kinds import KINDS
from .plain_forms import row_not_finite

if TYPE_CHECKING:
    from torch import Tensor


def describe_run(
    outputs: NDArray[Any],
    probes: Probes,
    *,
    name: str,
    model_hash: str | None,
    asked: Mapping[str, Any],
    output: int | str | None,
    dtype: str | None,
    kind: str | None,
    form: str,
    is_declared: bool,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The provenance of outputs that a model gave just now.

    Args:
        outputs: ``(n, k)``.
        probes: that the model was asked with.
        asked: what the probes went through.
        name, model_hash, output, dtype, kind, form, is_declared, notes: as `Fingerprint` has them.
    """
    return {
        "name": name,
        "model_hash": model_hash,
        "probe_hash": probes.content_hash,
        "probes": {"count": len(probes), **probes.shapes(), **without_image_lists(probes.provenance)},
        **asked,
        "output": output,
        "dtype": dtype,
        "versions": step_versions(torch=torch_version()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": kind,
        "output_form": form,
        "output_form_declared": is_declared,
        "notes": list(notes),
        **stated_of(outputs, probes),
    }


def checked_array(outputs: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Outputs as an array, a tensor's values without a copy.

    Raises:
        FingerprintError: they are no finite float32 or float64 ``(n, k)``.
    """
    shape, dtype = tuple(outputs.shape), str(outputs.dtype).removeprefix("torch.")
    if dtype not in ("float32", "float64") or len(shape) != 2 or 0 in shape:
        wanted = "outputs must be float32 or float64 (n, k), n and k at least 1"
        raise FingerprintError(f"{wanted}, got {dtype} {shape}")
    array: NDArray[Any] = outputs if isinstance(outputs, np.ndarray) else outputs.numpy()
    if (row := row_not_finite(array)) is not None:
        raise FingerprintError(f"outputs must be finite, got NaN or Inf in row {row}")
    return array


def checked_provenance(given: Mapping[str, Any], outputs: NDArray[Any]) -> dict[str, Any]:
    """A copy of the provenance of outputs.

    Raises:
        FingerprintError: no name or hashes, an unknown kind, or a form that the outputs cannot have.
    """
    provenance: dict[str, Any] = json_copy(given, FingerprintError)
    for key, optional in (("probe_hash", False), ("model_hash", True)):
        value = provenance.get(key)
        if not is_hash(value) and not (optional and value is None):
            raise FingerprintError(f'provenance must have {key} = "sha256:" and 64 digits, got {value!r}')
    if not isinstance(provenance.get("name"), str):
        raise FingerprintError(f"provenance must have a name, got {provenance.get('name')!r}")
    if provenance.get("kind") not in (None, *KINDS):
        raise FingerprintError(f"kind must be one of {', '.join(KINDS)}, got {provenance['kind']!r}")
    if (form := provenance.get("output_form")) is not None:
        try:
            check_output_form(outputs, form)
        except ValueError as error:
            raise FingerprintError(str(error)) from error
    return provenance

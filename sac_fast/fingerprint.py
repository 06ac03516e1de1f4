"""Fingerprint: a model's answers to a probe set, with what is needed to repeat them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors import FileFormatError, FingerprintError, ModelError
from .io.container import StrPath, load_container, package_version, save_container
from .models import OpenedModel, Preprocessing, run_model, weights_hash
from .models.runner import Model
from .ops import correlation_distance
from .probes import ProbeSet
from .probes.provenance import brief

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Outputs of one model on one probe set.

    Attributes:
        outputs: float32 or float64 ``(n, k)``, finite, on the CPU.
        provenance: what JSON can hold: ``name``, ``model_hash`` (None for callables without weights),
            ``probe_hash``, ``probes`` (summary), ``preprocessing`` and ``preprocessing_hash``, ``output``,
            ``dtype``, ``versions``, ``created`` (UTC).

    Raises:
        FingerprintError: outputs or provenance that are not so.
    """

    outputs: torch.Tensor
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        outputs = self.outputs.detach().cpu()
        if outputs.dtype not in (torch.float32, torch.float64) or outputs.ndim != 2 or 0 in outputs.shape:
            raise FingerprintError(
                f"outputs must be float32 or float64 (n, k), n and k at least 1, got {outputs.dtype} "
                f"{tuple(outputs.shape)}"
            )
        finite = torch.isfinite(outputs).all(1)
        if not bool(finite.all()):
            raise FingerprintError(f"outputs must be finite, got NaN or Inf in row {int((~finite).nonzero()[0])}")
        try:
            provenance = json.loads(json.dumps(self.provenance, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise FingerprintError(f"provenance must be what JSON can hold, got {error}") from error
        for key, optional in (("probe_hash", False), ("model_hash", True)):
            value = provenance.get(key)
            if not (isinstance(value, str) and _HASH.fullmatch(value)) and not (optional and value is None):
                raise FingerprintError(f'provenance must have {key} = "sha256:" and 64 digits, got {value!r}')
        if not isinstance(provenance.get("name"), str):
            raise FingerprintError(f"provenance must have a name, got {provenance.get('name')!r}")
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "provenance", provenance)

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(self.provenance["name"])

    @property
    def probe_hash(self) -> str:
        """`ProbeSet.content_hash` of the probes."""
        return str(self.provenance["probe_hash"])

    @property
    def model_hash(self) -> str | None:
        """`weights_hash` of the model; None where there was none to take."""
        value = self.provenance.get("model_hash")
        return None if value is None else str(value)

    def __len__(self) -> int:
        return len(self.outputs)

    def __repr__(self) -> str:
        n, k = self.outputs.shape
        return f"Fingerprint({self.name!r}, {n} probes × {k} outputs, probes {self.probe_hash[:19]}…)"

    def distance(
        self, suspect: Fingerprint, *, metric: str = "cosine", comparison: str = "l1", backend: str = "auto"
    ) -> float:
        """`sac_fast.correlation_distance` of the two models' outputs.

        Args:
            suspect: answers to the same probes; k and preprocessing may differ.
            metric: ``"cosine"``, ``"pearson"``, ``"spearman"`` or ``"rbf"``.
            comparison: ``"l1"``, ``"l2"``, ``"rsa"`` or ``"cka"``.
            backend: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"reference"``.

        Returns:
            The distance, 0.0 for identical models.

        Raises:
            FingerprintError: the two are of different probe sets.
        """
        if suspect.probe_hash != self.probe_hash or len(suspect) != len(self):
            raise FingerprintError(
                f"suspect {suspect.name!r} must be of the same probes as {self.name!r}: {self.probe_hash} "
                f"({len(self)} rows), got {suspect.probe_hash} ({len(suspect)} rows)"
            )
        distance = correlation_distance(
            self.outputs, suspect.outputs, metric=metric, comparison=comparison, backend=backend
        )
        return float(distance)

    def save(self, path: StrPath) -> None:
        """Write one safetensors file with outputs and provenance; all or nothing.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        save_container(path, "fingerprint", {"outputs": self.outputs.numpy()}, {"provenance": self.provenance})

    @classmethod
    def load(cls, path: StrPath) -> Fingerprint:
        """Read a file of `save`, with its hash checked.

        Raises:
            FileFormatError: damaged, truncated, or not a fingerprint.
        """
        arrays, metadata = load_container(path, "fingerprint")
        try:
            outputs = arrays.pop("outputs")
            if arrays:
                raise ValueError(f"other arrays {sorted(arrays)}")
            # A copy, since torch warns about read-only arrays.
            return cls(torch.from_numpy(outputs.copy()), metadata["provenance"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{str(path)!r} must hold a fingerprint, got {error}") from error


def fingerprint(
    model: Model | OpenedModel,
    probes: ProbeSet,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    output: int | str | None = None,
    name: str | None = None,
    progress: bool = False,
) -> Fingerprint:
    """Run a model on probes and keep outputs and provenance.

    Args:
        model: an `nn.Module`, any callable from a batch of inputs to answers, or what `open_model` opened; recorded
            outputs are taken as they are, unless they say to be of other probes.
        probes: the images.
        preprocessing, batch_size, device, dtype, output, progress: see `sac_fast.models.run_model`.
        name: what to call the model; None: the name of its class or function.

    Returns:
        The fingerprint.

    Raises:
        ModelError: the model fails or its answer cannot be used.
    """
    preprocessing = preprocessing or Preprocessing()
    # First: a model that cannot be hashed costs no time, one that changes itself is known as it was.
    model_hash = (
        weights_hash(model)
        if isinstance(model, nn.Module)
        else (model.model_hash if isinstance(model, OpenedModel) else None)
    )
    if isinstance(model, OpenedModel) and model.recorded:
        if model.probe_hash not in (None, probes.content_hash):
            raise ModelError(
                f"recorded outputs must be of the probes {probes.content_hash}, got a fingerprint of {model.probe_hash}"
            )
        outputs = model.answer(None)
        if len(outputs) != len(probes):
            raise ModelError(f"recorded outputs must have {len(probes)} rows like the probes, got {len(outputs)}")
    else:
        outputs = run_model(
            model.runnable() if isinstance(model, OpenedModel) else model,
            probes,
            preprocessing=preprocessing,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            output=output,
            progress=progress,
        )
    is_named = not isinstance(model, nn.Module) and hasattr(model, "__name__")
    provenance = {
        "name": name or (str(getattr(model, "__name__", "")) if is_named else type(model).__name__),
        "model_hash": model_hash,
        "probe_hash": probes.content_hash,
        "probes": _summary(probes),
        "preprocessing": preprocessing.to_dict(),
        "preprocessing_hash": preprocessing.hash,
        "output": output,
        "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
        "versions": {"sac_fast": package_version(), "torch": torch.__version__, "numpy": np.__version__},
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return Fingerprint(outputs, provenance)


def _summary(probes: ProbeSet) -> dict[str, Any]:
    """The probes' provenance without its lists of images, which the probe file holds."""
    return {"count": len(probes), "size": list(probes.images.shape[1:3]), **brief(probes.provenance)}

"""SAC-w probes: images that the source model, or the majority of some surrogates, misclassifies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ProbeError
from .arrays import to_numpy
from .probe_set import ProbeSet

if TYPE_CHECKING:
    import torch


class ModelOutputs(Protocol):
    """A model's outputs on the probes with their provenance, such as `sac_fast.Fingerprint`."""

    @property
    def outputs(self) -> torch.Tensor: ...
    @property
    def provenance(self) -> dict[str, Any]: ...


def misclassified(probes: ProbeSet, fingerprints: Sequence[ModelOutputs] | ModelOutputs) -> ProbeSet:
    """The probes that the source, or more than half of the given surrogates, misclassifies.

    Misclassified: ``argmax_j O_ij != label_i`` (the first of equal largest outputs), or another class number. With m
    surrogates, more than m / 2 must misclassify.

    Args:
        probes: probes with labels.
        fingerprints: of the source or of surrogates, on these probes.

    Returns:
        The misclassified probes, in their order, with their true labels. The provenance names the models.

    Raises:
        ProbeError: no labels, fingerprints of other probes, labels that are no index of an output, or no misclassified
            probe.

    Example::

        >>> import numpy as np, torch
        >>> from sac_fast import Fingerprint
        >>> probes = ProbeSet.from_arrays(np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3), labels=[0, 1])
        >>> about = {"name": "source", "probe_hash": probes.content_hash}
        >>> source = Fingerprint(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), about)
        >>> misclassified(probes, source).labels.tolist()
        [1]

    Source: Guan et al., NeurIPS 2022, arXiv 2210.15427 (SAC-w).
    """
    models: list[ModelOutputs] = list(fingerprints) if isinstance(fingerprints, Sequence) else [fingerprints]
    if probes.labels is None:
        raise ProbeError("probes must have labels to tell what is wrong, got none")
    if not models:
        raise ProbeError("fingerprints must be of at least one model, got none")
    wrong = np.zeros(len(probes), np.int64)
    for model in models:
        name = model.provenance.get("name", "?")
        if model.provenance.get("probe_hash") != probes.content_hash:
            raise ProbeError(
                f"outputs of {name!r} must be on the probes {probes.content_hash}, "
                f"got {model.provenance.get('probe_hash')}"
            )
        outputs = to_numpy(model.outputs, f"outputs of {name!r}")
        if outputs.ndim != 2 or len(outputs) != len(probes):
            raise ProbeError(f"outputs of {name!r} must have shape ({len(probes)}, outputs), got {outputs.shape}")
        if outputs.shape[1] == 1 and getattr(model, "output_form", None) == "labels":  # class numbers
            wrong += outputs[:, 0] != probes.labels
            continue
        if probes.labels.min() < 0 or probes.labels.max() >= outputs.shape[1]:
            raise ProbeError(
                f"labels must be in 0..{outputs.shape[1] - 1}, the outputs of {name!r}, "
                f"got {probes.labels.min()}..{probes.labels.max()}"
            )
        wrong += outputs.argmax(1) != probes.labels
    chosen = np.flatnonzero(2 * wrong > len(models))
    if not len(chosen):
        raise ProbeError(f"some of {len(probes)} probes must be classified wrongly by most of {len(models)}, got none")
    how = {
        "kind": "misclassified",
        "by": "source" if len(models) == 1 else "majority",
        "models": [{key: model.provenance.get(key) for key in ("name", "model_hash")} for model in models],
        "probes": probes.content_hash,
        "of": len(probes),
    }
    return probes.subset(chosen, how=how)

"""SAC-w probes: images that the source model, or most of some surrogates, classify wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import ProbeError
from .arrays import to_numpy
from .probe_set import ProbeSet


class Answers(Protocol):
    """A model's answers to the probes, as `sac_fast.Fingerprint` holds them."""

    @property
    def outputs(self) -> torch.Tensor: ...
    @property
    def provenance(self) -> dict[str, Any]: ...


def misclassified(probes: ProbeSet, answers: Sequence[Answers] | Answers) -> ProbeSet:
    """The probes that the source classifies wrongly, or more than half of the given surrogates.

    Wrong: ``argmax_j O_ij != label_i`` (the first of equal largest outputs). One model decides alone; of m models
    more than m / 2 must be wrong.

    Args:
        probes: with labels.
        answers: fingerprints of these very probes, of the source or of surrogates of it.

    Returns:
        The wrong ones, in their order, with their true labels; the provenance names the models.

    Raises:
        ProbeError: no labels, answers to other probes, labels that are no output's index, or nothing is wrong.

    Source: Guan et al., NeurIPS 2022, arXiv 2210.15427 (SAC-w).
    """
    models: list[Answers] = list(answers) if isinstance(answers, Sequence) else [answers]
    if probes.labels is None:
        raise ProbeError("probes must have labels to tell what is wrong, got none")
    if not models:
        raise ProbeError("answers must be of at least one model, got none")
    wrong = np.zeros(len(probes), np.int64)
    for model in models:
        name = model.provenance.get("name", "?")
        if model.provenance.get("probe_hash") != probes.content_hash:
            raise ProbeError(
                f"answers of {name!r} must be to the probes {probes.content_hash}, "
                f"got {model.provenance.get('probe_hash')}"
            )
        outputs = to_numpy(model.outputs, f"answers of {name!r}")
        if outputs.ndim != 2 or len(outputs) != len(probes):
            raise ProbeError(f"answers of {name!r} must have shape ({len(probes)}, outputs), got {outputs.shape}")
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

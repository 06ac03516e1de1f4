"""OpenedModel: a model that is loaded and gives outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..probes import Probes
from .named_inputs import Inputs
from .preprocessing import Preprocessing
from .preprocessing_choice import Claim
from .runner import Model


class OpenedModel(ABC):
    """A model that is loaded and gives outputs.

    Attributes:
        format: what `identify` said of the file.
        model_hash: ``"sha256:…"``: `weights_hash` of a network with its weights, SHA-256 of an ONNX file (and of its
            external data), `content_hash` of recorded outputs.
        recorded: whether the outputs are recorded, so that no inputs are needed.
        probe_hash: of the probes, as a file of recorded outputs states it, ``"sha256:…"``; None where it states none.
        output_form: of recorded outputs, as declared when they were recorded; None where nothing was.
        architecture: the spec that was used, inferred or given; None where none is needed.
        kwargs: the architecture's keyword arguments.
        output: which of several outputs is meant, as its entry says.
        weights: which state dict of the file was taken (``"key"``), the prefix that was removed, parametrizations that
            were undone and entries that were left out, as JSON can hold them; empty for a plain state dict.
        claim: mean and std that lie beside the file, which nobody has checked; None where there are none.
        notes: what was taken for what, where the file left a choice; to be shown and kept with the outputs.

    Example::

        >>> import numpy
        >>> from pathlib import Path
        >>> numpy.save("recorded.npy", numpy.ones((20, 10)))
        >>> with sac_fast.open_model(sac_fast.ModelEntry("recorded", Path("recorded.npy"))) as model:
        ...     model.recorded, model.run(None).shape
        (True, torch.Size([20, 10]))
    """

    format: str
    model_hash: str
    recorded: bool = False
    probe_hash: str | None = None
    output_form: str | None = None
    architecture: str | None = None
    output: int | str | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, content: Any) -> None:
        self.kwargs: dict[str, object] = {}
        self.weights: dict[str, object] = {}
        self.claim: Claim | None = None
        self._content: Any = content

    @property
    def content(self) -> Any:
        """The network, session or outputs.

        Raises:
            ModelError: the model was closed.
        """
        if self._content is None:
            raise ModelError("model must be open, got one that was closed")
        return self._content

    def adapt(self, preprocessing: Preprocessing, height: int, width: int) -> Preprocessing:
        """The preprocessing with what the file declares and nobody named; see `notes`.

        Args:
            preprocessing: as it was given.
            height, width: of the probes.

        Raises:
            ModelRefusedError: the model takes no images.
        """
        return preprocessing

    @abstractmethod
    def run(self, inputs: Inputs | None, *, batch_size: int = 64) -> Tensor:
        """The model's outputs.

        Args:
            inputs: ``(n, ...)``, preprocessed, on the model's device and in its dtype, or several by name; recorded
                outputs ignore them.
            batch_size: inputs a call.

        Returns:
            ``(n, k)`` float32 or float64 on the CPU, finite.

        Raises:
            ModelError: the model fails or its outputs cannot be used.
        """

    def recorded_outputs(self, probes: Probes) -> Tensor:
        """The recorded outputs, of these probes.

        Raises:
            ModelError: recorded on other probes, or another number of rows.
        """
        if self.probe_hash not in (None, probes.content_hash):
            wanted = f"recorded outputs must be of the probes {probes.content_hash}"
            raise ModelError(f"{wanted}, got a fingerprint of {self.probe_hash}", reason="other-probes")
        outputs = self.run(None)
        if len(outputs) != len(probes):
            wanted = f"recorded outputs must have {len(probes)} rows like the probes"
            raise ModelError(f"{wanted}, got {len(outputs)}", reason="wrong-shape")
        return outputs

    @abstractmethod
    def runnable(self) -> Model:
        """What `run_model` can run: the network, or a callable.

        Raises:
            ModelError: the outputs are recorded, or the model was closed.
        """

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> OpenedModel:
        """Move and convert the model in place, where it is a network; returns itself."""
        return self

    def close(self) -> None:
        """Release weights and sessions; the model cannot be run any more."""
        self._content = None

    def __enter__(self) -> OpenedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

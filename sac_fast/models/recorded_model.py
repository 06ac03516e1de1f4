"""Outputs that were recorded elsewhere, as a model that is open."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ModelError
from ..formats.limits import refuse
from ..formats.recorded import RecordedOutputs
from ..io.hashing import content_hash
from .named_inputs import Inputs
from .opened_model import OpenedModel
from .runner import Model


class RecordedModel(OpenedModel):
    """Recorded outputs as a model.

    Args:
        format: of the file.
        recorded: what it holds.
        name: for messages.

    Raises:
        ModelRefusedError: outputs that are not finite.
    """

    recorded = True

    def __init__(self, format: str, recorded: RecordedOutputs, name: str) -> None:
        outputs = recorded.outputs
        super().__init__(outputs)
        self.format = format
        self.probe_hash, self.output_form = recorded.probe_hash, recorded.output_form
        self.notes = recorded.notes
        if not bool(torch.isfinite(outputs).all()):
            row = int((~torch.isfinite(outputs).all(1)).nonzero()[0])
            refuse("not-finite", f"{name} must hold finite outputs, got NaN or Inf in row {row}")
        self.model_hash = content_hash({"outputs": outputs.numpy()})

    def run(self, inputs: Inputs | None, *, batch_size: int = 64) -> Tensor:
        outputs: Tensor = self.content
        if inputs is not None and len(inputs) != len(outputs):
            raise ModelError(f"recorded outputs must have {len(inputs)} rows like the probes, got {len(outputs)}")
        return outputs

    def runnable(self) -> Model:
        raise ModelError("model must be one that can be run, got recorded outputs")

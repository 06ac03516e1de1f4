"""One untrusted model file, opened and run in a worker with limits, as a scan runs many."""

from __future__ import annotations

import contextlib
import dataclasses
import os

import torch
from torch import Tensor

from ..errors import ModelError, ModelRefusedError
from ..formats.limits import REASONS
from ..models import ModelEntry, OpenedModel, Preprocessing
from ..models.asking import Auto
from ..models.named_inputs import Inputs
from ..models.runner import Model
from ..probes import Probes
from .budgets import default_memory
from .jobs import Job, WorkerSettings
from .pool import WorkerPool
from .protocol import RunResult
from .sandbox import places_of

_POLL_SECONDS = 0.5


class WorkerOutputs(OpenedModel):
    """Outputs that a worker has computed or read, in place of the model that gave them."""

    recorded = True
    is_run = True

    def __init__(self, result: RunResult) -> None:
        super().__init__(torch.from_numpy(result.outputs))
        self.format, self.model_hash = result.format, result.model_hash
        self.probe_hash, self.output_form, self.notes = result.probe_hash, result.output_form, result.notes
        self._preprocessing = result.preprocessing

    def run(self, inputs: Inputs | None, *, batch_size: int = 64) -> Tensor:
        outputs: Tensor = self.content
        return outputs

    def adapt(self, preprocessing: Preprocessing, height: int, width: int) -> Preprocessing:
        return preprocessing if self._preprocessing is None else Preprocessing.from_dict(self._preprocessing)

    def runnable(self) -> Model:
        raise ModelError("model must be one that can be run, got outputs of a worker")


def run_in_worker(
    entry: ModelEntry,
    probes: Probes,
    *,
    preprocessing: Preprocessing | Auto | None = None,
    batch_size: int = 64,
    timeout: float = 3600.0,
    memory_bytes: int | None = None,
    sandbox: bool = True,
) -> OpenedModel:
    """The outputs of a model file that needs no code of the user: ONNX, recorded outputs, or ``hf:``.

    Args:
        entry: the file and which of its outputs are meant; its architecture, if any, is ``"hf:"``.
        probes: inputs of the model.
        preprocessing, batch_size: how it is run.
        timeout: seconds for opening and running it.
        memory_bytes: the worker's own memory; None: four fifths of the machine's.
        sandbox: let the worker read the file and libraries only, without a network.

    Returns:
        The outputs as an opened model.

    Raises:
        ModelRefusedError: the file is not opened; ``reason`` says why in a word.
        ModelError: the model fails, or takes too long or too much memory.
    """
    chosen = isinstance(preprocessing, Auto)
    named = preprocessing.base if isinstance(preprocessing, Auto) else preprocessing or Preprocessing()
    settings = WorkerSettings(
        preprocessing=named,
        choose_preprocessing=chosen,
        batch_size=batch_size,
        timeout=timeout,
        memory_bytes=memory_bytes or default_memory(1),
        threads=torch.get_num_threads(),
        readable=places_of([entry], None) if sandbox else None,
    )
    with contextlib.closing(WorkerPool(probes, ["cpu"], settings)) as pool:
        pool.submit(Job(0, entry if chosen else dataclasses.replace(entry, preprocessing=entry.preprocessing or named)))
        done: list[tuple[Job, RunResult]] = []
        while not done:
            done = pool.poll(_POLL_SECONDS)
    ((_, result),) = done
    if result.outputs is None:
        reason, message = result.reason or "", result.message
        if repr(os.fspath(entry.path)) not in message:
            message = f"{os.fspath(entry.path)!r}: {message}"
        raise (ModelRefusedError(message, reason) if reason in REASONS else ModelError(message, reason=reason))
    return WorkerOutputs(result)

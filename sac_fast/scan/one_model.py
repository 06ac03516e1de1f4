"""One untrusted model file, opened and run in a worker with limits, as a scan runs many. Nothing here imports torch."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from ..errors import ModelError, ModelRefusedError
from ..fingerprint import Fingerprint
from ..formats.limits import REASONS
from ..models.described_run import describe_run
from ..models.entry import ModelEntry
from ..models.form_detection import WRONG_FORM, form_of
from ..models.preprocessing import Auto, Preprocessing, check_unprocessed
from ..probes import Probes, ProbeSet
from .budgets import default_memory, default_threads
from .jobs import Job, WorkerSettings
from .pool import WorkerPool
from .protocol import RunResult
from .sandbox import places_of

_POLL_SECONDS = 0.5


def fingerprint_file(
    entry: ModelEntry,
    probes: Probes,
    *,
    name: str,
    preprocessing: Preprocessing | Auto | None = None,
    batch_size: int = 64,
    kind: str | None = None,
    output_form: str | None = None,
    timeout: float = 3600.0,
    memory_bytes: int | None = None,
    sandbox: bool = True,
) -> Fingerprint:
    """The fingerprint of a model file that needs no code of the user: ONNX, recorded outputs, or ``hf:``.

    Args:
        entry: the file and which of its outputs are meant; its architecture, if any, is ``"hf:"``.
        probes: inputs of the model.
        name, preprocessing, batch_size, kind, output_form: as for `sac_fast.fingerprint`.
        timeout: seconds for opening and running it.
        memory_bytes: the worker's own memory; None: four fifths of the machine's.
        sandbox: let the worker read the file and libraries only, without a network.

    Raises:
        ModelRefusedError: the file is not opened; ``reason`` says why in a word.
        ModelError: the model fails, takes too long or too much memory, or its outputs cannot have the declared form.
    """
    chosen = isinstance(preprocessing, Auto)
    named = preprocessing.base if isinstance(preprocessing, Auto) else preprocessing or Preprocessing()
    settings = WorkerSettings(
        preprocessing=named,
        choose_preprocessing=chosen,
        batch_size=batch_size,
        timeout=timeout,
        memory_bytes=memory_bytes or default_memory(1),
        threads=default_threads(),
        readable=places_of([entry], None) if sandbox else None,
        output_form=output_form,
        looked_at=None,
    )
    if not chosen:
        entry = dataclasses.replace(entry, preprocessing=entry.preprocessing or named)
    result = _run(entry, probes, settings)
    assert result.outputs is not None
    used = Preprocessing() if chosen else named  # what recorded outputs are said to be of
    if result.preprocessing is not None:
        used = Preprocessing.from_dict(result.preprocessing)
    is_images = isinstance(probes, ProbeSet)
    if not is_images:
        check_unprocessed(used)
    declared = output_form or result.output_form
    about = describe_run(
        result.outputs,
        probes,
        name=name,
        model_hash=result.model_hash,
        asked=used.provenance() if is_images else {},
        output=entry.output,
        dtype=None,
        kind=kind,
        form=form_of(result.outputs, declared),
        is_declared=declared is not None,
        notes=result.notes,
    )
    return Fingerprint(result.outputs, about)


def _run(entry: ModelEntry, probes: Probes, settings: WorkerSettings) -> RunResult:
    """A result with outputs."""
    with contextlib.closing(WorkerPool(probes, ["cpu"], settings)) as pool:
        pool.submit(Job(0, entry))
        done: list[tuple[Job, RunResult]] = []
        while not done:
            done = pool.poll(_POLL_SECONDS)
    result = done[0][1].checked(probes.content_hash)
    if result.outputs is None:
        reason, message = result.reason or "", result.message
        if repr(os.fspath(entry.path)) not in message and reason != WRONG_FORM:
            message = f"{os.fspath(entry.path)!r}: {message}"
        raise (ModelRefusedError(message, reason) if reason in REASONS else ModelError(message, reason=reason))
    return result

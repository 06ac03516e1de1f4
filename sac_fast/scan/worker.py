"""How a worker process runs one model: prepared probes, batch size, and the reason of a failure."""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import FileFormatError, ModelError
from ..formats.limits import Limits
from ..formats.table_format import TableFormat
from ..io.hashing import sha256_file
from ..models.asking import Asked, adapt_and_run, ask_recorded
from ..models.entry import ModelEntry, split_architecture
from ..models.form_detection import form_of
from ..models.named_inputs import Inputs
from ..models.opened import open_model
from ..models.opened_model import OpenedModel
from ..models.output_form import notes_of
from ..models.preprocessing import Auto, Preprocessing, check_unprocessed
from ..models.preprocessing_choice import describe_outputs
from ..models.runner import own_dtype
from .prepared_probes import PreparedProbes
from .protocol import ENVIRONMENT, RunResult, failed

#: First batch size of the search for the largest one on a GPU.
MAX_BATCH_SIZE = 1024
# torch's CPU allocator raises a RuntimeError without a type or code of its own.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad allocation", "bad_alloc")
_SEED = 0
# No memory, no descriptors, a disk or a mount that fails.
_FAULTS = frozenset(
    {
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
    }
)


@dataclass
class LargestBatch:
    """Finds the largest batch that fits in the device's memory by halving; remembers it.

    Attributes:
        start: the first batch size.
        free: called before the next attempt, to free the memory of the failed one.
    """

    start: int
    free: Callable[[], None]
    _found: dict[str, int] = field(default_factory=dict)

    def run(self, kind: str, run: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Run with the largest batch size that works.

        Args:
            kind: models of one kind (architecture and preprocessing) share the size.
            run: takes the batch size.

        Raises:
            The error of ``run``, also out of memory at a batch of 1.
        """
        size = self._found.get(kind, self.start)
        while True:
            try:
                result = run(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            else:
                self._found[kind] = size
                return result
            # Outside of the except block, whose traceback keeps the tensors of the failed attempt alive.
            self.free()
            size //= 2


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error or a cause of it is an allocation failure."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _OUT_OF_MEMORY):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def is_environment(error: BaseException | None) -> bool:
    """Whether this error or a cause of it is a fault of the machine or of a mount, not of the model."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, OSError) and error.errno in _FAULTS:
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def entry_of(request: Mapping[str, Any]) -> ModelEntry:
    """The model of a request (`sac_fast.scan.jobs.request_of` is the inverse)."""
    plain = {name: request[name] for name in ("name", "path", "architecture", "kwargs", "output")}
    preprocessing, root = request["preprocessing"], request["root"]
    return ModelEntry(
        **plain,
        preprocessing=None if preprocessing is None else Preprocessing.from_dict(preprocessing),
        root=None if root is None else Path(root),
        weights_key=request.get("weights_key"),
        inputs=request.get("inputs", {}),
        table=TableFormat(**request.get("table", {})),
    )


@dataclass
class Opened:
    """A model that is ready to run, or the failure of opening it; `seconds` of opening."""

    model: OpenedModel | None
    failure: RunResult | None
    seconds: float


@dataclass
class ModelRunner:
    """Opens and runs models; every failure becomes a `RunResult` with its reason.

    Attributes:
        probes: the inputs.
        batch_size: probes per call; None: the largest that fits (GPUs).
        dtype: floating dtype of the models; None: their own.
        architectures, limits: of `open_model`.
        choose: of models without a preprocessing one is chosen, with this size, colours and layout; None: the default.
        output_form, looked_at: of `sac_fast.scan.jobs.WorkerSettings`.
    """

    probes: PreparedProbes
    batch_size: int | None
    dtype: torch.dtype | None
    architectures: Sequence[str]
    limits: Limits
    choose: Preprocessing | None = None
    output_form: str | None = None
    looked_at: int | None = None
    _largest: LargestBatch = field(default_factory=lambda: LargestBatch(MAX_BATCH_SIZE, _free_device))

    def open(self, request: Mapping[str, Any]) -> Opened:
        """Open a model and move it to the device."""
        start = time.perf_counter()
        entry = entry_of(request)
        model = failure = None
        # Random numbers of an architecture must not depend on the worker or on the model before it.
        _seed(self.probes.device)
        try:
            model = open_model(entry, limits=self.limits, architectures=self.architectures)
            if not model.recorded:
                model.to(self.probes.device, self.dtype)
        except BaseException as error:  # untrusted code may even call sys.exit
            if model is not None:
                model.close()
            model, failure = None, _failure(error, "load-failed")
        return Opened(model, failure, time.perf_counter() - start)

    def run(self, request: Mapping[str, Any], opened: Opened) -> RunResult:
        """Run an opened model and close it."""
        model = opened.model
        if model is None:
            return opened.failure or failed("run-failed", "the model was not opened", "")
        start = time.perf_counter()
        _seed(self.probes.device)
        try:
            asked = self._ask(model, request)
            outputs = asked.outputs
            digest = model.model_hash
        except BaseException as error:
            return _failure(error, "run-failed", model.format)
        finally:
            model.close()
        if outputs.ndim != 2 or outputs.dtype not in (torch.float32, torch.float64):
            message = f"the model must return (n, k) floats, got {tuple(outputs.shape)}"
            return failed("wrong-shape", message, model.format)
        stated = model.output_form if self.output_form is None else None
        try:
            said = notes_of(outputs, stated or form_of(outputs, self.output_form), rows=self.looked_at)
        except ModelError as error:
            return _failure(error, "run-failed", model.format)
        return RunResult(
            outputs.detach().cpu().numpy(),
            format=model.format,
            model_hash=digest,
            recorded=model.recorded,
            probe_hash=model.probe_hash,
            preprocessing=None if asked.preprocessing is None else asked.preprocessing.to_dict(),
            notes=(*model.notes, *asked.notes, *said),
            output_form=model.output_form,
            file_sha256=_file_sha256(request["path"]),
            inferred=self._inferred(entry_of(request), model),
            seconds=(opened.seconds, time.perf_counter() - start),
        )

    def _inferred(self, entry: ModelEntry, model: OpenedModel) -> int | None:
        """The index of the architecture that fits, where none was given."""
        if entry.architecture is not None or model.architecture is None:
            return None
        known = [split_architecture(text) for text in self.architectures]
        return known.index((model.architecture, model.kwargs))

    def _ask(self, model: OpenedModel, request: Mapping[str, Any]) -> Asked:
        """The outputs, and the preprocessing of the inputs that the model was run on."""
        labels = self.probes.labels
        named = entry_of(request).preprocessing or (Preprocessing() if self.choose is None else Auto(self.choose))
        if model.recorded:
            outputs = model.run(None)
            return Asked(outputs, None, describe_outputs(outputs, labels))
        if self.probes.recorded is not None:
            check_unprocessed(named)
            return ask_recorded(model, functools.partial(self._run, model, None), labels)
        pixels = self.probes.pixels
        if pixels is None:
            raise ModelError("a model that must be run needs probes, got none")
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        run = functools.partial(self._run, model)
        return adapt_and_run(model, named, size, run, labels, rows=len(pixels))

    def _run(self, model: OpenedModel, preprocessing: Preprocessing | None, count: int | None = None) -> torch.Tensor:
        """The outputs for all images, or for the first few; or for the recorded inputs."""
        module = model.content if isinstance(model.content, torch.nn.Module) else None
        dtype = self.dtype or (torch.float32 if module is None else own_dtype(module))

        def inputs(batch_size: int) -> Iterator[Inputs]:
            if preprocessing is not None:
                yield from (part.to(dtype) for part in self.probes.parts(preprocessing, batch_size, count))
            elif self.probes.recorded is not None:  # a graph takes them in its own dtypes
                yield self.probes.recorded.to(self.probes.device, None if module is None else dtype)

        def run(batch_size: int) -> torch.Tensor:
            outputs = [model.run(part, batch_size=batch_size) for part in inputs(batch_size)]
            if len({output.shape[1] for output in outputs}) > 1:
                message = "model must return as many values for each probe, got a change of width"
                raise ModelError(message, reason="wrong-shape")
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

        if self.batch_size is not None:
            return run(self.batch_size)
        how = "recorded" if preprocessing is None else preprocessing.hash
        kind = f"{model.architecture} {sorted(model.kwargs.items())} {how}"
        return self._largest.run(kind, run)


def _file_sha256(path: str) -> str | None:
    # After the run: a file that was refused is not read whole, and one that was read comes from memory again.
    try:
        return sha256_file(path)
    except (FileFormatError, OSError):
        return None


def _failure(error: BaseException, otherwise: str, format: str = "") -> RunResult:
    text = str(error) if isinstance(error, (ModelError, FileFormatError)) else f"{type(error).__name__}: {error}"
    if is_environment(error):
        return failed(ENVIRONMENT, text, format)
    if is_out_of_memory(error):
        return failed("out-of-memory", text, format)
    reason = getattr(error, "reason", None) if isinstance(error, ModelError) else None
    return failed(reason if isinstance(reason, str) else otherwise, text, format)  # untrusted code may set any type


def _seed(device: torch.device) -> None:
    # Not torch.manual_seed: without a GPU, each call queues another seeding for when CUDA is initialized.
    torch.default_generator.manual_seed(_SEED)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(_SEED)


def _free_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

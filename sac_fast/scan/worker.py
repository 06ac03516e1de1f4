"""How a worker process runs one model: prepared probes, batch size, and the reason of a failure."""

from __future__ import annotations

import errno
import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import FileFormatError, ModelError
from ..formats.limits import Limits
from ..formats.table_format import TableFormat
from ..models.architectures import split_architecture
from ..models.asking import Asked, Auto, adapt_and_run
from ..models.entry import ModelEntry
from ..models.opened import open_model
from ..models.opened_model import OpenedModel
from ..models.output_form import detect_output_form, notes_of
from ..models.preprocessing import Preprocessing
from .protocol import ENVIRONMENT, RunResult, failed

#: Larger prepared probes are not cached but prepared again for each model, a part at a time.
MAX_CACHED_BYTES = 1 << 30
#: First batch size of the search for the largest one on a GPU.
MAX_BATCH_SIZE = 1024
# torch's CPU allocator raises a RuntimeError without a type or code of its own.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad allocation", "bad_alloc")
_SEED = 0
_LOOKED_AT = 100  # rows of outputs, to see whether they vary
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
class PreparedProbes:
    """The probes as inputs on the device, prepared once for each preprocessing.

    Attributes:
        pixels: uint8 ``(n, H, W, 3)``; None: only recorded outputs can be read.
        device: of the inputs.
        max_cached_bytes: of the cached inputs, over all preprocessings.
        labels: class numbers of the probes, where they have some and a preprocessing is chosen.
    """

    pixels: torch.Tensor | None
    device: torch.device
    max_cached_bytes: int = MAX_CACHED_BYTES
    labels: torch.Tensor | None = None
    _cache: OrderedDict[str, torch.Tensor] = field(default_factory=OrderedDict)

    def parts(self, preprocessing: Preprocessing, batch_size: int) -> Iterator[torch.Tensor]:
        """The inputs in order: all at once where they can be cached, else in parts of whole batches.

        The next model gets the same tensors: give each model a copy, as `run_inputs` does.
        """
        if self.pixels is None:
            raise ModelError("a model that must be run needs probes, got none")
        key = preprocessing.hash
        whole = self._cache.pop(key, None)
        if whole is None:
            first = preprocessing(self.pixels[:1].to(self.device))
            probe_bytes = first.nbytes
            if probe_bytes * len(self.pixels) > self.max_cached_bytes:
                step = max(1, self.max_cached_bytes // (4 * probe_bytes) // batch_size) * batch_size
                for start in range(0, len(self.pixels), step):
                    yield self._prepare(preprocessing, start, step, batch_size)
                return
            whole = self._prepare(preprocessing, 0, len(self.pixels), batch_size)
            self._evict(self.max_cached_bytes - whole.nbytes)
        self._cache[key] = whole
        yield whole

    def _prepare(self, preprocessing: Preprocessing, start: int, count: int, batch_size: int) -> torch.Tensor:
        assert self.pixels is not None
        pieces = torch.split(self.pixels[start : start + count], batch_size)
        inputs = torch.cat([preprocessing(piece.to(self.device)) for piece in pieces])
        # The fastest layout of convolutions on a CPU; see `use_fastest_memory_format`.
        if self.device.type == "cpu" and preprocessing.layout == "NCHW":
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def _evict(self, max_bytes: int) -> None:
        """Drop the least recently used inputs until the rest fits."""
        while self._cache and sum(inputs.nbytes for inputs in self._cache.values()) > max_bytes:
            self._cache.popitem(last=False)


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
    """

    probes: PreparedProbes
    batch_size: int | None
    dtype: torch.dtype | None
    architectures: Sequence[str]
    limits: Limits
    choose: Preprocessing | None = None
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
        form = model.output_form or detect_output_form(outputs)
        return RunResult(
            outputs,
            format=model.format,
            model_hash=digest,
            recorded=model.recorded,
            probe_hash=model.probe_hash,
            preprocessing=None if model.recorded else asked.preprocessing.to_dict(),
            notes=(*model.notes, *asked.notes, *notes_of(outputs, form, rows=_LOOKED_AT)),
            output_form=model.output_form,
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
        if model.recorded:
            return Asked(model.run(None), Preprocessing())
        named = entry_of(request).preprocessing or (Preprocessing() if self.choose is None else Auto(self.choose))
        pixels = self.probes.pixels
        if pixels is None:
            raise ModelError("a model that must be run needs probes, got none")
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        return adapt_and_run(model, named, size, functools.partial(self._run, model), self.probes.labels)

    def _run(self, model: OpenedModel, preprocessing: Preprocessing) -> torch.Tensor:
        dtype = self.dtype or _own_dtype(model)

        def run(batch_size: int) -> torch.Tensor:
            parts = self.probes.parts(preprocessing, batch_size)
            outputs = [model.run(part.to(dtype), batch_size=batch_size) for part in parts]
            if len({output.shape[1] for output in outputs}) > 1:
                message = "model must return as many values for each probe, got a change of width"
                raise ModelError(message, reason="wrong-shape")
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

        if self.batch_size is not None:
            return run(self.batch_size)
        kind = f"{model.architecture} {sorted(model.kwargs.items())} {preprocessing.hash}"
        return self._largest.run(kind, run)


def _own_dtype(model: OpenedModel) -> torch.dtype:
    """The dtype of the model's first floating parameter or buffer; float32 without one."""
    module = getattr(model, "module", None)
    if not isinstance(module, torch.nn.Module):
        return torch.float32
    dtypes = [tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]
    return dtypes[0] if dtypes else torch.float32


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

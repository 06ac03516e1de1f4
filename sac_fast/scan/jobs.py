"""The jobs of a scan, and the settings of its workers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import SacFastError
from ..io.hashing import canonical_json
from ..io.version import package_version, torch_version
from ..models import Limits, ModelEntry, Preprocessing, TableFormat
from ..models.code_path import code_folder
from ..store.records import FileStamp
from .named_modules import TRUSTED_ARCHITECTURES
from .protocol import MAX_BODY_BYTES, RunResult, WireError, failed, pack
from .sandbox import library_folders

#: Probes per call on the CPU. A constant, since the last bits of the outputs depend on it.
CPU_BATCH_SIZE = 64
#: Reason of a model whose arguments JSON cannot hold.
BAD_ARGUMENTS = "bad-arguments"
#: Reason of weights that only a manifest inside the folder names an architecture for, whose code would be run.
UNTRUSTED_ARCHITECTURE = "untrusted-architecture"
#: Reason of a model whose outputs would exceed what a scan may add to a store.
OVER_BUDGET = "over-budget"


class ScanError(SacFastError, RuntimeError):
    """A scan that cannot go on: its workers cannot be started, or its arguments do not fit together."""


@dataclass(frozen=True)
class Job:
    """One model of a scan.

    Attributes:
        number: unique in the scan.
        entry: what to open; its preprocessing is resolved.
        stamp: of its file before the run; None: not known, so that the next scan runs the model again.
        request: `request_hash`, with the stamps of external weights.
    """

    number: int
    entry: ModelEntry
    stamp: FileStamp | None = None
    request: str = ""


def request_of(job: Job) -> dict[str, Any]:
    """The job as JSON-able values (`sac_fast.scan.worker.entry_of` is the inverse)."""
    entry = job.entry
    plain = {name: getattr(entry, name) for name in ("name", "architecture", "kwargs", "output")}
    preprocessing = None if entry.preprocessing is None else entry.preprocessing.to_dict()
    root = None if entry.root is None else str(entry.root)
    if entry.weights_key is not None:  # left out else, so that requests of older stores stay what they are
        plain["weights_key"] = entry.weights_key
    if entry.inputs:
        plain["inputs"] = entry.inputs
    table = {} if entry.table == TableFormat() else {"table": entry.table.to_dict()}  # not in requests of old stores
    more = {"number": job.number, "path": str(entry.path), "preprocessing": preprocessing, "root": root}
    return plain | more | table


def pack_request(job: Job) -> bytes | RunResult:
    """The frame that asks a worker for the job; a failure where JSON cannot hold its arguments."""
    try:
        return b"".join(pack(request_of(job)))
    except (TypeError, ValueError, WireError) as error:
        return failed(BAD_ARGUMENTS, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class WorkerSettings:
    """How the workers of a scan run models.

    Attributes:
        preprocessing: of models whose entry has none.
        table: of text tables in a folder or manifest of which nothing else is said.
        batch_size: probes per call; None: `CPU_BATCH_SIZE` on a CPU, the largest that fits on a GPU.
        dtype: ``"float32"``, … of the models; None: their own.
        architectures, limits: of `sac_fast.models.open_model`.
        weights_key, inputs: of models whose entry has none, see `ModelEntry`.
        choose_preprocessing: of models whose entry has none, mean and std are chosen from a list, see
            `sac_fast.models.preprocessing_choice`.
        timeout: seconds of wall-clock time for loading and running one model.
        memory_bytes: a worker's own memory, beyond that of the imports; None: no limit.
        max_body_bytes: largest outputs of one model.
        max_outputs: most outputs of a model for one probe.
        max_store_bytes: of the outputs that one scan adds to a store; None: half of what is free on its disk.
        threads: of one worker; another number than 1 can change the last bits of outputs.
        sandbox: whether the workers that `scan_models` starts may read the models' files and libraries only, and have
            no network; see `sac_fast.scan.sandbox`.
        readable: files and folders that workers may read besides libraries; None: any, and the network too.
        output_form: of all models, as the user declares it; None: what recorded outputs state, else detected.
        looked_at: rows of outputs by which a worker notes that they hardly vary; None: all.
    """

    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    batch_size: int | None = None
    dtype: str | None = None
    architectures: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    weights_key: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    choose_preprocessing: bool = False
    timeout: float = 600.0
    memory_bytes: int | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    table: TableFormat = field(default_factory=TableFormat)
    max_outputs: int = 100_000
    max_store_bytes: int | None = None
    threads: int = 1
    sandbox: bool = True
    readable: Sequence[str] | None = None
    output_form: str | None = None
    looked_at: int | None = 100

    def believe(self, entry: ModelEntry) -> ModelEntry:
        """The entry, built as a manifest inside the folder claims where that can run no code but ours.

        Trust is the pair of a callable and its arguments: a callable that the user has named, with arguments from
        outside, can be `torch.hub.load` of a folder from outside. So claims count only where they name an architecture
        of `TRUSTED_ARCHITECTURES`, and only while the user has named none, of which one must fit.
        """
        spec = entry.claims.get("architecture")
        if entry.architecture is not None or self.architectures or spec not in TRUSTED_ARCHITECTURES:
            return entry
        return dataclasses.replace(entry, architecture=spec, kwargs=entry.claims.get("kwargs", {}))

    def prepared(self, entry: ModelEntry) -> ModelEntry:
        """The entry with everything that the settings say where it says nothing."""
        if entry.preprocessing is None and not self.choose_preprocessing:
            entry = dataclasses.replace(entry, preprocessing=self.preprocessing)
        key, inputs = entry.weights_key or self.weights_key, entry.inputs or self.inputs
        return self.believe(dataclasses.replace(entry, weights_key=key, inputs=inputs))

    def batch_size_on(self, device: str) -> int | None:
        """The batch size on a device; None: the largest that fits."""
        if self.batch_size is None and device.split(":")[0] == "cpu":
            return CPU_BATCH_SIZE
        return self.batch_size

    def setup(self, device: str, probes: Mapping[str, Any] | None) -> dict[str, Any]:
        """The first frame of a worker, as `sac_fast.scan.worker_main` reads it."""
        return {
            "device": device,
            "dtype": self.dtype,
            "batch_size": self.batch_size_on(device),
            "architectures": list(self.architectures),
            "choose_preprocessing": self.preprocessing.to_dict() if self.choose_preprocessing else None,
            "code_folder": code_folder(),
            "limits": dataclasses.asdict(self.limits),
            "memory_bytes": self.memory_bytes,
            "probes": probes,
            "max_body_bytes": self.max_body_bytes,
            # On a CPU, loading ahead would take cores away from the models that run.
            "threads": self.threads,
            # CUDA talks to devices and drivers in more ways than a rule can name.
            "readable": None if self.readable is None or device != "cpu" else [*library_folders(), *self.readable],
            "overlap": device.split(":")[0] != "cpu",
            "output_form": self.output_form,
            "looked_at": self.looked_at,
        }

    @functools.cached_property
    def in_requests(self) -> Mapping[str, Any]:
        """`to_dict`, made once: each model's request holds it."""
        return self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` is the inverse."""
        values = dataclasses.asdict(dataclasses.replace(self, architectures=list(self.architectures)))
        return values | {"preprocessing": self.preprocessing.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WorkerSettings:
        """The inverse of `to_dict`."""
        preprocessing = Preprocessing.from_dict(values["preprocessing"])
        limits, table = Limits(**values["limits"]), TableFormat(**values["table"])
        return cls(**{**values, "limits": limits, "preprocessing": preprocessing, "table": table})


def request_hash(job: Job, settings: WorkerSettings, code_version: str) -> str:
    """``"sha256:…"`` of everything besides its file that a model's outputs or failure depend on.

    Left out: tags, which do not change outputs, and the code of architectures, which is known only after importing
    it. After editing an architecture, remove its models from the store, or start a new store.
    """
    text = request_text(job, settings, code_version)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def request_text(job: Job, settings: WorkerSettings, code_version: str) -> str:
    """What `request_hash` is of."""
    values, common = request_of(job), dict(settings.in_requests)
    del values["number"]
    if job.entry.preprocessing is None:  # chosen from a list
        values["preprocessing"] = common["preprocessing"]
    else:
        del common["choose_preprocessing"]
    # The first four are part of the entry; larger limits count only with `retry_failed`, and less that may be read.
    for name in (
        *("preprocessing", "table", "weights_key", "inputs"),
        *("timeout", "memory_bytes", "threads", "sandbox", "readable", "max_outputs", "max_store_bytes"),
        *("output_form", "looked_at"),
    ):
        del common[name]
    try:
        return canonical_json([values, common, code_version])
    except (TypeError, ValueError) as error:  # `pack_request` fails likewise
        return f"{type(error).__name__}: {error}"


class Executor(Protocol):
    """Runs jobs: worker processes on this machine, or a Ray cluster."""

    def capacity(self) -> int:
        """How many more jobs it takes now."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def poll(self, seconds: float) -> list[tuple[Job, RunResult]]:
        """The jobs that have ended, after waiting at most so long for the first."""

    def pending(self) -> int:
        """The number of submitted jobs whose result was not returned yet."""

    def cancel_queued(self) -> None:
        """Drop the jobs that have not started."""

    def close(self) -> None:
        """End all workers at once."""


def code_version(device: str, settings: WorkerSettings) -> str:
    """Everything in the code and its configuration that the last bits of outputs depend on."""
    kind = device.split(":")[0]
    batch = settings.batch_size_on(device)
    how = f"{kind}, batch {batch or 'largest'}" + (", 1 thread, channels last where it fits" if kind == "cpu" else "")
    return f"sac_fast {package_version()}, torch {torch_version()}, {how}"

"""The unit of work of a scan: one model to be loaded and run by somebody, somewhere."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..io.hashing import canonical_json
from ..models import Limits, ModelEntry
from ..models.architectures import split_architecture
from .protocol import MAX_BODY_BYTES, Answer, failed

#: Probes a call on the CPU. Fixed, since the last bits of an answer depend on it.
CPU_BATCH_SIZE = 64
#: Reason of a model whose arguments JSON cannot hold.
BAD_ARGUMENTS = "bad-arguments"

# Whole specs, never a beginning: what the demo's module has imported is none of them.
_OURS = frozenset(f"sac_fast.demo.architectures:{name}" for name in ("plain", "residual", "inception"))
# Builds the model that its argument `model` names, with `model_args`.
_WITH_HEAD = "sac_fast.attacks.transfer:with_head"


@dataclass(frozen=True)
class Job:
    """One model of a scan.

    Attributes:
        number: unique in the scan.
        entry: what to open; its preprocessing is resolved.
    """

    number: int
    entry: ModelEntry


def request_of(job: Job) -> dict[str, Any]:
    """The job as JSON can hold it (`sac_fast.scan.worker.entry_of` is the other side)."""
    entry = job.entry
    return {
        "number": job.number,
        "name": entry.name,
        "path": str(entry.path),
        "architecture": entry.architecture,
        "kwargs": dict(entry.kwargs),
        "preprocessing": None if entry.preprocessing is None else entry.preprocessing.to_dict(),
        "output": entry.output,
        "root": None if entry.root is None else str(entry.root),
    }


def _callables(spec: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The architecture, and those that it is told to build."""
    while True:
        yield spec
        inner, options = arguments.get("model"), arguments.get("model_args")
        if spec != _WITH_HEAD or not isinstance(inner, str):  # refused when it is called
            return
        spec, arguments = inner, options if isinstance(options, Mapping) else {}


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers of a scan have in common.

    Attributes:
        batch_size: probes a call; None: `CPU_BATCH_SIZE` on a CPU, the largest that fits on a GPU.
        dtype: ``"float32"``, … of the models; None: their own.
        architectures, limits: of `sac_fast.models.open_model`.
        trusted: architectures that entries may name, as a manifest from a stranger's folder does: their code is run;
            None: any. What `architectures` names is trusted, and so are those of the demo.
        timeout: seconds of wall-clock time for loading and running one model.
        memory_bytes: a worker's own memory, beyond what the imports take; None: no limit.
        max_body_bytes: largest outputs of one model.
    """

    batch_size: int | None = None
    dtype: str | None = None
    architectures: Sequence[str] = ()
    trusted: Sequence[str] | None = None
    limits: Limits = field(default_factory=Limits)
    timeout: float = 600.0
    memory_bytes: int | None = None
    max_body_bytes: int = MAX_BODY_BYTES

    def refusal(self, entry: ModelEntry) -> Answer | None:
        """Why an entry is not even opened; None: it may be."""
        if entry.architecture is None or self.trusted is None:
            return None
        trusted = {*_OURS, *self.trusted, *(split_architecture(text)[0] for text in self.architectures)}
        for spec in _callables(entry.architecture, entry.kwargs):
            if spec not in trusted:
                return failed(
                    "untrusted-architecture",
                    f"a manifest inside the folder names the architecture {spec!r}, whose code would be run: if you "
                    "trust it, name it yourself, or scan the manifest instead of the folder",
                )
        return None

    def batch_size_on(self, device: str) -> int | None:
        """The batch size on a device; None: it has to be found."""
        if self.batch_size is None and device.split(":")[0] == "cpu":
            return CPU_BATCH_SIZE
        return self.batch_size

    def setup(self, device: str, probes_shape: Sequence[int] | None) -> dict[str, Any]:
        """The first frame that a worker gets, as `sac_fast.scan.worker_main` reads it."""
        return {
            "device": device,
            "dtype": self.dtype,
            "batch_size": self.batch_size_on(device),
            "architectures": list(self.architectures),
            "limits": dataclasses.asdict(self.limits),
            "memory_bytes": self.memory_bytes,
            "probes_shape": None if probes_shape is None else list(probes_shape),
            "max_body_bytes": self.max_body_bytes,
            # On a CPU loading ahead would only take the cores away from the models that run.
            "overlap": device.split(":")[0] != "cpu",
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; `from_dict` reads it."""
        return dataclasses.asdict(self) | {"architectures": list(self.architectures)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WorkerSettings:
        """The inverse of `to_dict`."""
        return cls(**{**values, "limits": Limits(**values["limits"])})


def request_hash(job: Job, settings: WorkerSettings, code_version: str) -> str:
    """``"sha256:…"`` of all that is asked of a model: another request may have another answer, or failure.

    Not in it: tags, which change no answer, and the code of architectures, which could only be found by importing it.
    Who edits an architecture removes its models from the store, or begins a new one.
    """
    values, common = request_of(job), settings.to_dict()
    del values["number"]
    for name in ("timeout", "memory_bytes"):
        del common[name]  # to give more of them there is retry_failed
    try:
        text = canonical_json([values, common, code_version])
    except (TypeError, ValueError) as error:  # the executor says so too
        text = f"{type(error).__name__}: {error}"
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Executor(Protocol):
    """Where jobs are done: worker processes of this machine, or a Ray cluster."""

    def room(self) -> int:
        """How many more jobs it would take now."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def poll(self, seconds: float) -> list[tuple[Job, Answer]]:
        """What has been done, after waiting at most so long for the first."""

    def in_hand(self) -> int:
        """How many jobs it has taken and not answered."""

    def drop_waiting(self) -> None:
        """Forget the jobs that nobody has begun."""

    def close(self) -> None:
        """End all workers at once."""

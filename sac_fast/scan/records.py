"""Records of what the models of a scan gave, and what is said of them."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..models.entry import split_architecture
from ..models.preprocessing import Preprocessing
from ..store.records import MAX_TEXT, ModelRecord
from .jobs import BAD_ARGUMENTS, OVER_BUDGET, UNTRUSTED_ARCHITECTURE, Job, WorkerSettings
from .onnx_external import external_files
from .probe_file import ProbeFile
from .protocol import ENVIRONMENT, RunResult, failed

if TYPE_CHECKING:
    from ..probes import Probes
    from .accuracies import Accuracies

Event = dict[str, Any]


@dataclass
class RecordBuilder:
    """Makes the records of a scan.

    Attributes:
        probe_hash, settings, code_version: of the scan.
        rows: number of probes of the sources, which all outputs must have; None: there are no sources.
        left_bytes: of the outputs that the scan may still add.
        accuracies: of the models on labelled probes; None: the probes have no labels.
    """

    probe_hash: str
    settings: WorkerSettings
    code_version: str
    rows: int | None = None
    left_bytes: int = sys.maxsize
    accuracies: Accuracies | None = None

    @classmethod
    def of(
        cls, probes: Probes | ProbeFile | str, settings: WorkerSettings, code: str, left_bytes: int
    ) -> RecordBuilder:
        """Of a scan with these probes, or only with their hash, and this version of the code."""
        digest = probes if isinstance(probes, str) else probes.content_hash
        return cls(digest, settings, code, None, left_bytes, _accuracies(probes))

    def build(self, job: Job, result: RunResult) -> tuple[ModelRecord, RunResult]:
        """The record of a result, and the result or the failure that replaces it where no store can hold it."""
        entry, stamp = job.entry, job.stamp
        is_late = result.format == "onnx" and entry.path.suffix.lower() != ".onnx"
        if is_late and external_files(entry.path, root=entry.root, limits=self.settings.limits) != ():
            stamp = None  # its weights were not stamped before the run: every scan runs it again
        if result.reason == "missing" and stamp is not None:
            message = f"the file was there when the scan looked, and not for its worker: {result.message}"
            result = failed(ENVIRONMENT, message)
        if result.reason == "no-architecture" and (spec := entry.claims.get("architecture")):
            message = (
                f"{result.message}; a manifest inside the folder names {spec!r}, whose code would be run: if you trust "
                "it, name it with its arguments (--architecture), or name the manifest (--manifest)"
            )
            result = failed(UNTRUSTED_ARCHITECTURE, message, result.format)
        rows = None if result.outputs is None else len(result.outputs)
        if rows is not None and self.rows is not None and rows != self.rows:
            message = f"outputs must have {self.rows:,} rows like the sources, got {rows:,}"
            result = failed("wrong-shape", message, result.format)
        result = self._within_budget(result)
        bare = ModelRecord(
            name=entry.name,
            path=str(entry.path)[:MAX_TEXT],
            probe_hash=self.probe_hash,
            tags=entry.tags,
            file=stamp,
            request=job.request,
        )
        try:
            return dataclasses.replace(bare, path=str(entry.path), **self._values(job, result)), result
        except (TypeError, ValueError) as error:
            if result.outputs is None:
                return bare, result
            return bare, failed(BAD_ARGUMENTS, f"the entry must be one that a store can hold, got {error}")

    def _within_budget(self, result: RunResult) -> RunResult:
        """The result, or the failure of outputs that are too wide, or would fill the disk."""
        if result.outputs is None:
            return result
        width, size = result.outputs.shape[1], result.outputs.nbytes
        if width > self.settings.max_outputs:
            message = f"models must have at most {self.settings.max_outputs:,} outputs, got {width:,}"
            return failed("too-large", message, result.format)
        if size > self.left_bytes:
            message = f"{self.left_bytes:,} bytes are left of what this scan may add to the store, got {size:,}"
            return failed(OVER_BUDGET, message, result.format)
        self.left_bytes -= size
        return result

    def _values(self, job: Job, result: RunResult) -> dict[str, Any]:
        entry, recorded = job.entry, result.recorded
        preprocessing = entry.preprocessing or Preprocessing()
        if result.preprocessing is not None:  # what the model's own file declares is part of it
            preprocessing = Preprocessing.from_dict(result.preprocessing)
        architecture, kwargs = entry.architecture, dict(entry.kwargs)
        if result.inferred is not None:
            architecture, kwargs = split_architecture(self.settings.architectures[result.inferred])
        if recorded or architecture is None or result.reason == BAD_ARGUMENTS:
            kwargs = {}
        dtype = self.settings.dtype
        if dtype is None or recorded:
            dtype = "float32" if result.outputs is None else result.outputs.dtype.name
        values: dict[str, Any] = {"format": result.format, "model_hash": result.model_hash or None}
        values["file_sha256"] = result.file_sha256
        outputs, notes = result.outputs, list(result.notes)
        if outputs is not None and self.accuracies is not None:
            notes = self.accuracies.notes_of(entry.name, outputs, result.notes)
        if notes:
            values["message"] = "; ".join(notes)[:MAX_TEXT]
        values |= {"kwargs": kwargs, "dtype": dtype, "seconds": sum(result.seconds)}
        if recorded:
            return values
        return values | {
            "architecture": architecture,
            "output": entry.output,
            "preprocessing": preprocessing.to_dict(),
            "preprocessing_hash": preprocessing.hash,
            "code_version": self.code_version,
        }


def _accuracies(probes: Probes | ProbeFile | str) -> Accuracies | None:
    if isinstance(probes, ProbeFile):
        if not probes.has_labels:
            return None
        probes = probes.load()
    if isinstance(probes, str) or probes.labels is None:
        return None
    from .accuracies import Accuracies

    return Accuracies.of(probes)


def model_event(record: ModelRecord) -> Event:
    """The event of a model with outputs, or of one that failed."""
    names = ("reason", "message") if record.status == "failed" else ("format", "model_hash", "n", "k", "seconds")
    event = {"event": "model", **{name: getattr(record, name) for name in ("name", "status", *names)}}
    return event if record.message is None else event | {"message": record.message}

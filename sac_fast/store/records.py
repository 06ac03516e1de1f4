"""The key of a result, the record of a model, and the stamp of its file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from ..io.files import StrPath
from ..io.hashing import canonical_json, is_hash
from ..models.file_origin import hub_address

Status = Literal["done", "failed", "redo"]
STATUSES: tuple[Status, ...] = ("done", "failed", "redo")
#: Longest name, path or other text of a record, in characters; messages are cut to it, other texts are refused.
MAX_TEXT = 4096
#: Longest JSON of kwargs, tags and preprocessing together.
MAX_DETAILS = 1 << 20

_DIGEST = re.compile(r"[0-9a-f]{64}")


def architecture_text(architecture: str | None, kwargs: Mapping[str, Any]) -> str:
    """``"package.module:callable {...}"`` with the arguments as canonical JSON; ``""`` where there is none."""
    return "" if architecture is None else f"{architecture} {canonical_json(dict(kwargs))}"


@dataclass(frozen=True)
class ResultKey:
    """Everything that determines a model's outputs; equal keys mean equal outputs.

    Attributes:
        model_hash: ``"sha256:..."`` of the weights (or of the file, of the recorded outputs).
        architecture: `architecture_text`.
        output: which output of several, as `run_model` takes it.
        probe_hash: `ProbeSet.content_hash`.
        preprocessing_hash: `Preprocessing.hash`; ``""`` for recorded outputs.
        code_version: of the code that ran the model.
        dtype: in which the model ran, ``"float32"``, …

    Raises:
        ValueError: a value of another type or form.
    """

    model_hash: str
    architecture: str
    output: int | str | None
    probe_hash: str
    preprocessing_hash: str
    code_version: str
    dtype: str

    def __post_init__(self) -> None:
        _check_hash("model_hash", self.model_hash)
        _check_hash("probe_hash", self.probe_hash)
        if self.preprocessing_hash != "":
            _check_hash("preprocessing_hash", self.preprocessing_hash)
        _check_text("architecture", self.architecture, MAX_DETAILS)
        _check_text("code_version", self.code_version)
        _check_text("dtype", self.dtype)
        _check_output(self.output)

    @cached_property
    def json(self) -> str:
        """The key as canonical JSON."""
        return canonical_json({name: getattr(self, name) for name in _KEY_FIELDS})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `json`, 64 digits: the key's name in the store."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str | bytes) -> ResultKey:
        """The inverse of `json`.

        Raises:
            ValueError: anything else.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or set(values) != set(_KEY_FIELDS):
            raise ValueError(f"key must be a JSON object of {', '.join(_KEY_FIELDS)}, got {str(text)[:200]!r}")
        return cls(**values)


_KEY_FIELDS = tuple(item.name for item in fields(ResultKey))


@dataclass(frozen=True)
class FileStamp:
    """Size, times (nanoseconds) and inode, by which an unchanged file is recognized without being read.

    A file's owner can set mtime back, but not ctime: both are compared.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def __post_init__(self) -> None:
        _check_text("path", self.path)
        for name in ("size", "mtime_ns", "ctime_ns", "inode"):
            value = getattr(self, name)
            if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"{name} must be an integer of 64 bits, got {value!r}")

    @classmethod
    def of(cls, path: StrPath) -> FileStamp:
        """The present stamp of a file.

        Raises:
            OSError: it does not exist.
        """
        found = os.stat(path)
        return cls(os.fspath(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, _signed(found.st_ino))


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One model under one probe set.

    Attributes:
        name: unique in a store.
        path: of its file, as it was given.
        probe_hash: of the probes that it ran on, or failed on.
        format: ``"safetensors"``, ``"onnx"``, …; ``""`` where it is not known.
        model_hash, output, preprocessing_hash, code_version, dtype: as in `ResultKey`; a model that failed early may
            have no model_hash.
        file_sha256: ``"sha256:…"`` of the file as `sha256sum` counts it, of a model in several files of the one that
            is named; None: the model failed, or an earlier version wrote the record, which does not have it.
        architecture, kwargs: the callable and its arguments; None where there is none.
        tags: free words; ``"independent"`` marks models known to be so.
        preprocessing: `Preprocessing.to_dict`.
        n, k: shape of the outputs; None unless there are some.
        outputs_file: SHA-256 of the file of the outputs, 64 digits; None unless there are some.
        status: ``"done"``; ``"failed"``, with reason and message; ``"redo"``: was done, the outputs are lost.
        reason: a short code.
        message: for people: of a failure, or what was taken for what in the file of a model with outputs.
        file: stamp of the model's file; exports leave it out, and the next two.
        request: a text that identifies everything else the result depends on (see `is_unchanged`).
        seconds: of loading and running.

    Raises:
        ValueError: a value of another type or form.
    """

    name: str
    path: str
    probe_hash: str
    format: str = ""
    model_hash: str | None = None
    file_sha256: str | None = None
    architecture: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    output: int | str | None = None
    tags: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    preprocessing_hash: str = ""
    code_version: str = ""
    dtype: str = "float32"
    n: int | None = None
    k: int | None = None
    outputs_file: str | None = None
    status: Status = "done"
    reason: str | None = None
    message: str | None = None
    file: FileStamp | None = None
    request: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("name must not be empty")
        for name in ("name", "path", "format", "preprocessing_hash", "code_version", "dtype"):
            _check_text(name, getattr(self, name))
        for name in ("architecture", "reason", "message", "request"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        _check_hash("probe_hash", self.probe_hash)
        for name in ("model_hash", "file_sha256", "preprocessing_hash"):
            if getattr(self, name):
                _check_hash(name, getattr(self, name))
        _check_output(self.output)
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}")
        if self.outputs_file is not None and not is_digest(self.outputs_file):
            raise ValueError(f"outputs_file must be 64 hexadecimal digits, got {self.outputs_file!r}")
        for name in ("n", "k"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 < value < 1 << 48):
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if self.seconds is not None and not isinstance(self.seconds, (int, float)):
            raise ValueError(f"seconds must be a number, got {self.seconds!r}")
        for name in ("kwargs", "preprocessing"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} must be a mapping, got {getattr(self, name)!r}")
        if not all(isinstance(tag, str) for tag in self.tags):
            raise ValueError(f"tags must be texts, got {self.tags!r}")
        object.__setattr__(self, "tags", tuple(self.tags))
        # Without these all parts are short.
        if (self.kwargs or self.tags or self.preprocessing) and len(self.details) > MAX_DETAILS:
            raise ValueError(f"kwargs, tags and preprocessing of {self.name[:80]!r} must stay under 1 MiB of JSON")

    def is_unchanged(self, file: FileStamp, request: str) -> bool:
        """Whether file and request are the same as before, so that the model need not be opened.

        Args:
            file: the present stamp of the file.
            request: as in the record.
        """
        return self.file == file and self.request == request and self.status != "redo"

    @cached_property
    def key(self) -> ResultKey:
        """The key of the model's result.

        Raises:
            ValueError: there is no model_hash.
        """
        values = {name: getattr(self, name) for name in _KEY_FIELDS}
        return ResultKey(**values | {"architecture": architecture_text(self.architecture, self.kwargs)})

    @cached_property
    def key_digest(self) -> str:
        """`ResultKey.digest` of `key`, without its checks, which are those of the record."""
        values = {name: getattr(self, name) for name in _KEY_FIELDS}
        values["architecture"] = architecture_text(self.architecture, self.kwargs)
        return hashlib.sha256(canonical_json(values).encode()).hexdigest()

    @property
    def origin(self) -> dict[str, str]:
        """Name and SHA-256 of the model's file as a fingerprint has them, and what its path says of a hub."""
        if self.file_sha256 is None:
            return {}
        return {"name": os.path.basename(self.path), "sha256": self.file_sha256, **hub_address(self.path)}

    @cached_property
    def details(self) -> str:
        """The values that the database holds as one canonical JSON text."""
        return canonical_json({name: getattr(self, name) for name in DETAILS})


#: Fields of `DETAILS` that rows of earlier versions do not have.
ADDED_DETAILS = {"file_sha256": None}
#: Fields that a row of the database holds as JSON (`ModelRecord.details`).
DETAILS = (
    *("path", "format", "model_hash", "file_sha256", "architecture", "kwargs", "output", "tags", "preprocessing"),
    *("preprocessing_hash", "code_version", "dtype"),
)


def is_digest(value: object) -> bool:
    """Whether it is 64 lower-case hexadecimal digits, which cannot form a path."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _signed(value: int) -> int:
    """An inode number as SQLite's signed integer."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _check_hash(name: str, value: object) -> None:
    if not is_hash(value):
        raise ValueError(f'{name} must be "sha256:" and 64 digits, got {str(value)[:100]!r}')


def _check_text(name: str, value: object, max_length: int = MAX_TEXT) -> None:
    if not isinstance(value, str) or len(value) > max_length:
        got = f"{len(value):,} characters" if isinstance(value, str) else repr(value)[:100]
        raise ValueError(f"{name} must be a text of at most {max_length:,} characters, got {got}")


def _check_output(value: object) -> None:
    if value is not None and type(value) is not int:
        _check_text("output", value)

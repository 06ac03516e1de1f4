"""ModelEntry: one model and how to run it, before it is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..formats.table_format import TableFormat
from .preprocessing import Preprocessing


@dataclass(frozen=True)
class ModelEntry:
    """One model of a batch and how to run it.

    Attributes:
        name: unique in a scan; of a folder's files the POSIX path relative to the folder.
        path: the file.
        architecture: ``"package.module:callable"``, ``"timm:NAME"`` or ``"hf:"`` (config.json beside the file, see
            `sac_fast.models.image_classifiers`); None: inferred, or none needed.
        kwargs: keyword arguments of the architecture.
        preprocessing: from pixels to inputs; None: the scan's.
        output: which of several outputs, see `run_model`; of recorded outputs the array's name.
        tags: ``"independent"`` marks a model known to be independent; others have no meaning here.
        root: a folder that links may not lead out of; None: anywhere.
        inputs: fixed values of an ONNX model's further inputs, by name: a number, lists of numbers, or ``"zeros"``.
        weights_key: which of several state dicts in the file, ``"state_dict_ema"``; None: the only one that fits.
        table: what is known of a text table of recorded outputs.
        claims: what a manifest inside the folder says of it, which the user has not named: to be shown, not believed.

    Raises:
        ModelError: an empty name.

    Example::

        >>> from pathlib import Path
        >>> ModelEntry("mine", Path("mine.pt"), architecture="timm:resnet18", tags=["independent"]).tags
        ('independent',)
    """

    name: str
    path: Path
    architecture: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    output: int | str | None = None
    tags: tuple[str, ...] = ()
    root: Path | None = None
    weights_key: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    table: TableFormat = field(default_factory=TableFormat)
    claims: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ModelError(f"name of a model must be a text of at least 1 character, got {self.name!r}")
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "tags", tuple(self.tags))
        object.__setattr__(self, "kwargs", dict(self.kwargs))
        object.__setattr__(self, "inputs", dict(self.inputs))

    def at(self, name: str, path: Path | str, root: Path | None) -> ModelEntry:
        """The same for another file; `dataclasses.replace` would check again what was checked.

        Args:
            name, root: of the file.
            path: a text must be as `Path` writes it; its `Path` is made when it is asked for, since most of the files
                of a large folder are only looked up.
        """
        other = object.__new__(type(self))
        values = other.__dict__
        values.update(self.__dict__)
        values["name"], values["root"] = name, root
        values["_origin"] = values.get("_origin", self)
        if isinstance(path, str):
            values.pop("path", None)
            values["_path_text"] = path
        else:
            values["path"] = path
            values.pop("_path_text", None)
        return other

    def is_like(self, other: ModelEntry) -> bool:
        """Whether both were made by `at` from one entry, with one root: only names and paths may differ."""
        origin, root = self.__dict__.get("_origin"), self.root
        same = origin is not None and origin is other.__dict__.get("_origin")
        return same and (root is other.root or root == other.root)

    @property
    def path_text(self) -> str:
        """The path as a text."""
        text: str | None = self.__dict__.get("_path_text")
        return os.fspath(self.path) if text is None else text

    def __getattr__(self, name: str) -> Any:
        text = self.__dict__.get("_path_text") if name == "path" else None
        if text is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        path = self.__dict__["path"] = Path(text)
        return path


def split_architecture(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``'package.module:callable {"classes": 10}'``: a spec and, after a space, its keyword arguments as JSON.

    Raises:
        ModelError: the arguments are no JSON object.
    """
    spec, _, arguments = text.strip().partition(" ")
    try:
        kwargs = json.loads(arguments.strip() or "{}")
    except (ValueError, RecursionError):
        kwargs = None
    if not isinstance(kwargs, dict):
        raise ModelError(f"arguments of architecture {spec!r} must be a JSON object, got {arguments!r}")
    return spec, kwargs

"""Where the code of architectures is found: what is installed, and last the folder in which a command was started.

A folder with models often is a folder of other people's files: a ``timm.py`` or ``h5py.py`` that lies there must not
be run because a library of that name is looked for. So the folder is searched only once the user has named code (a
``module:callable``, or a manifest that names some) that is not installed; it comes last on `sys.path`; and the
libraries that sac_fast itself imports are never taken from it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ..io.files import StrPath

#: Libraries that sac_fast imports where they are installed, and those that these import in turn.
LIBRARIES = frozenset(
    [
        *("PIL", "cv2", "h5py", "httpx2", "huggingface_hub", "imagecorruptions", "matplotlib", "networkx", "numpy"),
        *("nvidia", "onnx", "onnxruntime", "pandas", "pyarrow", "pykeops", "ray", "rich", "safetensors", "scipy"),
        *("skimage", "sklearn", "timm", "torch", "torchvision", "typer"),
    ]
)
_SAFE_PATH = "PYTHONSAFEPATH"

_allowed: str | None = None


class _InstalledOnly(MetaPathFinder):
    """Finds `LIBRARIES` everywhere but in the folders of users' code."""

    def __init__(self) -> None:
        self.folders: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if path is not None or fullname not in LIBRARIES:
            return None
        installed = [folder for folder in sys.path if folder not in self.folders]
        for finder in sys.meta_path:
            if finder is not self:
                found = finder.find_spec(fullname, installed if finder is PathFinder else None, target)
                if found is not None:
                    return found
        raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


_installed_only = _InstalledOnly()


def allow_code_in(folder: StrPath | None) -> None:
    """Let `import_code` search a folder, after everything that is installed; None changes nothing.

    Call it only where the user has named code: what is imported is run.
    """
    global _allowed
    if folder is not None:
        _allowed = os.path.abspath(folder)


def code_folder() -> str | None:
    """The folder that `allow_code_in` was given, for processes that build models on behalf of this one."""
    return _allowed


def import_code(name: str) -> ModuleType:
    """Import a module of a user's code; every ``module:callable`` passes through here.

    Raises:
        Exception: whatever the module's own code raises; ImportError where there is no such module.
    """
    root = name.partition(".")[0]
    if _allowed is not None and root not in sys.modules and not {_allowed, ""} & set(sys.path):
        found = importlib.util.find_spec(root)
        # A folder without __init__.py has no origin: a module of that name beside the user goes before it.
        if found is None or found.origin is None:
            _installed_only.folders.add(_allowed)
            if _installed_only not in sys.meta_path:
                sys.meta_path.insert(0, _installed_only)
            sys.path.append(_allowed)
    return importlib.import_module(name)


@contextlib.contextmanager
def safe_children() -> Iterator[None]:
    """Python processes started meanwhile do not search the current folder first, as ``python -c`` does."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(_SAFE_PATH)
        if before is not None:
            os.environ[_SAFE_PATH] = before


def start_with_code_folder(folder: str | None, start: Callable[..., None], *arguments: Any) -> None:
    """Begin a worker process: ``start(*arguments)`` after `allow_code_in`."""
    allow_code_in(folder)
    start(*arguments)

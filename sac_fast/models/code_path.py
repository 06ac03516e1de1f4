"""Where the code of architectures is found: what is installed, and last the folder in which a command was started.

A folder with models often is a folder of other people's files: a ``timm.py`` or ``h5py.py`` that lies there must not
be run because a library of that name is looked for. So the folder is searched only where the user has named code (a
``module:callable``, or a manifest that names some), after everything that is installed, never for the libraries that
sac_fast itself imports, and never on behalf of an installed library, which may try any name that it could make use of.
"""

from __future__ import annotations

import contextlib
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
        *("PIL", "cryptography", "cv2", "cyclonedx", "h5py", "httpx2", "huggingface_hub", "imagecorruptions", "jinja2"),
        *("jmespath", "markupsafe", "matplotlib", "networkx", "numpy", "nvidia", "onnx", "onnxruntime", "pandas"),
        *("pyarrow", "pykeops", "ray", "rich", "safetensors", "scipy", "securesystemslib", "skimage", "sklearn"),
        *("timm", "torch", "torchvision", "transformers", "typer", "weasyprint"),
    ]
)
_SAFE_PATH = "PYTHONSAFEPATH"
_OWN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_STANDARD = os.path.join(os.path.dirname(os.path.abspath(os.__file__)), "")


class _FolderFinder(MetaPathFinder):
    """Finds modules in one folder as if it came last on `sys.path`, but none of `LIBRARIES`, and none for a library.

    `sys.path` itself stays as it is: it cannot say that one of its folders is not to be searched for some names.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if path is not None or fullname in LIBRARIES or PathFinder.find_spec(fullname, [self.folder]) is None:
            return None
        if _is_library(_importer()):
            return None
        for finder in sys.meta_path:
            found = None if finder is self else finder.find_spec(fullname, None, target)
            if found is not None and found.origin is not None:  # a folder without __init__.py has no origin
                return found
        return PathFinder.find_spec(fullname, [*sys.path, self.folder])


def _importer() -> str:
    """The file of the code that imports; ``""`` where it is not known."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    # `importlib.import_module` imports on behalf of its caller.
    while frame.f_back is not None and frame.f_globals.get("__name__") == "importlib":
        frame = frame.f_back
    return frame.f_code.co_filename


def _is_library(file: str) -> bool:
    """Whether a file was installed or is of the standard library, and is none of sac_fast's own.

    The standard library tries names of other systems, such as ``winreg``.
    """
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(file.split(os.sep))
    return not file.startswith(_OWN) and (is_installed or file.startswith(_STANDARD))


def allow_code_in(folder: StrPath | None) -> None:
    """Search a folder for modules that are not installed, instead of an earlier one; None changes nothing.

    Call it only where the user has named code: what is imported is run.
    """
    if folder is not None:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _FolderFinder)]
        sys.meta_path.insert(0, _FolderFinder(os.path.abspath(folder)))


def code_folder() -> str | None:
    """The folder that `allow_code_in` was given, for processes that build models on behalf of this one."""
    return next((finder.folder for finder in sys.meta_path if isinstance(finder, _FolderFinder)), None)


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
